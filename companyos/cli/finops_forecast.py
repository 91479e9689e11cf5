"""`companyos finops forecast`: what days to come will cost, and how well that was known in the past."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from companyos.cli.finops_setting import as_of_option, setting, store_option
from companyos.cli.output import echo_json, echo_table, json_option
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date, datetime
    from decimal import Decimal
    from pathlib import Path

    from companyos.cli.finops_setting import Setting
    from companyos.config import Budget
    from companyos.finops import Backtest, Forecast, SqliteCostStore

__all__ = ("forecast",)

HORIZONS = (1, 7, 30)
"""What a back-test looks ahead unless told otherwise: a day, a week, a month."""
REFERENCE_DAYS = 730
REFERENCE_SEEDS = (1, 2)
"""Each reference workload is made twice, two years long."""
HEADINGS = ("costs", "days", "trials", "nominal", "coverage", "below", "above", "width", "/naive", "error", "/naive")


@click.command()
@store_option
@as_of_option
@click.option("--horizon", type=click.IntRange(1, 366), help="Also for so many days, from the first not reported.")
@click.option("--backtest", "test", is_flag=True, help="Instead: how well the past would have been forecast.")
@click.option("--reference", is_flag=True, help="The same on made-up costs that are hard to forecast.")
@json_option
def forecast(
    *,
    store: Path | None,
    as_of: datetime,
    horizon: int | None,
    test: bool,
    reference: bool,
    as_json: bool,
) -> None:
    """Show what each budget's period, the week and the month will cost, within an interval.

    With --backtest, how often such intervals held when every day of the past is forecast from the days before it, and
    how wide they were; with --reference, the same on made-up costs, two years of each kind.
    """
    horizons = HORIZONS if horizon is None else (horizon,)
    with setting(store) as found:
        if reference:
            tests = list(_reference(horizons, found.forecast.level))
        elif test:
            with found.costs() as costs:
                tests = list(_tests(costs, as_of, horizons, found.forecast.level))
        else:
            with found.costs() as costs:
                made = list(_forecasts(found, costs, as_of, horizon))
            _echo_forecasts(made, as_json=as_json)
            return
    _echo_tests(tests, as_json=as_json)


def _forecasts(
    found: Setting, costs: SqliteCostStore, as_of: datetime, horizon: int | None
) -> Iterator[tuple[Budget | None, Forecast]]:
    """For each budget, then for the week and month of each currency that no budget is in, then for the horizon."""
    from companyos.finops import forecast_ahead, forecast_period

    for budget in found.budgets:
        yield budget, forecast_period(costs, budget.period, budget.currency, as_of, setting=found.forecast)
    covered = {(budget.period, budget.currency) for budget in found.budgets}
    currencies = costs.coverage(until=as_of).currencies
    for currency in currencies:
        for kind in ("week", "month"):
            if (kind, currency) not in covered:
                yield None, forecast_period(costs, kind, currency, as_of, setting=found.forecast)
    for currency in currencies if horizon else ():
        yield None, forecast_ahead(costs, horizon or 1, currency, as_of, setting=found.forecast)


def _echo_forecasts(made: Sequence[tuple[Budget | None, Forecast]], *, as_json: bool) -> None:
    if as_json:
        echo_json([{"budget": budget and budget.name} | one.facts() for budget, one in made])
        return
    headings = ("budget", "period", "currency", "spent", "forecast", "lower", "upper", "target", "ceiling", "interval")
    rows = [
        (
            budget.name if budget else "-",
            f"{one.period.kind} from {one.period.start}",
            one.currency,
            _cents(one.spent),
            _cents(one.point),
            _cents(one.lower),
            _cents(one.upper),
            _cents(budget.target) if budget else "-",
            _cents(budget.ceiling) if budget else "-",
            f"{one.level * 100:f} % {one.method}" if one.method == "conformal" else one.method,
        )
        for budget, one in made
    ]
    echo_table(headings, rows)
    if any(not one.calibrated for _, one in made):
        click.echo("too little history to calibrate every interval: see `interval` above, and --backtest", err=True)


def _tests(
    costs: SqliteCostStore, as_of: datetime, horizons: Sequence[int], level: Decimal
) -> Iterator[tuple[str, Backtest]]:
    from companyos.finops import backtest

    coverage = costs.coverage(until=as_of)
    if coverage.data_through is None:
        raise ConfigError("there is nothing to test on", got="no reported day", expected="a store with daily costs")
    end = min(as_of, coverage.data_through).date()
    histories: dict[str, dict[date, Decimal]] = {}
    for cost in costs.daily(None, end):
        histories.setdefault(cost.currency, {})[cost.day] = cost.amount
    for currency, history in histories.items():
        for horizon in horizons:
            yield currency, backtest([history], horizon, level=level)


def _reference(horizons: Sequence[int], level: Decimal) -> Iterator[tuple[str, Backtest]]:
    from companyos.finops import backtest
    from companyos.finops.samples import WORKLOADS, made_up_costs

    for name in WORKLOADS:
        histories: list[Mapping[date, Decimal]] = [
            made_up_costs(name, REFERENCE_DAYS, seed=seed) for seed in REFERENCE_SEEDS
        ]
        for horizon in horizons:
            yield name, backtest(histories, horizon, level=level)


def _echo_tests(tests: Sequence[tuple[str, Backtest]], *, as_json: bool) -> None:
    if as_json:
        echo_json([{"costs": name} | one.to_dict() for name, one in tests])
        return
    rows = [
        (
            name,
            one.horizon,
            one.trials or f"none of {one.uncalibrated}",
            *(_percent(share) for share in (one.level, one.coverage, one.below, one.above)),
            *(_cents(one.width), one.relative_width or "-", _cents(one.error), one.relative_error or "-"),
        )
        for name, one in tests
    ]
    echo_table(HEADINGS, rows)
    if any(one.trials == 0 for _, one in tests):
        click.echo("too little history: nothing says how often an interval holds there", err=True)


def _percent(share: Decimal | None) -> str:
    return "unknown" if share is None else f"{share * 100:.1f} %"


def _cents(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"{amount:,.2f}"
