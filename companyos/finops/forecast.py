"""What the running period will cost: a point forecast with an honest upper bound, from plain arithmetic.

Method. Each day not yet reported is predicted as *level + weekday offset*: the level is a mean of the reported days
weighted by a half-life of seven days, the offset of a weekday is its mean distance from the mean, shrunk while few such
weekdays are known. The upper bound adds the 90 % quantile of the errors that the same method made when it was run at
each earlier day of the history over as many days as are open now (the rank `ceil((n + 1) * 0.9)` of split conformal
prediction; Lei et al. 2018). The errors of neighbouring days overlap, so 90 % is what the bound aims at, not what it is
proven to hold. With too few such errors every open day is taken at the dearest day known; with less than a week of
history there is no forecast at all.

Everything is a pure function of its arguments; there is no clock in here. Days, weeks (Monday to Sunday) and months are
UTC.
"""

from __future__ import annotations

import decimal
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from companyos.finops.money import exact_sum, plain
from companyos.finops.rows import require_zone, stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from companyos.finops.interface import CostStore, Coverage, DayCost

__all__ = ("Forecast", "Period", "PeriodKind", "forecast_costs", "forecast_in", "forecast_period", "period_at")

PeriodKind = Literal["day", "week", "month"]
"""The windows that budgets are measured in."""

HISTORY_DAYS = 91
"""How far back the forecast looks before the period: 13 weeks."""
MIN_HISTORY_DAYS = 7
"""With fewer reported days there is no forecast."""
MIN_TRAINING_DAYS = 14
"""Reported days that an earlier day needs before it to be back-tested."""
CONFIDENCE = Decimal("0.9")
"""What the upper bound aims at."""
HALF_LIFE_DAYS = 7
SHRINKAGE = 2
MICRO = Decimal("0.000001")
_ARITHMETIC = decimal.Context(prec=60)


@dataclass(frozen=True, slots=True)
class Period:
    """One window of a budget, half-open, in UTC days."""

    kind: PeriodKind
    """Day, week or month."""
    start: date
    """First day."""
    end: date
    """The day after the last."""

    @property
    def days(self) -> tuple[date, ...]:
        """Every day in it."""
        return tuple(self.start + timedelta(days=n) for n in range((self.end - self.start).days))


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a period will cost, and everything that the figure rests on."""

    period: Period
    """The window."""
    currency: str
    """ISO 4217 code of all amounts."""
    as_of: datetime
    """The moment from which it looks ahead: aware, UTC."""
    spent: Decimal
    """Exact cost on record for the period."""
    point: Decimal | None
    """The expected cost of the whole period; None when there is too little history."""
    upper: Decimal | None
    """What it will hardly exceed; None when there is too little history."""
    method: str
    """How point and bound were made: `all_reported`, `empirical_quantile`, `dearest_day`, `too_little_history`."""
    history_days: int
    """Reported days it learnt from."""
    residuals: int
    """Back-test errors behind the bound."""
    open_days: int
    """Days of the period that are not, or not wholly, reported."""
    extract: str | None
    """Digest of the data, as in `Coverage.digest`."""
    data_through: datetime | None
    """Up to when usage has been reported: aware, UTC."""
    other_currencies: tuple[str, ...] = ()
    """Currencies that also have charges in the period or its history, and are not in these figures."""
    silent_sources: tuple[str, ...] = ()
    """Providers, with their billing account, that used to report on most days and have stopped."""
    rows_rejected: int = 0
    """Rows that could not be ingested and may carry costs."""
    before_credits: Forecast | None = None
    """The same over what was charged before credits, refunds and other amounts below zero; None if not worked out."""

    def facts(self) -> dict[str, Any]:
        """The forecast as a JSON object, amounts as text."""
        return {
            "period": self.period.kind,
            "period_start": self.period.start.isoformat(),
            "period_end": self.period.end.isoformat(),
            "currency": self.currency,
            "as_of": stamp(self.as_of),
            **self.figures(),
            "before_credits": None if self.before_credits is None else self.before_credits.figures(),
            "confidence": str(CONFIDENCE),
            "method": self.method,
            "history_days": self.history_days,
            "residuals": self.residuals,
            "open_days": self.open_days,
            "extract": self.extract,
            "data_through": None if self.data_through is None else stamp(self.data_through),
            "other_currencies": list(self.other_currencies),
            "silent_sources": list(self.silent_sources),
            "rows_rejected": self.rows_rejected,
        }

    def figures(self) -> dict[str, str | None]:
        """What is spent, expected and hardly exceeded, as text."""
        return {
            "spent": plain(self.spent),
            "forecast": None if self.point is None else plain(self.point),
            "upper_bound": None if self.upper is None else plain(self.upper),
        }


def period_at(kind: PeriodKind, as_of: datetime) -> Period:
    """The period of that kind that `as_of` lies in.

    Raises:
        UserError: `as_of` has no time zone.
    """
    day = require_zone(as_of, "as_of").astimezone(UTC).date()
    if kind == "day":
        return Period(kind, day, day + timedelta(days=1))
    if kind == "week":
        monday = day - timedelta(days=day.weekday())
        return Period(kind, monday, monday + timedelta(days=7))
    first = day.replace(day=1)
    return Period(kind, first, (first + timedelta(days=32)).replace(day=1))


def forecast_period(store: CostStore, kind: PeriodKind, currency: str, as_of: datetime) -> Forecast:
    """The forecast for the period that `as_of` lies in, after and before credits, from what the store holds."""
    return forecast_in(store, period_at(kind, as_of), currency, as_of)


def forecast_in(store: CostStore, period: Period, currency: str, as_of: datetime) -> Forecast:
    """The same for any period, such as one that is over."""
    first, coverage = period.start - timedelta(days=HISTORY_DAYS), store.coverage(until=as_of)

    def made(days: Iterable[DayCost]) -> Forecast:
        return forecast_costs(days, period=period, currency=currency, as_of=as_of, coverage=coverage)

    # A credit lowers the bill once; the spending that it hides goes on.
    after = store.daily(first, period.end)
    before = store.daily(first, period.end, before_credits=True)
    forecast = made(after)
    return replace(forecast, before_credits=forecast if before == after else made(before))


def forecast_costs(
    days: Iterable[DayCost], *, period: Period, currency: str, as_of: datetime, coverage: Coverage
) -> Forecast:
    """The forecast for `period` from daily costs.

    A day counts as reported when it has charges and lies wholly before both `as_of` and `coverage.data_through`. A day
    that is partly reported counts for what it has cost or for what is predicted, whichever is more.
    """
    require_zone(as_of, "as_of")
    lines = tuple(days)
    by_day = _by_day(line for line in lines if line.currency == currency)
    cut = min(as_of, coverage.data_through).astimezone(UTC).date() if coverage.data_through else date.min
    reported = {day: cost for day, cost in by_day.items() if day < cut}
    open_days = [day for day in period.days if day not in reported]
    point, upper, method, residuals = _point_and_upper(reported, by_day, period, open_days)
    return Forecast(
        period=period,
        currency=currency,
        as_of=as_of.astimezone(UTC),
        spent=exact_sum(cost for day, cost in by_day.items() if period.start <= day < period.end),
        point=point,
        upper=upper,
        method=method,
        history_days=len(reported),
        residuals=residuals,
        open_days=len(open_days),
        extract=coverage.digest,
        data_through=coverage.data_through,
        other_currencies=tuple(sorted({line.currency for line in lines} - {currency})),
        silent_sources=coverage.silent_sources,
        rows_rejected=coverage.rows_rejected,
    )


def _point_and_upper(
    reported: Mapping[date, Decimal], by_day: Mapping[date, Decimal], period: Period, open_days: Sequence[date]
) -> tuple[Decimal | None, Decimal | None, str, int]:
    known = exact_sum(reported[day] for day in period.days if day in reported)
    if not open_days:
        return known, known, "all_reported", 0
    if len(reported) < MIN_HISTORY_DAYS:
        return None, None, "too_little_history", 0
    with decimal.localcontext(_ARITHMETIC):
        predicted = _predict(reported, open_days)
        ahead = sum((max(by_day.get(day, Decimal(0)), predicted[day]) for day in open_days), Decimal(0))
        point = (known + ahead).quantize(MICRO, ROUND_HALF_EVEN)
        errors = _errors(reported, len(open_days))
        rank = int(((len(errors) + 1) * CONFIDENCE).to_integral_value(ROUND_CEILING))
        if rank <= len(errors):
            margin, method = max(Decimal(0), errors[rank - 1]), "empirical_quantile"
        else:
            dearest = max(reported.values())
            margin, method = (
                sum((max(Decimal(0), dearest - predicted[day]) for day in open_days), Decimal(0)),
                "dearest_day",
            )
        return point, (known + ahead + margin).quantize(MICRO, ROUND_HALF_EVEN), method, len(errors)


def _predict(history: Mapping[date, Decimal], targets: Sequence[date]) -> dict[date, Decimal]:
    last = max(history)
    mean = sum(history.values(), Decimal(0)) / len(history)
    weekdays: dict[int, list[Decimal]] = {}
    for day, cost in history.items():
        weekdays.setdefault(day.weekday(), []).append(cost)
    offsets = {
        weekday: (sum(costs, Decimal(0)) / len(costs) - mean) * len(costs) / (len(costs) + SHRINKAGE)
        for weekday, costs in weekdays.items()
    }
    weights = {day: _weight((last - day).days) for day in history}
    weighted = sum((weights[day] * (cost - offsets[day.weekday()]) for day, cost in history.items()), Decimal(0))
    level = weighted / sum(weights.values(), Decimal(0))
    return {day: max(Decimal(0), level + offsets.get(day.weekday(), Decimal(0))) for day in targets}


def _errors(reported: Mapping[date, Decimal], horizon: int) -> list[Decimal]:
    """Sorted errors (actual minus predicted) over `horizon` days, of the method run at each earlier day."""
    days = sorted(reported)
    errors = []
    for position in range(MIN_TRAINING_DAYS, len(days) - horizon + 1):
        targets = days[position : position + horizon]
        if (targets[-1] - targets[0]).days != horizon - 1:
            continue
        predicted = _predict({day: reported[day] for day in days[:position]}, targets)
        errors.append(sum((reported[day] - predicted[day] for day in targets), Decimal(0)))
    return sorted(errors)


@cache
def _weight(age: int) -> Decimal:
    return _ARITHMETIC.power(Decimal("0.5"), _ARITHMETIC.divide(Decimal(age), Decimal(HALF_LIFE_DAYS)))


def _by_day(lines: Iterable[DayCost]) -> dict[date, Decimal]:
    costs: dict[date, list[Decimal]] = {}
    for line in lines:
        costs.setdefault(line.day, []).append(line.amount)
    return {day: exact_sum(amounts) for day, amounts in sorted(costs.items())}
