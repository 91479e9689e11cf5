"""Made-up daily costs that are hard to forecast, each kind by name, the same for the same seed."""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("FIRST_DAY", "WORKLOADS", "made_up_costs")

FIRST_DAY = date(2023, 1, 1)
"""The day on which every workload starts."""
CENT = Decimal("0.01")
REGIME_DAYS = 90
LEVELS = (0.5, 1.0, 1.6, 2.4)


class _Chance(random.Random):
    """Numbers that are the same for the same name and seed."""

    def __init__(self, name: str, seed: int) -> None:
        super().__init__(f"{name}-{seed}")
        shifts = random.Random(f"levels-{seed}")  # noqa: S311 - made-up costs, not secrets
        self.levels = [shifts.choice(LEVELS) for _ in range(100)]


def _steady(_day: date, _at: int, chance: _Chance) -> float:
    return chance.gauss(30, 3)


def _weekend(day: date, _at: int, chance: _Chance) -> float:
    return (16 if day.weekday() >= 5 else 40) * chance.gauss(1, 0.08)


def _trend(day: date, at: int, chance: _Chance) -> float:
    return _weekend(day, at, chance) * (1 + at / 200)


def _month_start(day: date, at: int, chance: _Chance) -> float:
    return _weekend(day, at, chance) + (chance.gauss(400, 20) if day.day == 1 else 0)


def _month_end(day: date, at: int, chance: _Chance) -> float:
    left = ((day.replace(day=1) + timedelta(days=32)).replace(day=1) - day).days
    return _weekend(day, at, chance) * {1: 4, 2: 2}.get(left, 1)


def _level_shift(day: date, at: int, chance: _Chance) -> float:
    return _weekend(day, at, chance) * chance.levels[at // REGIME_DAYS % len(chance.levels)]


def _heavy_tails(_day: date, _at: int, chance: _Chance) -> float:
    return 15 * chance.paretovariate(2)


def _wild(_day: date, _at: int, chance: _Chance) -> float:
    return chance.lognormvariate(3, 0.9)


def _missing_days(day: date, at: int, chance: _Chance) -> float | None:
    cost = _weekend(day, at, chance)
    return None if chance.random() < 0.03 else cost


def _credits(day: date, at: int, chance: _Chance) -> float:
    return _weekend(day, at, chance) - (chance.uniform(60, 240) if chance.random() < 0.06 else 0)


WORKLOADS: dict[str, Callable[[date, int, _Chance], float | None]] = {
    "steady": _steady,
    "weekend": _weekend,
    "trend": _trend,
    "month_start": _month_start,
    "month_end": _month_end,
    "level_shift": _level_shift,
    "heavy_tails": _heavy_tails,
    "wild": _wild,
    "missing_days": _missing_days,
    "credits": _credits,
}
"""The cost of a day by kind: 30 a day; half of it at weekends; rising by half a percent of the start a day; purchases
on the first; dear last days; a new level each quarter; Pareto with index 2; log-normal; days that never come;
credits."""


def made_up_costs(name: str, days: int, *, seed: int = 1) -> dict[date, Decimal]:
    """So many days of the workload `name`, in cents; missing days are left out."""
    chance = _Chance(name, seed)
    made = {}
    for at in range(days):
        day = FIRST_DAY + timedelta(days=at)
        cost = WORKLOADS[name](day, at, chance)
        if cost is not None:
            made[day] = Decimal(cost).quantize(CENT)
    return made
