"""What a cost store promises, and the values that pass through it.

Built in are a small one over SQLite and one over DuckDB and Parquet; a warehouse implements the same protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from companyos.finops.money import plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, datetime
    from decimal import Decimal
    from pathlib import Path

    from companyos.finops.money import NumberStyle
    from companyos.finops.rows import Charge, Tally
    from companyos.finops.usage import Consumed

__all__ = (
    "Bill",
    "CostLine",
    "CostStore",
    "Coverage",
    "DayCost",
    "IngestReport",
    "Measure",
    "Mend",
    "Overlap",
    "Rejection",
)

Measure = Literal["billed", "effective"]
"""Which cost: `billed` is what invoices will say (FOCUS BilledCost), `effective` amortises (FOCUS EffectiveCost)."""

Overlap = Literal["refuse", "replace", "replace-smaller", "add"]
"""What to do with a file whose billing periods another file has already brought.

`replace` takes only a file that covers every day of what it drops and costs no less; `replace-smaller` takes any.
"""


@dataclass(frozen=True, slots=True)
class Mend:
    """One kind of repair or deviation, with how often and where it was met first."""

    kind: str
    """Stable id, for example `text_null`."""
    column: str
    """The column concerned; empty when the whole file is."""
    count: int
    """How many values."""
    first_rows: tuple[int, ...] = ()
    """The first data rows concerned, counted from 1; empty when the whole file is."""

    def to_dict(self) -> dict[str, Any]:
        """The mend as a JSON object."""
        return {"kind": self.kind, "column": self.column, "count": self.count, "first_rows": list(self.first_rows)}


@dataclass(frozen=True, slots=True)
class Rejection:
    """One row that was not ingested."""

    row: int
    """Its number among the data rows, counted from 1."""
    reason: str
    """Stable id, for example `bad_number`."""
    column: str
    """The column concerned; empty when the whole row is."""
    detail: str
    """What was got, shortened."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of one file: every row read is either ingested or rejected, and every mend is counted."""

    digest: str
    """`sha256:<hex>` of the raw file."""
    name: str
    """The file's name when it was first ingested."""
    version: str
    """The FOCUS version found."""
    rows_read: int
    """Data rows in the file."""
    rows_ingested: int
    """Rows that are in the store."""
    rows_rejected: int
    """Rows that are in the side file."""
    mends: tuple[Mend, ...] = ()
    """What was mended or deviates, sorted by kind and column."""
    rejected_by_reason: dict[str, int] = field(default_factory=dict)
    """How many rows were rejected for each reason."""
    stray_columns: tuple[str, ...] = ()
    """Columns that FOCUS does not define and that lack the `x_` prefix; kept with the row."""
    custom_columns: tuple[str, ...] = ()
    """`x_` columns, kept with the row."""
    totals: dict[str, str] = field(default_factory=dict)
    """Exact sum of BilledCost of the ingested rows, by currency, as text."""
    first_day: str | None = None
    """First UTC day with a charge, as `YYYY-MM-DD`."""
    last_day: str | None = None
    """Last UTC day with a charge."""
    replaced: tuple[str, ...] = ()
    """Digests of the files whose billing periods this one replaced, in whole or in part."""
    shrunk: tuple[str, ...] = ()
    """Billing periods that lost days or costs to this file, in words; only with `replace-smaller`."""
    raw_path: str = ""
    """The kept raw file, relative to the store."""
    rejects_path: str | None = None
    """The side file of rejected rows, relative to the store."""
    unchanged: bool = False
    """True when the very same file had been ingested before, so that nothing changed."""

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "digest": self.digest,
            "name": self.name,
            "version": self.version,
            "rows_read": self.rows_read,
            "rows_ingested": self.rows_ingested,
            "rows_rejected": self.rows_rejected,
            "mends": [mend.to_dict() for mend in self.mends],
            "rejected_by_reason": dict(self.rejected_by_reason),
            "stray_columns": list(self.stray_columns),
            "custom_columns": list(self.custom_columns),
            "totals": dict(self.totals),
            "first_day": self.first_day,
            "last_day": self.last_day,
            "replaced": list(self.replaced),
            "raw_path": self.raw_path,
            "rejects_path": self.rejects_path,
            "unchanged": self.unchanged,
            # Left out when empty: entries on ledgers were written before it existed, and must stay the same.
            **({"shrunk": list(self.shrunk)} if self.shrunk else {}),
        }


@dataclass(frozen=True, slots=True)
class CostLine:
    """An exact sum of costs of one key in one currency."""

    key: str
    """What they were grouped by: a service, a tag's value, a day, `all`."""
    currency: str
    """ISO 4217 code; sums never cross currencies."""
    amount: Decimal
    """The sum, exact."""
    rows: int
    """How many charges it adds up."""

    def to_dict(self) -> dict[str, Any]:
        """The line as a JSON object, the amount as text."""
        return {"key": self.key, "currency": self.currency, "amount": plain(self.amount), "rows": self.rows}


@dataclass(frozen=True, slots=True)
class DayCost:
    """The exact cost of one UTC day in one currency."""

    day: date
    """The day on which the charges start, UTC."""
    currency: str
    """ISO 4217 code."""
    amount: Decimal
    """The sum, exact."""
    rows: int
    """How many charges."""
    key: str = "all"
    """What it was grouped by."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the store holds, so that nobody concludes from data that is not there."""

    digest: str | None
    """`sha256:<hex>` over the digests of the files that contribute rows; None when there are none."""
    files: tuple[str, ...]
    """Digests of those files, sorted."""
    rows: int
    """How many charges."""
    first_day: date | None
    """First UTC day with a charge."""
    data_through: datetime | None
    """Up to when every source has reported: for each provider and billing account the end of its latest charge period
    of at most one day, and of these the earliest. Aware, UTC."""
    currencies: tuple[str, ...]
    """Currencies met, sorted."""
    rows_rejected: int = 0
    """Rows that could not be ingested and may carry costs."""
    silent_sources: tuple[str, ...] = ()
    """Providers, with their billing account, that used to report on most days and have stopped."""


class Bill(Protocol):
    """An open file of charges, whatever its format: the header is read and checked, the rows are read once."""

    header: tuple[str, ...]
    version: str
    rows_read: int
    tally: Tally

    @property
    def stray_columns(self) -> tuple[str, ...]:
        """Columns that FOCUS does not define and that lack the `x_` prefix."""
        ...

    @property
    def custom_columns(self) -> tuple[str, ...]:
        """`x_` columns."""
        ...

    def rows(self) -> Iterator[Charge | tuple[Rejection, list[str]]]:
        """Each data row as a charge, or as a rejection together with its fields."""
        ...


class CostStore(Protocol):
    """Holds charges exactly and adds them up; days and periods are UTC, ranges are half-open `[start, end)`."""

    def ingest(self, path: Path, *, overlap: Overlap = "refuse", number_style: NumberStyle = "auto") -> IngestReport:
        """Bring in a FOCUS file: all of it or nothing, and nothing twice.

        Raises:
            CostFileError: the file cannot be read as FOCUS CSV.
            OverlapError: one of its billing periods is already there from another file, and `overlap` is `refuse`;
                or with `replace` the file has fewer days or lower costs than what it would drop.
        """
        ...

    def total(
        self,
        start: date | None = None,
        end: date | None = None,
        *,
        by: str | None = None,
        measure: Measure = "billed",
    ) -> tuple[CostLine, ...]:
        """Exact sums by key and currency, the dearest first; by day and week, the earliest first.

        `by` is None, `service`, `category`, `provider`, `account`, `sub_account`, `region`, `day`, `week` (its
        Monday), or `tag:KEY`.
        """
        ...

    def daily(
        self,
        start: date | None = None,
        end: date | None = None,
        *,
        by: str | None = None,
        measure: Measure = "billed",
        before_credits: bool = False,
    ) -> tuple[DayCost, ...]:
        """Exact sums by UTC day, key and currency, in the order of days; a day without charges has no line.

        With `before_credits` amounts below zero count as zero: credits, refunds and whatever else lowers a bill.
        """
        ...

    def consumed(self, start: date, end: date) -> tuple[Consumed, ...]:
        """What was consumed, by feature (the tag), `ConsumedUnit` and currency; charges without these are left out."""
        ...

    def coverage(self, *, until: datetime | None = None) -> Coverage:
        """What the store holds; charge periods that end after `until` do not count as reported."""
        ...
