"""`companyos authz`: ask the policies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos import config
from companyos.cli.authz_decisions import decisions
from companyos.cli.output import echo_decision, json_option
from companyos.errors import UserError

if TYPE_CHECKING:
    from typing import IO

    from companyos.decision import Decision

__all__ = ("authz",)


@click.group()
def authz() -> None:
    """Ask the policies who may do what."""


authz.add_command(decisions)


@authz.command("eval")
@click.option("--subject", metavar="JSON", help="Who asks: id, type, attributes.")
@click.option("--action", metavar="NAME", help="What is to be done.")
@click.option("--resource", metavar="JSON", help="To what: id, type, region, contains_pii, ...")
@click.option("--environment", metavar="JSON", help="Where and how: ip, auth_strength, approval_ticket, ...")
@click.option(
    "--request", "file", type=click.File(encoding="utf-8"), help="A whole request from a file, or - for stdin."
)
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
    parts = {"subject": subject, "action": action, "resource": resource, "environment": environment}
    request = _from_options(parts) if file is None else _from_file(file, parts)
    return echo_decision(_decide(request, dry_run=dry_run), as_json=as_json)


def _decide(request: Any, *, dry_run: bool) -> Decision:
    from companyos.company import Company

    found = config.find(Path.cwd())
    if found is not None and not dry_run:
        with Company.open(found) as company:
            return company.authorizer.authorize_dict(request, durable=True)
    click.echo(f"# not recorded: {'--dry-run' if dry_run else 'no companyos.yaml here or above'}", err=True)
    from companyos.authz import evaluate as ask
    from companyos.authz import request_from_dict

    with Company.open(found) as company:
        return ask(company.engine, request_from_dict(request))


def _from_options(parts: dict[str, str | None]) -> dict[str, Any]:
    missing = [f"--{name}" for name in ("subject", "action", "resource") if parts[name] is None]
    if missing:
        raise click.UsageError(f"missing {', '.join(missing)} (or --request FILE)")
    given = {name: value for name, value in parts.items() if value is not None}
    return {name: value if name == "action" else _json(value, f"--{name}") for name, value in given.items()}


def _from_file(file: IO[str], parts: dict[str, str | None]) -> Any:
    both = [f"--{name}" for name, value in parts.items() if value is not None]
    if both:
        raise click.UsageError(f"--request already holds what {', '.join(both)} would say")
    try:
        text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("the request cannot be read", got=error, expected="a readable UTF-8 file") from error
    return _json(text, "--request")


def _json(text: str, option: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{option} is not JSON", got=error, hint='for example \'{"id": "u-1", "type": "user"}\''
        ) from error
