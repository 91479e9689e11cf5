"""One bill on its way in: cleaned in bulk where that is certain, row by row where it is not, then added up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeAlias

from companyos.finops.bulk.bills import FETCHED, ParquetBill
from companyos.finops.bulk.cleaning import BITS, DECIMAL, Cleaning, column_names, derived, typed
from companyos.finops.bulk.connection import connect, duckdb, literal, quoted, watched
from companyos.finops.bulk.leftovers import EXTRA_COLUMNS, fitting, write_rows
from companyos.finops.bulk.queries import QUERIES, rollup_query
from companyos.finops.columns import NOT_NULL, NUMBERS
from companyos.finops.focus import MAX_LINE
from companyos.finops.rows import Charge, RowCleaner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from companyos.finops.bulk.bills import BulkBill
    from companyos.finops.bulk.connection import Progress
    from companyos.finops.interface import Rejection

__all__ = ("Staging", "charges_view")

Item: TypeAlias = "Charge | tuple[Rejection, list[str]]"
WRITTEN = "FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 61440"
"""Small row groups: each thread holds one of every column."""


class Staging:
    """The Parquet files of one bill in the making, in `directory`; a context manager, to be used once."""

    def __init__(self, bill: BulkBill, directory: Path, tags: Sequence[str], progress: Progress | None = None) -> None:
        self.clean = directory / "clean.parquet"
        """The rows that were cleaned in bulk."""
        self.mended = directory / "mended.parquet"
        """The rows that Python cleaned."""
        self.rollups = directory / "rollups.parquet"
        """Sums by day and dimension."""
        self._bill = bill
        self._directory = directory
        self._tags = tuple(tags)
        self._progress = progress
        self._cleaning = Cleaning(bill.header, self._tags, bill.null_text)
        self._connection = connect(directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def load(self, accept: Callable[[Iterator[Item]], Iterator[Charge]]) -> None:
        """Read the bill into `clean` and `mended`; `accept` keeps the rejections and gives back the charges.

        Raises:
            CostFileError: the file as a whole cannot be trusted.
        """
        counted = self._bill.tally.copy()
        if self._clean_in_bulk():
            self._mend(accept(fitting(self._leftovers(), self._bill.header)))
            if not self._two_readings():
                self._count_quirks()
                self._count_nulls()
                return
            # Numbers like 1.234 were taken as they stand, and now a decimal comma is met: read all of it again.
        self.clean.unlink(missing_ok=True)
        self._bill.tally = counted
        self._bill.rows_read = 0
        self._mend(accept(fitting(self._bill.rows(), self._bill.header)))

    def add_up(self) -> Iterator[tuple[Any, ...]]:
        """Write `rollups`; then the rows of the query `spans`."""
        files = [path for path in (self.clean, self.mended) if path.exists()]
        self._connection.execute(f"CREATE VIEW charges AS {charges_view(files, self._bill.header, self._tags)}")
        with watched(self._connection, self._progress, "adding up"):
            self._connection.execute(
                f"COPY ({rollup_query(self._tags)} ORDER BY dimension, co_day) TO {literal(self.rollups)} ({WRITTEN})"
            )
        result = self._connection.execute(QUERIES["spans"])
        while batch := result.fetchmany(FETCHED):
            yield from batch

    def _clean_in_bulk(self) -> bool:
        bill = self._bill
        if not bill.in_bulk:
            return False
        query = f"COPY ({self._cleaning.query(bill.relation())}) TO {literal(self.clean)} ({WRITTEN})"
        try:
            with watched(self._connection, self._progress, "reading"):
                (bill.rows_read,) = self._connection.execute(query).fetchone()
        except duckdb().Error as error:
            if isinstance(bill, ParquetBill):
                with bill.readable():
                    raise
            if isinstance(error, duckdb().OutOfMemoryException | duckdb().IOException):
                raise
            return False  # the thorough reader says what is wrong, or mends it
        return True

    def _leftovers(self) -> Iterator[Item]:
        """The rows that bulk cleaning was not certain of, as Python reads them."""
        bill = self._bill
        cleaner = RowCleaner(bill.header, bill.tally, bill.style)
        rows = self._connection.execute(
            f"SELECT file_row_number + 1, co_fields FROM read_parquet({literal(self.clean)}, file_row_number = true)"  # noqa: S608 - our path
            " WHERE co_fields IS NOT NULL ORDER BY 1"
        )
        while batch := rows.fetchmany(FETCHED):
            for row, fields in batch:
                cleaned = bill.clean(cleaner, row, fields, last=row == bill.rows_read)
                yield cleaned if isinstance(cleaned, Charge) else (cleaned, fields)

    def _mend(self, charges: Iterator[Charge]) -> None:
        """Write the charges that Python read as Parquet of the same columns."""
        header = self._bill.header
        text = self._directory / "mended.csv"
        count = write_rows(charges, header, text)
        names = column_names(header)
        columns = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(len(header)))
        extras = ", ".join(f"'{name}': '{_EXTRA_TYPES.get(name, 'VARCHAR')}'" for name in EXTRA_COLUMNS)
        selected = [typed(f"c{number}", name, names[number]) for number, name in enumerate(header)]
        if count:
            self._connection.execute(
                f"COPY (SELECT {', '.join([*selected, *EXTRA_COLUMNS])} FROM read_csv({literal(text)},"  # noqa: S608 - our own columns
                " auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"',"
                f" max_line_size = {4 * MAX_LINE},"  # written again, a line may be longer
                f" columns = {{{columns}, {extras}}})) TO {literal(self.mended)} ({WRITTEN})"
            )
        text.unlink()

    def _two_readings(self) -> bool:
        tally = self._bill.tally
        return self._bill.style == "auto" and bool(tally.count("decimal_comma") or tally.count("grouped_comma_mark"))

    def _count_quirks(self) -> None:
        """Count the bits of the rows that were cleaned in bulk."""
        quirks = self._cleaning.quirks()
        for start in range(0, len(quirks), BITS):
            column = f"co_quirks_{start // BITS}"
            rows = self._connection.execute(
                "SELECT bit, count(*), min(row, 3) FROM "  # noqa: S608 - our own names
                f"(SELECT file_row_number + 1 AS row, {column} AS bits FROM read_parquet({literal(self.clean)},"
                f" file_row_number = true) WHERE co_fields IS NULL AND {column} <> 0), range({BITS}) AS of(bit)"
                " WHERE (bits >> bit) & 1 = 1 GROUP BY bit"
            ).fetchall()
            for bit, count, first in rows:
                kind, name, _ = quirks[start + bit]
                self._bill.tally.add_many(kind, name, count, first)

    def _count_nulls(self) -> None:
        """Count the columns that should not be null and are, in the rows that were cleaned in bulk."""
        names = dict(zip(self._bill.header, column_names(self._bill.header), strict=True))
        needed = [name for name in self._bill.header if name in NOT_NULL]
        if not needed:
            return
        empty = [f"{quoted(names[name])} IS NULL" for name in needed]
        counts = self._connection.execute(
            f"SELECT {', '.join(f'count_if({test}), min(row, 3) FILTER (WHERE {test})' for test in empty)} FROM "  # noqa: S608
            f"(SELECT *, file_row_number + 1 AS row FROM read_parquet({literal(self.clean)}, file_row_number = true)"
            " WHERE co_fields IS NULL)"
        ).fetchone()
        for at, name in enumerate(needed):
            if counts[2 * at]:
                self._bill.tally.add_many("required_null", name, counts[2 * at], counts[2 * at + 1])


_EXTRA_TYPES = {"co_row": "BIGINT", "co_billed_rest": "BIGINT", "co_effective_rest": "BIGINT"}


def charges_view(files: Sequence[Path], header: Sequence[str], tags: Sequence[str], further: Sequence[str] = ()) -> str:
    """The charges of one bill with what they are grouped by, and `further` columns of it, from Parquet, as SQL."""
    typed_null = {name: f"CAST(NULL AS {DECIMAL if name in NUMBERS else 'VARCHAR'}) AS {name}" for name in further}
    parts = []
    for path in files:
        mended = path.name.startswith("mended") or path.name.endswith("-mended.parquet")
        json = "co_json" if mended else "Tags" if "Tags" in header else "CAST(NULL AS VARCHAR)"
        rest = [
            f"co_{cost}_rest" if mended else f"CAST(0 AS BIGINT) AS co_{cost}_rest" for cost in ("billed", "effective")
        ]
        columns = [
            *derived(header, tags, json),
            "strftime(BillingPeriodStart, '%Y-%m-%dT%H:%M:%SZ') AS co_billing_start",
            "ChargePeriodStart AS co_start",
            "ChargePeriodEnd AS co_end",
            "CAST(ChargePeriodStart AS DATE) AS co_day",
            "ChargePeriodEnd - ChargePeriodStart <= INTERVAL 1 DAY AS co_short",
            "BillingCurrency AS co_currency",
            "BilledCost AS co_billed",
            "EffectiveCost AS co_effective",
            f"{json} AS co_json",
            *rest,
            *(quoted(name) if name in header else typed_null[name] for name in further),
        ]
        where = "" if mended else " WHERE co_fields IS NULL"
        parts.append(f"SELECT {', '.join(columns)} FROM read_parquet({literal(path)}){where}")  # noqa: S608
    return " UNION ALL ".join(parts)
