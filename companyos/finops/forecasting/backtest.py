"""How often the interval held, and how wide it was, when the method is run at every day of the past."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from companyos.finops.forecasting.conformal import LEVEL, Forecaster
from companyos.finops.forecasting.predictors import PREDICTORS
from companyos.finops.money import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from companyos.finops.forecasting.conformal import Trial

__all__ = ("TOLERANCE", "Backtest", "backtest")

TOLERANCE = Decimal("0.05")
"""How far the share of intervals that held may lie from the nominal level."""
CENT = Decimal("0.01")
SHARE = Decimal("0.001")


@dataclass(frozen=True, slots=True)
class Backtest:
    """What came of forecasting every day of a history from the days before it."""

    horizon: int
    """Days that were forecast together."""
    level: Decimal
    """How often the interval was to hold."""
    days: int
    """Days of the history."""
    uncalibrated: int
    """Forecasts with too little behind them to be calibrated; they are in none of the figures."""
    trials: int
    """Calibrated forecasts: what all figures are about."""
    below: Decimal | None = None
    """Share of them in which costs came out below the interval; None without any."""
    above: Decimal | None = None
    """Share in which they came out above it."""
    width: Decimal | None = None
    """Mean width of the interval."""
    naive_width: Decimal | None = None
    """Mean width of an interval made in the same way around the last week's costs (seasonal naive)."""
    error: Decimal | None = None
    """Mean absolute error of the point forecast."""
    naive_error: Decimal | None = None
    """That of the last week's costs."""
    predictor: str | None = None
    """Who was believed most often."""

    @property
    def coverage(self) -> Decimal | None:
        """Share of forecasts whose interval held."""
        return None if self.below is None or self.above is None else 1 - self.below - self.above

    @property
    def holds(self) -> bool | None:
        """Whether the coverage lies within five points of the nominal level; None when that cannot be told."""
        return None if self.coverage is None else abs(self.coverage - self.level) <= TOLERANCE

    @property
    def relative_width(self) -> Decimal | None:
        """Width over that of seasonal naive."""
        return _ratio(self.width, self.naive_width)

    @property
    def relative_error(self) -> Decimal | None:
        """Error over that of seasonal naive."""
        return _ratio(self.error, self.naive_error)

    def to_dict(self) -> dict[str, Any]:
        """The result as a JSON object, figures as text."""
        figures = {
            "coverage": self.coverage,
            "below": self.below,
            "above": self.above,
            "width": self.width,
            "naive_width": self.naive_width,
            "relative_width": self.relative_width,
            "error": self.error,
            "naive_error": self.naive_error,
            "relative_error": self.relative_error,
        }
        return {
            "horizon": self.horizon,
            "nominal": str(self.level),
            "days": self.days,
            "uncalibrated": self.uncalibrated,
            "trials": self.trials,
            **{name: None if figure is None else plain(figure) for name, figure in figures.items()},
            "holds": self.holds,
            "predictor": self.predictor,
        }


def backtest(histories: Sequence[Mapping[date, Decimal]], horizon: int, *, level: Decimal = LEVEL) -> Backtest:
    """Forecast `horizon` days from every day of each history, with only what was known before, and compare.

    A rolling origin (Tashman 2000); several histories of the same kind are pooled. The comparison is with an interval
    around the costs of the last week, made in the very same way.
    """
    ours, naive = [], []
    for history in histories:
        mine, other = (_trials(history, Forecaster(horizon, level, predictors=names)) for names in _CONTESTANTS)
        ours += mine
        naive += other
    days = sum(len(history) for history in histories)
    pairs = [pair for pair in zip(ours, naive, strict=True) if pair[0].interval.calibrated]
    if not pairs:
        return Backtest(horizon, level, days, len(ours), 0)
    told = [one for one, _ in pairs]
    return Backtest(
        horizon=horizon,
        level=level,
        days=days,
        uncalibrated=len(ours) - len(pairs),
        trials=len(pairs),
        below=_mean([Decimal(one.actual < _ends(one)[0]) for one in told], SHARE),
        above=_mean([Decimal(one.actual > _ends(one)[1]) for one in told], SHARE),
        width=_mean([_width(one) for one in told], CENT),
        naive_width=_mean([_width(other) for _, other in pairs], CENT),
        error=_mean([abs(one.actual - one.interval.point) for one in told], CENT),
        naive_error=_mean([abs(other.actual - other.interval.point) for _, other in pairs], CENT),
        predictor=Counter(one.interval.predictor for one in told).most_common(1)[0][0],
    )


_CONTESTANTS: tuple[tuple[str, ...], ...] = (PREDICTORS, ("last_week",))


def _trials(history: Mapping[date, Decimal], forecaster: Forecaster) -> list[Trial]:
    return [trial for day in sorted(history) for trial in forecaster.learn(day, history[day])]


def _ends(trial: Trial) -> tuple[Decimal, Decimal]:
    point, lower, upper = trial.interval.point, trial.interval.lower, trial.interval.upper
    return (point if lower is None else lower, point if upper is None else upper)


def _width(trial: Trial) -> Decimal:
    lower, upper = _ends(trial)
    return upper - lower


def _mean(values: Sequence[Decimal], step: Decimal) -> Decimal:
    return (sum(values, Decimal(0)) / len(values)).quantize(step)


def _ratio(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or not other else (one / other).quantize(CENT)
