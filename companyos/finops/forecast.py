"""What the running period will cost: a point forecast within an interval, from plain arithmetic.

The days that are not reported yet are forecast together, as `companyos.finops.forecasting` describes: the best of
five predictors, and around it an interval calibrated on the errors of the past. Its level is a setting; the upper end
is what the gate holds against a ceiling. `method` says what the interval is worth: `conformal` is calibrated;
`empirical_quantile` is the plain quantile of too few errors for that; `dearest_day` takes every open day at the
dearest, or cheapest, day known; with less than a week of history there is no forecast at all (`too_little_history`).

Everything is a pure function of its arguments; there is no clock in here. Days, weeks (Monday to Sunday) and months are
UTC.
"""

from __future__ import annotations

import decimal
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any, Literal

from companyos.config import ForecastSetting
from companyos.errors import UserError
from companyos.finops.forecasting.conformal import LEVEL, Forecaster
from companyos.finops.forecasting.predictors import ARITHMETIC
from companyos.finops.interface import DayCost
from companyos.finops.money import exact_sum, plain
from companyos.finops.rows import require_zone, stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from companyos.finops.forecasting.conformal import Interval
    from companyos.finops.interface import CostStore, Coverage

__all__ = (
    "Forecast",
    "Period",
    "PeriodKind",
    "forecast_ahead",
    "forecast_costs",
    "forecast_in",
    "forecast_period",
    "period_at",
)

PeriodKind = Literal["day", "week", "month"]
"""The windows that budgets are measured in."""

HISTORY_DAYS = 400
"""How far back the forecast looks before the period: a year of errors, and what the first of them rests on."""
MIN_HISTORY_DAYS = 7
"""With fewer reported days there is no forecast."""
MOST_DAYS = 366
"""The longest horizon."""
SETTING = ForecastSetting()
"""The defaults."""
MICRO = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Period:
    """One window of a budget, half-open, in UTC days."""

    kind: PeriodKind | Literal["days"]
    """Day, week or month; `days` are so many from the first that is not reported."""
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
    """The upper end of the interval, which the cost will hardly exceed; None when there is too little history."""
    method: str
    """How it was made: `all_reported`, `conformal`, `empirical_quantile`, `dearest_day`, `too_little_history`."""
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
    lower: Decimal | None = None
    """The lower end of the interval; None when there is too little history."""
    level: Decimal = LEVEL
    """How often the interval is to hold: each end is passed half as often as it fails."""
    predictor: str | None = None
    """Which predictor is believed; None when nothing had to be predicted."""
    expected: tuple[DayCost, ...] = ()
    """What each open day is expected to cost, or has cost already if that is more; `rows` is 0."""
    before_credits: Forecast | None = None
    """The same over what was charged before credits, refunds and other amounts below zero; None if not worked out."""

    @property
    def calibrated(self) -> bool:
        """Whether the interval holds about as often as its level says, or there is nothing left to be wrong about."""
        return self.method in {"conformal", "all_reported"}

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
            "level": str(self.level),
            "confidence": str((1 + self.level) / 2),
            "method": self.method,
            "calibrated": self.calibrated,
            "predictor": self.predictor,
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
            "lower_bound": None if self.lower is None else plain(self.lower),
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


def forecast_period(
    store: CostStore, kind: PeriodKind, currency: str, as_of: datetime, *, setting: ForecastSetting = SETTING
) -> Forecast:
    """The forecast for the period that `as_of` lies in, after and before credits, from what the store holds."""
    return forecast_in(store, period_at(kind, as_of), currency, as_of, setting=setting)


def forecast_ahead(
    store: CostStore, days: int, currency: str, as_of: datetime, *, setting: ForecastSetting = SETTING
) -> Forecast:
    """The forecast for `days` days from the first one that is not wholly reported.

    Raises:
        UserError: not 1 to 366 days, or `as_of` has no time zone.
    """
    if not 1 <= days <= MOST_DAYS:
        raise UserError("the horizon is out of range", got=days, expected=f"1 to {MOST_DAYS} days")
    coverage = store.coverage(until=require_zone(as_of, "as_of"))
    first = _first_open(as_of, coverage, setting) if coverage.data_through else as_of.astimezone(UTC).date()
    period = Period("days", first, first + timedelta(days=days))
    return forecast_in(store, period, currency, as_of, setting=setting)


def forecast_in(
    store: CostStore, period: Period, currency: str, as_of: datetime, *, setting: ForecastSetting = SETTING
) -> Forecast:
    """The same for any period, such as one that is over."""
    first, coverage = period.start - timedelta(days=HISTORY_DAYS), store.coverage(until=as_of)

    def made(days: Iterable[DayCost]) -> Forecast:
        return forecast_costs(days, period=period, currency=currency, as_of=as_of, coverage=coverage, setting=setting)

    # A credit lowers the bill once; the spending that it hides goes on.
    after = store.daily(first, period.end)
    before = store.daily(first, period.end, before_credits=True)
    forecast = made(after)
    return replace(forecast, before_credits=forecast if before == after else made(before))


def forecast_costs(
    days: Iterable[DayCost],
    *,
    period: Period,
    currency: str,
    as_of: datetime,
    coverage: Coverage,
    setting: ForecastSetting = SETTING,
) -> Forecast:
    """The forecast for `period` from daily costs.

    A day counts as reported when it has charges and lies wholly before both `as_of` and `coverage.data_through`, by
    `setting.late_days` at least. A day that is partly reported counts for what it has cost or for what is predicted,
    whichever is more.
    """
    require_zone(as_of, "as_of")
    lines = tuple(days)
    by_day = _by_day(line for line in lines if line.currency == currency)
    cut = _first_open(as_of, coverage, setting)
    reported = {day: cost for day, cost in by_day.items() if day < cut}
    open_days = [day for day in period.days if day not in reported]
    made = _outlook(reported, by_day, period, open_days, setting.level)
    return Forecast(
        period=period,
        currency=currency,
        as_of=as_of.astimezone(UTC),
        spent=exact_sum(cost for day, cost in by_day.items() if period.start <= day < period.end),
        point=made.point,
        upper=made.upper,
        method=made.method,
        history_days=len(reported),
        residuals=made.residuals,
        open_days=len(open_days),
        extract=coverage.digest,
        data_through=coverage.data_through,
        other_currencies=tuple(sorted({line.currency for line in lines} - {currency})),
        silent_sources=coverage.silent_sources,
        rows_rejected=coverage.rows_rejected,
        lower=made.lower,
        level=setting.level,
        predictor=made.predictor,
        expected=tuple(DayCost(day, currency, cost, 0) for day, cost in zip(open_days, made.days, strict=False)),
    )


def _first_open(as_of: datetime, coverage: Coverage, setting: ForecastSetting) -> date:
    """The first day that is not wholly reported; the earliest day there is when nothing is."""
    if coverage.data_through is None:
        return date.min
    return min(as_of, coverage.data_through).astimezone(UTC).date() - timedelta(days=setting.late_days)


@dataclass(frozen=True, slots=True)
class _Outlook:
    """The figures of a forecast, and how they were made."""

    method: str
    point: Decimal | None = None
    lower: Decimal | None = None
    upper: Decimal | None = None
    predictor: str | None = None
    residuals: int = 0
    days: tuple[Decimal, ...] = ()


def _outlook(
    reported: Mapping[date, Decimal],
    by_day: Mapping[date, Decimal],
    period: Period,
    open_days: Sequence[date],
    level: Decimal,
) -> _Outlook:
    known = exact_sum(reported[day] for day in period.days if day in reported)
    if not open_days:
        return _Outlook("all_reported", known, known, known)
    if len(reported) < MIN_HISTORY_DAYS:
        return _Outlook("too_little_history")
    forecaster = Forecaster(len(open_days), level)
    for day in sorted(reported):
        forecaster.learn(day, reported[day])
    made = forecaster.forecast(open_days)
    with decimal.localcontext(ARITHMETIC):
        expected = tuple(max(by_day.get(day, Decimal(0)), cost) for day, cost in zip(open_days, made.days, strict=True))
        point = known + sum(expected, Decimal(0))
        method, below, above = _margins(made, reported)
        return _Outlook(
            method=method,
            point=point.quantize(MICRO, ROUND_HALF_EVEN),
            lower=(point - below).quantize(MICRO, ROUND_HALF_EVEN),
            upper=(point + above).quantize(MICRO, ROUND_HALF_EVEN),
            predictor=made.predictor,
            residuals=made.errors,
            days=tuple(cost.quantize(MICRO, ROUND_HALF_EVEN) for cost in expected),
        )


def _margins(made: Interval, reported: Mapping[date, Decimal]) -> tuple[str, Decimal, Decimal]:
    """How the interval was made, and how far it reaches below and above what is expected."""
    if made.lower is not None and made.upper is not None:
        method = "conformal" if made.calibrated else "empirical_quantile"
        return method, made.point - made.lower, made.upper - made.point
    cheapest, dearest = min(reported.values()), max(reported.values())
    below = sum((max(Decimal(0), cost - cheapest) for cost in made.days), Decimal(0))
    above = sum((max(Decimal(0), dearest - cost) for cost in made.days), Decimal(0))
    return "dearest_day", below, above


def _by_day(lines: Iterable[DayCost]) -> dict[date, Decimal]:
    costs: dict[date, list[Decimal]] = {}
    for line in lines:
        costs.setdefault(line.day, []).append(line.amount)
    return {day: exact_sum(amounts) for day, amounts in sorted(costs.items())}
