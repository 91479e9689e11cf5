"""Predictors, the calibrated interval, its back-test, and what a forecast makes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companyos.cli import main
from companyos.config import ForecastSetting, Settings
from companyos.errors import UserError
from companyos.finops import (
    Coverage,
    DayCost,
    Period,
    backtest,
    forecast_ahead,
    forecast_costs,
    forecast_period,
    gate,
    period_at,
)
from companyos.finops.forecasting import PREDICTORS, TOLERANCE, Forecaster, Predictors
from companyos.finops.samples import AS_OF, WORKLOADS, made_up_costs, sample_path

LEVEL = Decimal("0.8")
DEFAULTS = ForecastSetting()
FIRST = date(2024, 1, 1)
"""A Monday."""


def on(number):
    return FIRST + timedelta(days=number)


def taught(costs, *, names=PREDICTORS):
    predictors = Predictors(names)
    for day, cost in costs.items():
        predictors.learn(day, Decimal(cost))
    return predictors


def told(history, period, as_of, setting=DEFAULTS):
    """A forecast from all of `history` before `as_of`."""
    moment = datetime(as_of.year, as_of.month, as_of.day, tzinfo=UTC)
    days = [DayCost(day, "USD", cost, 1) for day, cost in history.items() if day < as_of]
    covered = Coverage("sha256:aa", ("sha256:bb",), len(days), None, moment, ("USD",))
    return forecast_costs(days, period=period, currency="USD", as_of=moment, coverage=covered, setting=setting)


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_interval_holds_as_often_as_it_says(name):
    """On every reference workload a week's interval holds within five points of nominal, and each end is fair."""
    test = backtest([made_up_costs(name, 730, seed=seed) for seed in (1, 2)], 7, level=LEVEL)

    assert test.trials > 900
    assert abs(test.coverage - LEVEL) <= TOLERANCE
    assert test.holds
    assert max(test.below, test.above) <= Decimal("0.1") + TOLERANCE


@pytest.mark.soak
@pytest.mark.parametrize("horizon", [1, 7, 30])
@pytest.mark.parametrize("name", WORKLOADS)
def test_at_every_horizon(name, horizon):
    """The same for a day, a week and a month; four times two and a half years of each workload."""
    test = backtest([made_up_costs(name, 913, seed=seed) for seed in range(3, 7)], horizon, level=LEVEL)

    assert test.holds, test.to_dict()


@pytest.mark.parametrize("name", ["steady", "weekend", "month_start", "month_end", "heavy_tails", "wild"])
def test_the_interval_is_no_wider_than_seasonal_naive_s(name):
    """Where there is something to learn, interval and error are smaller than those of the last week's costs."""
    test = backtest([made_up_costs(name, 500)], 7, level=LEVEL)

    assert test.relative_width < 1
    assert test.relative_error < 1


def test_too_little_history_is_not_called_calibrated():
    """A back-test without calibrated forecasts has no figures, and does not hold."""
    test = backtest([made_up_costs("steady", 90)], 7, level=LEVEL)

    assert (0, None, None, None) == (test.trials, test.coverage, test.width, test.holds)
    assert test.uncalibrated == 90 - 14 - 7 + 1
    assert None is test.to_dict()["coverage"]


def test_a_higher_level_needs_more_history():
    """At 95 % the ends lie farther out, and as many errors are not enough to find them."""
    history = made_up_costs("steady", 140)

    assert backtest([history], 7, level=LEVEL).trials > 0
    assert backtest([history], 7, level=Decimal("0.95")).trials == 0


def test_nothing_ahead_is_looked_at():
    """What a forecast of the past said does not change with what came after it."""
    history = made_up_costs("level_shift", 200)
    days = sorted(history)

    def said(known):
        forecaster = Forecaster(7, LEVEL)
        return [trial for day in known for trial in forecaster.learn(day, history[day])]

    whole = said(days)
    assert len(whole) > 150
    for cut in (60, 120, 180):
        part = said(days[:cut])
        assert part == whole[: len(part)]


def test_months_are_learnt_once_there_are_enough_of_them():
    """A purchase on every first is expected on the next one, and on no other day."""
    costs = {on(n): 500 if on(n).day == 1 else 20 for n in range(213)}

    expected = taught(costs).predict([date(2024, 8, 1), date(2024, 8, 2)])

    assert [500, 20] == [round(cost, -1) for cost in expected["monthly"]]
    assert expected["median"][0] == 20


def test_the_last_day_of_a_month_is_known_whatever_its_number():
    """A dear last day is expected on the 30th of September after the 31st of August and the 29th of February."""
    costs = {on(n): 200 if on(n + 1).day == 1 else 20 for n in range(244)}

    made = taught(costs).predict([date(2024, 9, 29), date(2024, 9, 30)])

    assert [20, 200] == [round(cost, -1) for cost in made["monthly"]]


def test_a_trend_is_carried_on():
    """Costs that rise by one a day are expected to do so for the week to come, which a level alone is not."""
    made = taught({on(n): 100 + n for n in range(120)}).predict([on(126)])

    assert abs(made["trend"][0] - 226) < 4
    assert made["weekday"][0] < 222


def test_a_credit_does_not_make_costs_negative_but_a_habit_does():
    """One credit leaves every prediction at zero or above; a source of credits is expected to go on."""
    once = taught({on(n): -5000 if n == 40 else 5 for n in range(45)})
    habit = taught({on(n): -5 for n in range(45)})

    assert all(cost >= 0 for costs in once.predict([on(45)]).values() for cost in costs)
    assert {Decimal(-5)} == {
        cost.quantize(Decimal("0.01")) for costs in habit.predict([on(45)]).values() for cost in costs
    }


def test_nothing_learnt_predicts_nothing():
    """There is no forecast out of nothing."""
    with pytest.raises(ValueError, match="no day has been learnt"):
        Predictors().predict([FIRST])


def test_a_long_history_has_a_calibrated_interval():
    """With four months the running week's interval is conformal; its upper end is what the gate uses."""
    history, monday = made_up_costs("weekend", 300), date(2023, 10, 2)
    week = Period("week", monday, monday + timedelta(days=7))

    forecast = told(history, week, monday + timedelta(days=2))

    assert ("conformal", True, 5) == (forecast.method, forecast.calibrated, forecast.open_days)
    assert forecast.lower < forecast.point < forecast.upper
    assert forecast.facts()["upper_bound"] == gate(Settings().finops.budgets[0], forecast).facts["upper_bound"]
    assert ("0.8", "0.9", True) == tuple(forecast.facts()[name] for name in ("level", "confidence", "calibrated"))
    assert 5 == len(forecast.expected)
    assert abs(forecast.spent + sum(cost.amount for cost in forecast.expected) - forecast.point) < Decimal("0.001")


def test_the_gate_blocks_on_the_upper_end():
    """A ceiling between point and upper end refuses; one above the end lets through."""
    history, monday = made_up_costs("wild", 300), date(2023, 10, 2)
    forecast = told(history, Period("week", monday, monday + timedelta(days=7)), monday)
    budget = Settings().finops.budgets[0].model_copy(update={"target": forecast.point, "ceiling": forecast.upper})

    assert "budget.within" == gate(budget, forecast).reason
    tighter = budget.model_copy(update={"ceiling": forecast.upper - Decimal("0.01")})
    assert "FINOPS-GATE.bound-over-ceiling" == gate(tighter, forecast).findings[0].rule


def test_the_level_is_a_setting():
    """A higher level reaches farther on both sides, and the point stays."""
    history, monday = made_up_costs("wild", 390), date(2024, 1, 15)
    week = Period("week", monday, monday + timedelta(days=7))
    low, high = (told(history, week, monday, ForecastSetting(level=Decimal(level))) for level in ("0.6", "0.95"))

    assert low.point == high.point
    assert high.lower < low.lower < low.upper < high.upper
    assert low.calibrated
    assert high.calibrated


@pytest.mark.parametrize("level", ["0.49", "0.99", "NaN", "x"])
def test_a_level_that_makes_no_sense_is_refused(level):
    """Half to 98 % is what can be calibrated in a year."""
    with pytest.raises(ValueError, match="level"):
        ForecastSetting(level=level)


def test_days_that_still_grow_are_not_taken_as_they_stand():
    """With `late_days` the newest days count for what is expected of them, if that is more."""
    monday = date(2023, 10, 2)
    history = dict.fromkeys((monday - timedelta(days=n) for n in range(60, 0, -1)), Decimal(30))
    history |= {monday: Decimal(30), monday + timedelta(days=1): Decimal(18), monday + timedelta(days=2): Decimal(3)}
    week, now = Period("week", monday, monday + timedelta(days=7)), monday + timedelta(days=3)

    plain, patient = told(history, week, now), told(history, week, now, ForecastSetting(late_days=2))

    assert plain.point < 200
    assert (Decimal(210), 6) == (patient.point, patient.open_days)


def test_a_month_is_forecast_with_its_purchase(tmp_path, focus_file, store):
    """From the store: the purchase on the first of next month is in the forecast of the next days."""
    rows = [
        {
            "ChargePeriodStart": f"{on(n)}T00:00:00Z",
            "ChargePeriodEnd": f"{on(n + 1)}T00:00:00Z",
            "BillingPeriodStart": f"{on(n).replace(day=1)}T00:00:00Z",
            "BillingPeriodEnd": f"{(on(n).replace(day=1) + timedelta(days=32)).replace(day=1)}T00:00:00Z",
            "BilledCost": "500" if on(n).day == 1 else "20",
        }
        for n in range(180)
    ]
    store.ingest(focus_file(*rows))
    now = datetime(2024, 6, 29, tzinfo=UTC)

    ahead = forecast_ahead(store, 7, "USD", now)
    month = forecast_period(store, "month", "USD", now)

    assert (Period("days", date(2024, 6, 29), date(2024, 7, 6)), "monthly") == (ahead.period, ahead.predictor)
    assert 600 < ahead.point < 640
    assert abs(month.point - (500 + 29 * 20)) < 1


@pytest.mark.parametrize("days", [0, 367])
def test_a_horizon_out_of_range_is_refused(store, days):
    """A day to a year."""
    with pytest.raises(UserError, match="horizon"):
        forecast_ahead(store, days, "USD", AS_OF)


def test_an_empty_store_forecasts_nothing(store):
    """Without data there is a period, and no figures."""
    made = forecast_ahead(store, 3, "USD", AS_OF)

    assert ("too_little_history", None, None) == (made.method, made.point, made.upper)
    assert made.period.start == AS_OF.date()


amounts = st.decimals(Decimal("-1e6"), Decimal("1e18"), places=2)


@settings(max_examples=40, deadline=None)
@given(costs=st.lists(st.one_of(st.none(), amounts), min_size=30, max_size=80), horizon=st.integers(1, 9))
def test_whatever_the_costs_the_point_lies_within_the_interval(costs, horizon):
    """Gaps, credits and amounts of any size never turn the interval inside out."""
    forecaster = Forecaster(horizon, LEVEL)
    known = {on(n): cost for n, cost in enumerate(costs) if cost is not None}
    for day, cost in known.items():
        forecaster.learn(day, cost)
    if not known:
        return
    made = forecaster.forecast([on(len(costs) + n) for n in range(horizon)])

    assert len(made.days) == horizon
    assert made.lower is None or made.upper is None or made.lower <= made.point <= made.upper


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run `companyos finops forecast` over the sample; gives status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    main(["finops", "ingest", str(sample_path()), "--store", "costs"])
    capsys.readouterr()

    def call(*arguments):
        status = main(["finops", "forecast", "--store", "costs", "--as-of", "2024-10-05", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_the_command_shows_budget_month_and_horizon(run):
    """A row for each, and a word on stderr that six weeks cannot calibrate a month."""
    status, out, err = run("--horizon", "10")

    assert 0 == status
    assert ["week from 2024-09-30", "month from 2024-10-01", "days from 2024-10-05"] == [
        line[11:].split("  ")[0] for line in out.splitlines()[1:]
    ]
    assert "empirical_quantile" in out
    assert "too little history to calibrate" in err


def test_a_back_test_of_little_history_knows_nothing(run):
    """The command says how many forecasts there were, and that nothing follows from them."""
    status, out, err = run("--backtest", "--horizon", "7")
    assert (0, True, True) == (status, "none of 20" in out, "too little history" in err)

    (made,) = json.loads(run("--backtest", "--horizon", "7", "--json")[1])
    assert ("USD", 20, None) == (made["costs"], made["uncalibrated"], made["holds"])


def test_the_reference_workloads_can_be_tested_anywhere(run, monkeypatch):
    """`--reference` prints a row for each; here of 130 days instead of two years."""
    monkeypatch.setattr("companyos.cli.finops_forecast.REFERENCE_DAYS", 130)

    status, out, _ = run("--reference", "--horizon", "1")

    assert 0 == status
    assert list(WORKLOADS) == [line.split()[0] for line in out.splitlines()[1:]]


def test_a_period_is_still_what_it_was():
    """Days ahead are no window that a moment lies in."""
    assert "week" == period_at("week", AS_OF).kind
    assert replace(period_at("day", AS_OF), kind="days").days == (AS_OF.date(),)
