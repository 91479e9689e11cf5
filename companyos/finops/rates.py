"""Exchange rates by date, and costs converted by them, exactly."""

from __future__ import annotations

import csv
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import TYPE_CHECKING

from companyos.finops.errors import RateError
from companyos.finops.interface import CostLine
from companyos.finops.money import EXACT, ISO_4217

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from companyos.finops.interface import DayCost

__all__ = ("Rates", "converted")

COLUMNS = ("date", "from", "to", "rate")
MAX_AGE = timedelta(days=7)
"""A rate holds over weekends and holidays, and no longer."""


@dataclass(frozen=True, slots=True)
class Rates:
    """A table of rates: what one unit of a currency is worth in another, from a day on."""

    by_pair: dict[tuple[str, str], list[tuple[date, Decimal]]] = field(default_factory=dict)
    """Rates by the pair of currencies, in the order of days."""

    @classmethod
    def load(cls, path: Path) -> Rates:
        """Read a CSV file with the columns `date` (ISO 8601), `from`, `to` (ISO 4217) and `rate`.

        Raises:
            RateError: it cannot be read, a line is wrong, or a pair has two rates on one day.
        """
        table: dict[tuple[str, str], list[tuple[date, Decimal]]] = {}
        try:
            with path.open(encoding="utf-8", newline="") as handle:
                reader = csv.DictReader(handle, strict=True)
                if not set(COLUMNS) <= set(reader.fieldnames or ()):
                    raise _wrong(path, 1, ", ".join(reader.fieldnames or ()))
                for line, row in enumerate(reader, 2):
                    pair, entry = _read(path, line, row)
                    table.setdefault(pair, []).append(entry)
        except (OSError, UnicodeError, csv.Error) as error:
            raise RateError(
                f"cannot read the rates in {path.name}", got=error, expected="a CSV file in UTF-8"
            ) from error
        for pair, entries in table.items():
            entries.sort()
            twice = [one[0] for one, other in pairwise(entries) if one[0] == other[0]]
            if twice:
                raise RateError(
                    f"{path.name} has two rates", got=f"{pair[0]} to {pair[1]} on {twice[0]}", expected="one a day"
                )
        return cls(table)

    def rate(self, currency: str, target: str, day: date) -> Decimal:
        """What one unit of `currency` is worth in `target` on that day: by the latest rate, at most seven days old.

        Raises:
            RateError: there is none; the inverse of another rate is none.
        """
        if currency == target:
            return Decimal(1)
        entries = self.by_pair.get((currency, target), [])
        at = bisect_right(entries, day, key=lambda entry: entry[0])
        if at and day - entries[at - 1][0] <= MAX_AGE:
            return entries[at - 1][1]
        raise RateError(
            f"no rate from {currency} to {target} for {day}",
            got=f"the latest before is of {entries[at - 1][0]}" if at else "none",
            expected=f"a rate of that day, or of the {MAX_AGE.days} days before it",
            hint="add it to the table of rates",
        )


def converted(days: Iterable[DayCost], rates: Rates, target: str) -> tuple[CostLine, ...]:
    """The sums by key of costs by day, each day at its own rate, in the currency `target`; the dearest first.

    Raises:
        RateError: a rate is missing.
    """
    sums: dict[str, tuple[Decimal, int]] = {}
    for cost in days:
        amount, rows = sums.get(cost.key, (Decimal(0), 0))
        worth = EXACT.multiply(cost.amount, rates.rate(cost.currency, target, cost.day))
        sums[cost.key] = EXACT.add(amount, worth), rows + cost.rows
    lines = [CostLine(key, target, amount, rows) for key, (amount, rows) in sums.items()]
    return tuple(sorted(lines, key=lambda line: (-line.amount, line.key)))


def _read(path: Path, line: int, row: dict[str, str]) -> tuple[tuple[str, str], tuple[date, Decimal]]:
    try:
        day, rate = date.fromisoformat(row["date"]), Decimal(row["rate"])
    except (ValueError, TypeError, InvalidOperation) as error:
        raise _wrong(path, line, row) from error
    pair = row["from"], row["to"]
    if not set(pair) <= ISO_4217 or not rate.is_finite() or not Decimal("1e-18") < rate < Decimal("1e18"):
        raise _wrong(path, line, row)
    return pair, (day, rate)


def _wrong(path: Path, line: int, got: object) -> RateError:
    return RateError(
        f"{path.name}, line {line}, is no rate",
        got=got,
        expected="the columns date, from, to, rate, such as 2024-09-03,USD,EUR,0.9052",
    )
