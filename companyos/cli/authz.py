"""`companyos authz`: ask the policies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos import config
from companyos.cli.access_request import read_request, request_options, spelled_out
from companyos.cli.authz_decisions import decisions
from companyos.cli.authz_explain import explain
from companyos.cli.authz_test import test
from companyos.cli.isolated import deadline_option, engine_within, say_late
from companyos.cli.output import echo_decision, json_option

if TYPE_CHECKING:
    from typing import IO

    from companyos.decision import Decision

__all__ = ("authz",)


@click.group()
def authz() -> None:
    """Ask the policies who may do what."""


authz.add_command(decisions)
authz.add_command(explain)
authz.add_command(test)


@authz.command("eval")
@request_options
@click.option("--dry-run", is_flag=True, help="Ask the policies only; record nothing.")
@deadline_option
@json_option
def evaluate(
    *,
    subject: str | None,
    action: str | None,
    resource: str | None,
    environment: str | None,
    file: IO[str] | None,
    dry_run: bool,
    deadline: float,
    as_json: bool,
) -> int:
    """Decide one access request and record the decision.

    Exits 0 if it is allowed, 1 if it is denied, 3 if it could not be decided. Without a companyos.yaml here or above,
    the built-in policies decide and nothing is recorded. Policies that do not answer in time are ended.
    """
    from companyos.authz.interface import EngineTimeoutError
    from companyos.decision import Decision

    request = read_request(file, subject=subject, action=action, resource=resource, environment=environment)
    try:
        decision = _decide(request, dry_run=dry_run, deadline=deadline)
    except EngineTimeoutError as error:  # before anything could be asked, so that there is nothing to record
        decision = Decision.undetermined(error.reason, error.what)
    if decision.reason == EngineTimeoutError.reason:
        say_late(deadline)
    return echo_decision(decision, as_json=as_json)


def _decide(request: Any, *, dry_run: bool, deadline: float) -> Decision:
    from companyos.authz import evaluate as ask
    from companyos.authz import request_from_dict
    from companyos.company import Company

    found = config.find(Path.cwd())
    recorded = found is not None and not dry_run
    asked = request if recorded else request_from_dict(spelled_out(request))
    with Company.open(found) as company, engine_within(company, deadline) as engine:
        if recorded:
            return company.authorizer_for(engine).authorize_dict(request, durable=True)
        click.echo(f"# not recorded: {'--dry-run' if dry_run else 'no companyos.yaml here or above'}", err=True)
        return ask(engine, asked)
