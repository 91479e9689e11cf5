"""Where the sample lies, when it speaks of, and how to make it overspend."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from companyos.finops.errors import CostFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("AS_OF", "plant_overspend", "sample_path")

AS_OF = datetime(2024, 10, 5, tzinfo=UTC)
"""A moment in the sample's last week for which the sample is fresh: Saturday 2024-10-05, 00:00 UTC."""

PLANTED_SERVICE = "Amazon Elastic Compute Cloud"
THURSDAY = ("2024-10-03",)
"""Where an overspend is planted unless other days are given."""


def sample_path() -> Path:
    """The file `focus_small.csv` inside the package."""
    return Path(__file__).with_name("focus_small.csv")


def plant_overspend(
    destination: Path, amount: Decimal = Decimal(400), *, days: Sequence[str] = THURSDAY, source: Path | None = None
) -> Path:
    """Write a copy of the sample with one more charge of `amount` on each of `days`, and return its path.

    A planted row is the file's own row for that day and service, with other costs and quantities.

    Raises:
        CostFileError: the source has no row for one of the days and the service.
    """
    with (source or sample_path()).open(encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        header, rows = list(reader.fieldnames or ()), list(reader)
    planted = [_planted(rows, day, amount) for day in days]
    with destination.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, header, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*rows, *planted])
    return destination


def _planted(rows: list[dict[str, str]], day: str, amount: Decimal) -> dict[str, str]:
    for row in rows:
        if row["ChargePeriodStart"].startswith(day) and row["ServiceName"] == PLANTED_SERVICE:
            quantity = amount / Decimal(row["ListUnitPrice"])
            costs = dict.fromkeys(("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"), f"{amount:.11f}")
            return row | costs | dict.fromkeys(("ConsumedQuantity", "PricingQuantity"), f"{quantity:.11f}")
    raise CostFileError("no charge to model the overspend on", got=day, expected=f"a day with {PLANTED_SERVICE}")
