"""An interval around what days to come will cost, calibrated on the errors that the same method made before.

At each day of the history every predictor says what the next `horizon` days will cost together. The one that erred
least so far (errors halve their weight every four weeks) is believed. Its error, once the days are over, joins the
errors from which the interval is read: split conformal prediction (Vovk et al. 2005; Lei et al. 2018), run forward in
time.

Two things differ from the textbook. Windows of several days overlap, so that their errors tell less than as many
separate ones would; the finite-sample correction is made for the number that they are worth (Bartlett's formula for
sums of independent days). And costs change, so that old errors may mislead: each end of the interval is moved outward
whenever it was passed and slowly inward otherwise (adaptive conformal inference; Gibbs & Candès 2021), which steers
the share of misses to its nominal value whatever the costs do. No end goes beyond the largest error known, so it is
steered, not guaranteed; `backtest` measures it.

With few errors the interval is the plain quantile of what there is and says that it is not calibrated; with fewer
there is none.
"""

from __future__ import annotations

import decimal
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

from companyos.finops.forecasting.predictors import ARITHMETIC, PREDICTORS, ZERO, Predictors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

__all__ = ("LEVEL", "Forecaster", "Interval", "Trial")

LEVEL = Decimal("0.8")
"""How often an interval is to hold, unless said otherwise; each end is passed half as often as it fails."""
MIN_TRAINING_DAYS = 14
"""Known days before the method is first tried."""
KEPT_ERRORS = 365
"""The newest errors, from which the interval is read."""
LEAST_ERRORS = 90
"""An interval is calibrated when it rests on this many errors, three months of days, …"""
LEAST_WORTH = 12
"""… which are worth this many separate ones."""
KNOWN_TENTHS = 9
"""A window is judged when this many tenths of its days are known."""
STEP = Decimal("0.01")
"""How far a miss moves an end's nominal share of misses, a day ahead."""
PATIENCE_DAYS = 40
"""Farther ahead misses come in rows and are known late, so each moves it less: half as far at so many days more."""
FORGETTING = ARITHMETIC.power(2, ARITHMETIC.divide(Decimal(-1), Decimal(28)))
"""What an error still counts a day later, when a predictor is chosen."""


@dataclass(frozen=True, slots=True)
class Interval:
    """What some days will cost together."""

    point: Decimal
    """The expected cost."""
    lower: Decimal | None
    """The lower end, at most `point`; None when too few errors are known."""
    upper: Decimal | None
    """The upper end, at least `point`; None when too few errors are known."""
    predictor: str
    """Which predictor is believed."""
    days: tuple[Decimal, ...]
    """The expected cost of each day."""
    errors: int
    """How many errors the ends rest on."""
    calibrated: bool
    """Whether those are enough for the interval to hold about as often as it says."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One forecast of the past, and how it went."""

    origin: date
    """Its first day; everything before was known, and nothing else."""
    interval: Interval
    """What was said."""
    actual: Decimal
    """What the days did cost; a missing one counts for what was expected of it."""


class Forecaster:
    """Learns a day at a time, and says what the next `horizon` days will cost together, at the nominal `level`.

    `predictors` are those to choose from.
    """

    def __init__(self, horizon: int, level: Decimal = LEVEL, *, predictors: Sequence[str] = PREDICTORS) -> None:
        self.horizon = horizon
        """Days that are forecast together."""
        self._tail = (1 - level) / 2
        self._misses = [self._tail, self._tail]
        self._step = STEP * PATIENCE_DAYS / (PATIENCE_DAYS + horizon - 1)
        self._predictors = Predictors(predictors)
        self._days: dict[date, Decimal] = {}
        self._open: deque[tuple[date, Interval, dict[str, list[Decimal]]]] = deque()
        self._weighted = dict.fromkeys(predictors, ZERO)
        self._errors: deque[Decimal] = deque()
        self._sorted: list[Decimal] = []

    def learn(self, day: date, cost: Decimal) -> list[Trial]:
        """Forecast from this day on, then take in what it did cost; the forecasts that are over now, as trials."""
        with decimal.localcontext(ARITHMETIC):
            if self._predictors.known >= MIN_TRAINING_DAYS:
                made = self._predictors.predict([day + timedelta(days=at) for at in range(self.horizon)])
                self._open.append((day, self._around(made), made))
            self._predictors.learn(day, cost)
            self._days[day] = cost
            return self._settle(day)

    def forecast(self, days: Sequence[date]) -> Interval:
        """What `days` will cost together; there are `horizon` of them.

        Raises:
            ValueError: nothing has been learnt.
        """
        with decimal.localcontext(ARITHMETIC):
            return self._around(self._predictors.predict(days))

    def _settle(self, today: date) -> list[Trial]:
        over = []
        while self._open and self._open[0][0] + timedelta(days=self.horizon - 1) <= today:
            origin, interval, made = self._open.popleft()
            costs = ((at, self._days.get(origin + timedelta(days=at))) for at in range(self.horizon))
            known = {at: cost for at, cost in costs if cost is not None}
            if 10 * len(known) >= KNOWN_TENTHS * self.horizon:
                errors = {
                    name: sum((cost - values[at] for at, cost in known.items()), ZERO) for name, values in made.items()
                }
                over.append(self._judge(origin, interval, errors))
            del self._days[origin]
        return over

    def _judge(self, origin: date, interval: Interval, errors: dict[str, Decimal]) -> Trial:
        for name, error in errors.items():
            self._weighted[name] = self._weighted[name] * FORGETTING + abs(error)
        error = errors[interval.predictor]
        self._errors.append(error)
        insort(self._sorted, error)
        if len(self._errors) > KEPT_ERRORS:
            del self._sorted[bisect_left(self._sorted, self._errors.popleft())]
        actual = interval.point + error
        if interval.calibrated and interval.lower is not None and interval.upper is not None:
            for end, missed in enumerate((actual < interval.lower, actual > interval.upper)):
                moved = self._misses[end] + self._step * (self._tail - missed)
                self._misses[end] = min(max(ZERO, moved), Decimal("0.5"))
        return Trial(origin, interval, actual)

    def _around(self, made: dict[str, list[Decimal]]) -> Interval:
        name = min(made, key=lambda name: self._weighted[name])
        days, known = tuple(made[name]), len(self._sorted)
        worth = known / _repetition(self.horizon)
        calibrated = known >= LEAST_ERRORS and worth >= max(Decimal(LEAST_WORTH), (1 - self._tail) / self._tail)
        low, high = self._ranks(worth) if calibrated else self._plain_ranks()
        point = sum(days, ZERO)
        lower = point + min(ZERO, self._sorted[known - low]) if low <= known else None
        upper = point + max(ZERO, self._sorted[high - 1]) if high <= known else None
        return Interval(point, lower, upper, name, days, known, calibrated)

    def _ranks(self, worth: Decimal) -> tuple[int, int]:
        known = len(self._sorted)
        shares = [known * (1 - missed) * (1 + 1 / worth) for missed in self._misses]
        low, high = (min(known, int(share.to_integral_value(ROUND_CEILING))) for share in shares)
        return low, high

    def _plain_ranks(self) -> tuple[int, int]:
        rank = int(((len(self._sorted) + 1) * (1 - self._tail)).to_integral_value(ROUND_CEILING))
        return rank, rank


def _repetition(horizon: int) -> Decimal:
    """How many errors of windows that overlap are worth one of windows that do not."""
    return 1 + Decimal((horizon - 1) * (2 * horizon - 1)) / (3 * horizon)
