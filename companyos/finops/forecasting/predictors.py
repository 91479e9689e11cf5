"""Five plain ways to say what a day will cost, each learning one day after the other and never looking ahead.

`weekday`: a level (mean with a half-life of seven days) plus what each weekday usually differs from it. `trend`: the
same with a slope (Brown's double exponential smoothing, damped: Gardner & McKenzie 1985). `monthly`: the same as
`weekday` with what the first, the second, … and the last days of a month add. `median`: the median of the last six days
of that weekday. `last_week`: that weekday's last cost, which the field calls seasonal naive and measures others
against.

Missing days teach nothing. No prediction is below zero unless a tenth of the days were.
"""

from __future__ import annotations

import decimal
from collections import deque
from datetime import timedelta
from decimal import Decimal
from functools import cache
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

__all__ = ("ARITHMETIC", "PREDICTORS", "Predictors")

ARITHMETIC = decimal.Context(prec=60)
"""Wide enough for every amount that a store holds."""
PREDICTORS = ("weekday", "trend", "monthly", "median", "last_week")
"""Names, the simplest first; of equals the first is taken."""

ZERO = Decimal(0)
WINDOW_DAYS = 91
"""How far back levels and weekdays look: 13 weeks."""
HALF_LIFE_DAYS = 7
SHRINKAGE = 2
SMOOTHING = Decimal("0.06")
"""Share of the newest day in the level of `trend`."""
DAMPING = Decimal("0.98")
"""What is left of a slope after each day ahead."""
SAME_WEEKDAYS = 6
MONTHS = 6
"""How many months a day of the month is remembered."""
STRIKING = 4
"""A day of the month counts as special when it differs by this many mean errors."""
TYPICAL_DAYS = 60
NEGATIVE_SHARE = 10
"""Costs may be expected below zero when one day in so many was."""
LAST_DAYS = 3
"""Days at the end of a month that are also counted from its end."""


class Predictors:
    """Those named, fed with the same days in the order of the calendar."""

    def __init__(self, names: Sequence[str] = PREDICTORS) -> None:
        self.names = tuple(names)
        """Which of them."""
        self.known = 0
        """Days learnt."""
        self._negative = 0
        self._last: date | None = None
        self._weekday, self._trend, self._monthly = _Weekday(), _Trend(), _Monthly()
        self._recent: list[deque[Decimal]] = [deque(maxlen=SAME_WEEKDAYS) for _ in range(7)]

    def learn(self, day: date, cost: Decimal) -> None:
        """Take in what a day did cost; days come in order, some may be missing."""
        self.known += 1
        self._negative += cost < 0
        self._last = day
        self._weekday.learn(day, cost)
        self._recent[day.weekday()].append(cost)
        if "trend" in self.names:
            self._trend.learn(cost - self._weekday.offsets()[day.weekday()])
        if "monthly" in self.names:
            self._monthly.learn(day, cost)

    def surplus(self, day: date) -> Decimal:
        """What such a day of the month is known to add to, or take off, the day; 0 without the predictor `monthly`."""
        return self._monthly.surplus(day)

    def predict(self, days: Sequence[date]) -> dict[str, list[Decimal]]:
        """What each of `days` will cost, by each predictor.

        Raises:
            ValueError: nothing has been learnt.
        """
        if self._last is None:
            raise ValueError("no day has been learnt")
        least = None if self._negative * NEGATIVE_SHARE >= self.known else ZERO
        made = {name: getattr(self, f"_by_{name}")(days) for name in self.names}
        return made if least is None else {name: [max(least, cost) for cost in costs] for name, costs in made.items()}

    def _by_weekday(self, days: Sequence[date]) -> list[Decimal]:
        return self._weekday.predict(days)

    def _by_trend(self, days: Sequence[date]) -> list[Decimal]:
        last, offsets = self._last or days[0], self._weekday.offsets()
        return [self._trend.ahead((day - last).days) + offsets[day.weekday()] for day in days]

    def _by_monthly(self, days: Sequence[date]) -> list[Decimal]:
        return self._monthly.predict(days)

    def _by_median(self, days: Sequence[date]) -> list[Decimal]:
        usual = [median(costs) if costs else None for costs in self._recent]
        return self._filled(days, usual)

    def _by_last_week(self, days: Sequence[date]) -> list[Decimal]:
        return self._filled(days, [costs[-1] if costs else None for costs in self._recent])

    def _filled(self, days: Sequence[date], known: Sequence[Decimal | None]) -> list[Decimal]:
        """By weekday what is known, and what `weekday` says where nothing is."""
        values = [known[day.weekday()] for day in days]
        if None not in values:
            return [value for value in values if value is not None]
        other = self._weekday.predict(days)
        return [spare if value is None else value for value, spare in zip(values, other, strict=True)]


class _Weekday:
    """Sums from which level and offsets follow; weights grow instead of old days being weighted down."""

    def __init__(self) -> None:
        self._days: deque[tuple[date, Decimal]] = deque()
        self._origin: date | None = None
        self._sums, self._counts = [ZERO] * 7, [0] * 7
        self._weighted, self._weights = ZERO, [ZERO] * 7
        self._offsets: list[Decimal] | None = None

    def learn(self, day: date, cost: Decimal) -> None:
        self._origin = self._origin or day
        self._days.append((day, cost))
        self._count(day, cost, 1)
        while self._days[0][0] <= day - timedelta(days=WINDOW_DAYS):
            self._count(*self._days.popleft(), -1)
        self._offsets = None

    def _count(self, day: date, cost: Decimal, sign: int) -> None:
        at, weight = day.weekday(), _growth((day - (self._origin or day)).days) * sign
        self._sums[at] += cost * sign
        self._counts[at] += sign
        self._weighted += weight * cost
        self._weights[at] += weight

    def offsets(self) -> list[Decimal]:
        if self._offsets is None:
            mean = sum(self._sums, ZERO) / sum(self._counts)
            self._offsets = [
                (total / count - mean) * count / (count + SHRINKAGE) if count else ZERO
                for total, count in zip(self._sums, self._counts, strict=True)
            ]
        return self._offsets

    def predict(self, days: Sequence[date]) -> list[Decimal]:
        level, offsets = self.level(), self.offsets()
        return [level + offsets[day.weekday()] for day in days]

    def level(self) -> Decimal:
        usual = sum((one * weight for one, weight in zip(self.offsets(), self._weights, strict=True)), ZERO)
        return (self._weighted - usual) / sum(self._weights, ZERO)


class _Trend:
    def __init__(self) -> None:
        self._once: Decimal | None = None
        self._twice = ZERO

    def learn(self, value: Decimal) -> None:
        if self._once is None:
            self._once = self._twice = value
            return
        self._once += SMOOTHING * (value - self._once)
        self._twice += SMOOTHING * (self._once - self._twice)

    def ahead(self, days: int) -> Decimal:
        once = self._once or ZERO
        slope = SMOOTHING / (1 - SMOOTHING) * (once - self._twice)
        return 2 * once - self._twice + slope * _damped(max(1, days))


class _Monthly:
    """A level of its own, fed with what is left when a special day's surplus is taken off."""

    def __init__(self) -> None:
        self._base = _Weekday()
        self._places: dict[int, deque[Decimal]] = {}
        self._sizes: deque[Decimal] = deque(maxlen=TYPICAL_DAYS)
        self._typical = ZERO
        self._known = 0

    def learn(self, day: date, cost: Decimal) -> None:
        surplus = self.surplus(day)
        if self._known:
            difference = cost - self._base.predict([day])[0]
            for place in _places(day):
                self._places.setdefault(place, deque(maxlen=MONTHS)).append(difference)
            self._sizes.append(abs(difference))
            self._typical = sum(self._sizes, ZERO) / len(self._sizes)
        self._base.learn(day, cost - surplus)
        self._known += 1

    def predict(self, days: Sequence[date]) -> list[Decimal]:
        plain = self._base.predict(days)
        return [cost + self.surplus(day) for day, cost in zip(days, plain, strict=True)]

    def surplus(self, day: date) -> Decimal:
        seen = (self._places.get(place, ()) for place in _places(day))
        usual = (median(differences) for differences in seen if len(differences) > 1)
        striking = [surplus for surplus in usual if abs(surplus) > STRIKING * self._typical]
        return max(striking, key=abs, default=ZERO)


@cache
def _places(day: date) -> tuple[int, ...]:
    """Where in the month a day lies: counted from its start, and near its end from there."""
    left = ((day.replace(day=1) + timedelta(days=32)).replace(day=1) - day).days
    return (day.day, -left) if left <= LAST_DAYS else (day.day,)


@cache
def _growth(days: int) -> Decimal:
    return ARITHMETIC.power(2, ARITHMETIC.divide(Decimal(days), Decimal(HALF_LIFE_DAYS)))


@cache
def _damped(days: int) -> Decimal:
    return sum((DAMPING**step for step in range(1, days + 1)), ZERO)
