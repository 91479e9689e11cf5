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
@json_option
def evaluate(
    *,
    subject: str | None,
    action: str | None,
    resource: str | None,
    environment: str | None,
    file: IO[str] | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Decide one access request and record the decision.

    Exits 0 if it is allowed, 1 if it is denied, 3 if it could not be decided. Without a companyos.yaml here or above,
    the built-in policies decide and nothing is recorded.
    """
    request = read_request(file, subject=subject, action=action, resource=resource, environment=environment)
    return echo_decision(_decide(request, dry_run=dry_run), as_json=as_json)


def _decide(request: Any, *, dry_run: bool) -> Decision:
    from companyos.company import Company

    found = config.find(Path.cwd())
    if found is not None and not dry_run:
        with Company.open(found) as company:
            return company.authorizer.authorize_dict(request, durable=True)
    from companyos.authz import evaluate as ask
    from companyos.authz import request_from_dict

    asked = request_from_dict(spelled_out(request))
    click.echo(f"# not recorded: {'--dry-run' if dry_run else 'no companyos.yaml here or above'}", err=True)
    with Company.open(found) as company:
        return ask(company.engine, asked)
