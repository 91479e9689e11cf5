"""One FOCUS row made clean: typed, mended where the meaning is certain, rejected where it is not."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from companyos.errors import UserError
from companyos.finops.columns import ALLOWED_VALUES, LOAD_BEARING, NOT_NULL, NUMBERS, TIMES
from companyos.finops.interface import Mend, Rejection
from companyos.finops.money import ISO_4217, NumberStyle, parse_number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

__all__ = ("STRIPPED", "Charge", "RowCleaner", "Tally", "billing_period", "is_short", "require_zone", "stamp")

FIRST_ROWS = 3
"""How many row numbers a mend names."""
CACHED_TIMES = 8192
"""Times repeat from row to row: a year of hours is 8,760."""

_TIME = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:(?P<gap>[T ])(?P<clock>[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?P<fraction>\.[0-9]{1,9})?"
    r"\ ?(?P<zone>Z|UTC|[+-][0-9]{2}:?[0-9]{2})?)?",
    re.ASCII,
)
_NULLS = frozenset({"NULL", "null"})
_KEYS = frozenset(
    """
    BillingAccountId InvoiceIssuerName ProviderName RegionId RegionName ServiceCategory ServiceName ServiceProviderName
    SubAccountId SubAccountName
    """.split()  # noqa: SIM905 - a table of names reads better than a list of quoted ones
)
"""Columns that charges are told apart and grouped by: white space around them makes no other account."""
STRIPPED = NUMBERS | TIMES | frozenset(ALLOWED_VALUES) | {"BillingCurrency", "PricingCurrency"} | _KEYS
_BY_FOLDED = {name: {value.casefold(): value for value in values} for name, values in ALLOWED_VALUES.items()}


@dataclass(frozen=True, slots=True)
class Charge:
    """One charge, ready to be stored."""

    row: int
    """Its number among the data rows of its file, counted from 1."""
    issuer: str
    """Who invoices it; empty when the file does not say."""
    account: str
    """The billing account; empty when the file does not say."""
    billing_start: datetime
    """Start of its billing period, UTC."""
    start: datetime
    """Start of its charge period, UTC."""
    end: datetime
    """End of its charge period, UTC, exclusive."""
    currency: str
    """ISO 4217 code of both costs."""
    billed: Decimal
    """FOCUS BilledCost."""
    effective: Decimal
    """FOCUS EffectiveCost."""
    tags: str | None
    """The tags as a JSON object, or None when there are none or they do not parse."""
    record: dict[str, str]
    """Every column that is not null, after mending, as text; custom and stray columns included."""

    @property
    def provider(self) -> str:
        """Who provides the service, under the name that the file's version uses."""
        names = ("ServiceProviderName", "ProviderName", "InvoiceIssuerName")
        return next((self.record[name] for name in names if name in self.record), "")


class Tally:
    """Counts mends by kind and column and remembers where each was met first."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._rows: dict[tuple[str, str], list[int]] = {}

    def add(self, kind: str, column: str = "", row: int | None = None) -> None:
        """Count one."""
        self._counts[kind, column] += 1
        rows = self._rows.setdefault((kind, column), [])
        if row is not None and len(rows) < FIRST_ROWS:
            rows.append(row)

    def add_many(self, kind: str, column: str, count: int, rows: Sequence[int]) -> None:
        """Count several at once; `rows` are the first of them."""
        self._counts[kind, column] += count
        self._rows[kind, column] = sorted([*self._rows.get((kind, column), ()), *rows])[:FIRST_ROWS]

    def copy(self) -> Tally:
        """Another one with the same counts."""
        twin = Tally()
        twin._counts.update(self._counts)
        twin._rows.update({key: list(rows) for key, rows in self._rows.items()})
        return twin

    def count(self, kind: str) -> int:
        """How many of that kind, over all columns."""
        return sum(count for (known, _), count in self._counts.items() if known == kind)

    def first_row(self, kind: str) -> int | None:
        """The first row with that kind."""
        return min((rows[0] for (known, _), rows in self._rows.items() if known == kind and rows), default=None)

    def mends(self) -> tuple[Mend, ...]:
        """All that was counted, sorted by kind and column; `dot_three` is plain notation and left out."""
        return tuple(
            Mend(kind, column, count, tuple(self._rows[kind, column]))
            for (kind, column), count in sorted(self._counts.items())
            if kind != "dot_three"
        )


class _RejectedError(Exception):
    def __init__(self, reason: str, column: str, detail: str) -> None:
        self.reason, self.column, self.detail = reason, column, detail
        super().__init__(reason)


class RowCleaner:
    """Cleans the rows of one file and counts in `tally` what that took; a rejected row counts no mends."""

    def __init__(self, header: Sequence[str], tally: Tally, number_style: NumberStyle = "auto") -> None:
        self._header = tuple(header)
        self._required = tuple(name for name in self._header if name in NOT_NULL)
        self._tally = tally
        self._style: NumberStyle = number_style

    def clean(self, row: int, fields: Sequence[str]) -> Charge | Rejection:
        """The charge that the fields of data row `row` hold, or why they hold none."""
        mends: list[tuple[str, str]] = []
        try:
            charge = self._charge(row, fields, mends)
        except _RejectedError as error:
            return Rejection(row, error.reason, error.column, error.detail[:200])
        for kind, column in mends:
            self._tally.add(kind, column, row)
        return charge

    def _charge(self, row: int, fields: Sequence[str], mends: list[tuple[str, str]]) -> Charge:
        if len(fields) != len(self._header):
            raise _RejectedError("ragged", "", f"{len(fields)} fields under {len(self._header)} columns")
        typed: dict[str, Any] = {}
        record: dict[str, str] = {}
        for name, text in zip(self._header, fields, strict=True):
            value = self._value(name, text, mends)
            if value is not None:
                typed[name] = value
                record[name] = _text(value)
        for name in LOAD_BEARING:
            if name not in typed:
                raise _RejectedError("missing_value", name, "null")
        mends.extend(("required_null", name) for name in self._required if name not in typed)
        for start, end in (("ChargePeriodStart", "ChargePeriodEnd"), ("BillingPeriodStart", "BillingPeriodEnd")):
            if typed[end] <= typed[start]:
                raise _RejectedError("period_reversed", end, f"{record[start]} to {record[end]}")
        return Charge(
            row=row,
            issuer=record.get("InvoiceIssuerName", ""),
            account=record.get("BillingAccountId", ""),
            billing_start=typed["BillingPeriodStart"],
            start=typed["ChargePeriodStart"],
            end=typed["ChargePeriodEnd"],
            currency=typed["BillingCurrency"],
            billed=typed["BilledCost"],
            effective=typed["EffectiveCost"],
            tags=_tags(record.get("Tags"), mends),
            record=record,
        )

    def _value(self, name: str, text: str, mends: list[tuple[str, str]]) -> Any:
        if "\0" in text:
            raise _RejectedError("nul_byte", name, repr(text))
        if name in STRIPPED and text != text.strip():
            mends.append(("white_space", name))
            text = text.strip()
        if text in _NULLS:
            mends.append(("text_null", name))
            return None
        if not text:
            return None
        if name in NUMBERS:
            return self._number(name, text, mends)
        if name in TIMES:
            return _time(name, text, mends)
        if name == "BillingCurrency":
            return _currency(text, mends)
        if name in ALLOWED_VALUES:
            return _allowed(name, text, mends)
        if name == "AvailabilityZone" and text.replace(".", "", 1).isdigit():
            mends.append(("number_for_text", name))
        return text

    def _number(self, name: str, text: str, mends: list[tuple[str, str]]) -> Decimal:
        try:
            value, kind = parse_number(text, self._style)
        except ValueError as error:
            raise _RejectedError("bad_number", name, f"{text!r}: {error}") from error
        if kind:
            mends.append((kind, name))
        return value


def _time(name: str, text: str, mends: list[tuple[str, str]]) -> datetime:
    try:
        moment, kinds = _read_time(text)
    except (ValueError, OverflowError) as error:
        raise _RejectedError("bad_time", name, f"{text!r}: {error}") from error
    mends.extend((kind, name) for kind in kinds)
    return moment


@lru_cache(maxsize=CACHED_TIMES)
def _read_time(text: str) -> tuple[datetime, tuple[str, ...]]:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("not an ISO 8601 time")
    zone = (match["zone"] or "Z").replace("UTC", "Z").replace("Z", "+00:00")
    moment = datetime.fromisoformat(f"{match['day']}T{match['clock'] or '00:00'}{zone}").astimezone(UTC)
    if not 1970 <= moment.year < 9000:
        raise ValueError("year out of range")
    kinds = {
        "date_only": match["clock"] is None,
        "naive_time": match["clock"] is not None and match["zone"] is None,
        "offset_time": zone != "+00:00",
        "space_date": match["gap"] == " ",
        "fraction_of_second": match["fraction"] is not None,
    }
    return moment, tuple(kind for kind, met in kinds.items() if met)


def _currency(text: str, mends: list[tuple[str, str]]) -> str:
    code = text.upper()
    if code not in ISO_4217:
        raise _RejectedError("unknown_currency", "BillingCurrency", repr(text))
    if code != text:
        mends.append(("value_case", "BillingCurrency"))
    return code


def _allowed(name: str, text: str, mends: list[tuple[str, str]]) -> str:
    known = _BY_FOLDED[name].get(text.casefold())
    if known is None:
        mends.append(("unknown_value", name))
        return text
    if known != text:
        mends.append(("value_case", name))
    return known


def _tags(text: str | None, mends: list[tuple[str, str]]) -> str | None:
    if text is None:
        return None
    try:
        tags = json.loads(text)
        normal = json.dumps(tags, sort_keys=True, ensure_ascii=False, allow_nan=False)
        normal.encode()
    except (ValueError, RecursionError):
        tags = None
    if not isinstance(tags, dict):
        mends.append(("bad_tags", "Tags"))
        return None
    return normal


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return stamp(value)
    return value if isinstance(value, str) else format(value, "f")


@lru_cache(maxsize=CACHED_TIMES)
def stamp(moment: datetime) -> str:
    """The moment as `YYYY-MM-DDTHH:MM:SSZ`, which sorts as text."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def billing_period(header: Sequence[str], fields: Sequence[str]) -> tuple[str, str, str]:
    """Issuer, account and start of the billing period of a rejected row; the start is empty if it cannot be told."""
    # A last row that the end of the file cut off is right as far as it goes.
    values = dict(zip(header, fields, strict=False)) if len(fields) <= len(header) else {}
    issuer, account, start = (
        "" if text in _NULLS else text
        for text in (
            values.get(name, "").strip() for name in ("InvoiceIssuerName", "BillingAccountId", "BillingPeriodStart")
        )
    )
    try:
        return issuer, account, stamp(_read_time(start)[0])
    except (ValueError, OverflowError):
        return issuer, account, ""


def require_zone(moment: datetime, name: str) -> datetime:
    """The moment itself.

    Raises:
        UserError: it has no time zone, so that nobody knows when it is.
    """
    if moment.utcoffset() is None:
        raise UserError(
            f"{name} has no time zone",
            got=moment.isoformat(),
            expected="an aware datetime",
            hint=f"{name}=datetime(..., tzinfo=UTC)",
        )
    return moment


def is_short(charge: Charge) -> bool:
    """Whether the charge period is at most a day, so that its end tells how far usage has been reported."""
    return charge.end - charge.start <= timedelta(days=1)
