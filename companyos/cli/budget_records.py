"""`companyos budget alerts`, `variance` and `purge`: what is told, what came of the plan, what may be forgotten."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.output import echo_decision, echo_json, echo_table, json_option, write_whole
from companyos.errors import FINDINGS

if TYPE_CHECKING:
    from datetime import date

    from companyos.company import Company
    from companyos.finops.budgets import DayVariance, History

__all__ = ("alerts", "purge", "variance")

_Day = click.DateTime(["%Y-%m-%d"])


@click.command()
@json_option
@click.pass_obj
def alerts(company: Company, as_json: bool) -> int:
    """Tell what is to be told, and again what did not arrive. Exits 1 when a channel failed; run it by the hour."""
    told = company.budget.alerts()
    failed = [one for one in told if not one.delivered]
    if as_json:
        echo_json([one.to_dict() for one in told])
    elif told:
        rows = [
            ("told" if one.delivered else "FAILED", one.route, f"{one.text}{f' ({one.detail})' if one.detail else ''}")
            for one in told
        ]
        echo_table(("", "channel", "alert"), rows)
    else:
        click.echo("nothing to tell", err=True)
    return FINDINGS if failed else 0


@click.command()
@click.option("--from", "start", type=_Day, help="First local date.")
@click.option("--to", "end", type=_Day, help="The local date after the last.")
@click.option("--tolerance", type=click.FloatRange(0), default=5.0, show_default=True, help="Percent of the plan.")
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the budget report, and beside it, as .runs.csv, the settlements it adds up.",
)
@json_option
@click.pass_obj
def variance(
    company: Company,
    *,
    start: datetime | None,
    end: datetime | None,
    tolerance: float,
    csv_path: Path | None,
    as_json: bool,
) -> int:
    """Hold what was settled against what was planned, by day and phase. Exits 1 when a day is too far off."""
    from companyos.finops.budgets import BudgetPolicy, assess_variance, report_csv, runs_csv, variances

    policy = BudgetPolicy.load(company.root / company.settings.finops.budget_policy)
    history = _history(company)
    days = variances(policy, history, datetime.now(UTC).timestamp(), start=_date(start), end=_date(end))
    if csv_path is not None:
        csv_path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(csv_path, report_csv(days))
        write_whole(csv_path.with_suffix(".runs.csv"), runs_csv(policy, history))
        click.echo(f"written {csv_path} and {csv_path.with_suffix('.runs.csv').name}", err=True)
    decision = assess_variance(days, Decimal(repr(tolerance)))
    if not as_json and days:
        headings = ("date", "phase", "currency", "planned", "plan", "settled", "variance", "month", "month's cap")
        echo_table(headings, [_row(one) for one in days])
    return echo_decision(decision, as_json=as_json)


@click.command()
@click.option("--before", type=_Day, required=True, help="Windows must have ended by 00:00 UTC of this date.")
@click.option("--apply", "really", is_flag=True, help="Really remove; without it, only say what would be removed.")
@json_option
@click.pass_obj
def purge(company: Company, before: datetime, really: bool, as_json: bool) -> None:
    """Forget old reservations in the store: those that are over, in windows that are past. The ledger keeps them."""
    found = company.budget.purge(before.replace(tzinfo=UTC), dry_run=not really)
    count = sum(found.removed.values())
    if as_json:
        echo_json({"applied": really, "removed": found.removed, "kept": found.kept})
        return
    parts = ", ".join(f"{number} {status}" for status, number in sorted(found.removed.items()))
    click.echo(f"{'removed' if really else 'would remove'} {count} reservations{f' ({parts})' if parts else ''}")
    click.echo(f"  {found.kept} are over and stay: a window of theirs is not past, or never ends")
    if count and not really:
        click.echo("  next: the same with --apply", err=True)


def _history(company: Company) -> History:
    from companyos.finops.budgets import SOURCE, read_history

    return read_history(company.ledger.read(), SOURCE)


def _date(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


def _row(one: DayVariance) -> tuple[object, ...]:
    return (
        one.day,
        "-" if one.phase is None else one.phase,
        one.currency,
        f"{one.planned:,.2f}",
        one.plan,
        f"{one.settled:,.2f}",
        ("running" if not one.judged else "-" if one.percent is None else f"{one.percent:+} %"),
        f"{one.month:,.2f}",
        "-" if one.monthly_cap is None else f"{one.monthly_cap:,.2f}",
    )
