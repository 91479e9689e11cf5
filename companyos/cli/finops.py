"""`companyos finops`: bring in bills, report and forecast costs, judge them by the budgets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.finops_advise import advise
from companyos.cli.finops_allocate import allocate
from companyos.cli.finops_anomalies import anomalies
from companyos.cli.finops_bills import ingest, report, validate
from companyos.cli.finops_check import check
from companyos.cli.finops_digest import digest
from companyos.cli.finops_export import export_llm
from companyos.cli.finops_forecast import forecast
from companyos.cli.finops_reconcile import reconcile
from companyos.cli.finops_setting import as_of_option, setting, store_option
from companyos.cli.output import echo_decision, echo_json, json_option

if TYPE_CHECKING:
    from datetime import datetime

    from companyos.finops import RemediationPlan

__all__ = ("finops",)


_plan_option = click.option(
    "--plan", "plan_path", type=click.Path(path_type=Path), help="Remediation plan: YAML with owner, actions, due."
)


@click.group()
def finops() -> None:
    """Bring in bills (FOCUS), report and forecast costs, and judge them by the budgets."""


finops.add_command(advise)
finops.add_command(allocate)
finops.add_command(check)
finops.add_command(export_llm)
finops.add_command(ingest)
finops.add_command(validate)
finops.add_command(report)
finops.add_command(digest)
finops.add_command(forecast)
finops.add_command(reconcile)
finops.add_command(anomalies)


@finops.command()
@store_option
@as_of_option
@_plan_option
@json_option
def gate(store: Path | None, as_of: datetime, plan_path: Path | None, as_json: bool) -> int:
    """Judge costs by every budget. Exits 0 within, 1 over, 3 when it could not be judged."""
    from companyos.finops import judge

    plan = _plan(plan_path)
    with setting(store) as found, found.costs() as costs:
        ledger = found.ledger()
        if ledger is None:
            click.echo("no companyos.yaml here or above: default budgets, and this decision is not recorded", err=True)
        decision = judge(
            found.budgets, costs, as_of=as_of, remediation_plan=plan, setting=found.forecast, ledger=ledger
        )
        return echo_decision(decision, as_json=as_json)


@finops.command()
@store_option
@as_of_option
@_plan_option
@json_option
def notes(store: Path | None, as_of: datetime, plan_path: Path | None, as_json: bool) -> None:
    """Print the Cost Notes section for a pull request."""
    from companyos.finops import cost_note

    plan = _plan(plan_path)
    with setting(store) as found, found.costs() as costs:
        note = cost_note(costs, found.budgets, as_of=as_of, remediation_plan=plan, setting=found.forecast)
    if as_json:
        echo_json(note.to_dict())
    else:
        click.echo(note.to_markdown(), nl=False)


def _plan(path: Path | None) -> RemediationPlan | None:
    from companyos.finops import RemediationPlan

    return None if path is None else RemediationPlan.load(path)
