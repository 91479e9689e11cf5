"""The rows that were not cleaned in bulk: as read by Python, written where DuckDB takes them up again."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from typing import TYPE_CHECKING

from companyos.finops.bulk.cleaning import FRACTION_DIGITS, INTEGER_DIGITS
from companyos.finops.columns import NUMBERS
from companyos.finops.interface import Rejection
from companyos.finops.money import EXACT, MAX_FRACTION_DIGITS, plain
from companyos.finops.rows import Charge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

__all__ = ("EXTRA_COLUMNS", "combined", "fitting", "split", "write_rows")

EXTRA_COLUMNS = ("co_row", "co_billed_rest", "co_effective_rest", "co_wide", "co_json")
"""What the rows have beside the columns of the file."""
COSTS = ("BilledCost", "EffectiveCost")
_LIMIT = Decimal(10) ** INTEGER_DIGITS
_UNIT = 10**FRACTION_DIGITS


def fitting(
    items: Iterable[Charge | tuple[Rejection, list[str]]], header: Sequence[str]
) -> Iterator[Charge | tuple[Rejection, list[str]]]:
    """The same items; a charge whose costs are beyond the store's type becomes a rejection that says so."""
    for item in items:
        if not isinstance(item, Charge) or max(abs(item.billed), abs(item.effective)) < _LIMIT:
            yield item
            continue
        column = COSTS[abs(item.billed) < _LIMIT]
        yield (
            Rejection(item.row, "out_of_range", column, f"{item.record[column]}: more than {INTEGER_DIGITS} digits"),
            [item.record.get(name, "") for name in header],
        )


def write_rows(charges: Iterable[Charge], header: Sequence[str], target: Path) -> int:
    """Write clean charges as CSV: the columns of `header`, then `EXTRA_COLUMNS`; how many there were."""
    count = 0
    with target.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow([*(f"c{number}" for number in range(len(header))), *EXTRA_COLUMNS])
        for charge in charges:
            count += 1
            writer.writerow(_fields(charge, header))
    return count


def split(value: Decimal) -> tuple[str, int]:
    """An amount as what fits the store's decimals, and the rest in units of 10^-36, both of the amount's sign."""
    units = int(value.scaleb(MAX_FRACTION_DIGITS, EXACT))
    whole, rest = divmod(abs(units), _UNIT)
    sign = -1 if units < 0 else 1
    return format(Decimal(sign * whole).scaleb(-FRACTION_DIGITS, EXACT), "f"), sign * rest


def combined(amount: Decimal, rest: int) -> Decimal:
    """The amount that `split` took apart, or the sum of many, without needless zeros."""
    total = EXACT.add(amount, Decimal(rest).scaleb(-MAX_FRACTION_DIGITS, EXACT))
    return Decimal(plain(total))


def _fields(charge: Charge, header: Sequence[str]) -> list[str]:
    record = dict(charge.record)
    wide = {}
    for name in NUMBERS & record.keys() - set(COSTS):
        value = Decimal(record[name])
        if abs(value) >= _LIMIT or split(value)[1]:
            wide[name] = record.pop(name)
    record["BilledCost"], billed_rest = split(charge.billed)
    record["EffectiveCost"], effective_rest = split(charge.effective)
    return [
        *(record.get(name, "") for name in header),
        str(charge.row),
        str(billed_rest),
        str(effective_rest),
        json.dumps(wide, sort_keys=True) if wide else "",
        charge.tags or "",
    ]
