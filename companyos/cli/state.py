"""`companyos state`: read, save, delete and verify the states of sessions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.output import echo_json, echo_table, json_option
from companyos.company import Company
from companyos.state import StateInvalidError, StateUnavailableError, open_cache

if TYPE_CHECKING:
    from companyos.state import StateRepository

__all__ = ("state",)

_expect = click.option("--expect", type=int, help="Only if the session has this version; 0: only if it has no state.")
_session = click.argument("session_id")


@click.group()
@click.option("--url", help="Database of the states; default: that of companyos.yaml.")
@click.option("--cache", help="Cache before it; default: that of companyos.yaml.")
@click.pass_context
def state(context: click.Context, url: str | None, cache: str | None) -> None:
    """Keep the states of sessions: durable, cached, checked."""
    company = context.with_resource(Company.open(Path.cwd()))
    given = {name: value for name, value in (("url", url), ("cache", cache)) if value is not None}
    section = company.settings.state.model_copy(update=given)
    company.settings = company.settings.model_copy(update={"state": section})
    context.obj = company


@state.command()
@_session
@click.option("--strong", is_flag=True, help="Ask the database, not the cache.")
@click.option("--payload", "only_payload", is_flag=True, help="Print the payload only.")
@click.pass_obj
def get(company: Company, session_id: str, strong: bool, only_payload: bool) -> int:
    """Print the state of SESSION_ID; exit 1 if there is none."""
    found = _there(company).get(session_id, consistency="strong" if strong else "cached")
    if found is None:
        click.echo(f"no state of session {session_id}", err=True)
        return 1
    echo_json(
        found.payload
        if only_payload
        else {
            "payload": found.payload,
            "version": found.version,
            "digest": found.digest,
            "source": found.source,
            "degraded": found.degraded,
        }
    )
    return 0


@state.command()
@_session
@click.option("--data", help="The payload, JSON; default, and -: from standard input.")
@_expect
@json_option
@click.pass_obj
def put(company: Company, session_id: str, data: str | None, expect: int | None, as_json: bool) -> None:
    """Save JSON as the state of SESSION_ID."""
    try:
        payload = json.loads(sys.stdin.read() if data in {None, "-"} else data)
    except (ValueError, RecursionError) as error:
        raise StateInvalidError("the payload is not JSON", got=error, expected="one JSON value") from error
    saved = company.state.save(session_id, payload, expected_version=expect)
    if as_json:
        echo_json({"version": saved.version, "digest": saved.digest})
    else:
        click.echo(f"version {saved.version}  {saved.digest}")


@state.command()
@_session
@_expect
@click.pass_obj
def delete(company: Company, session_id: str, expect: int | None) -> int:
    """Remove the state of SESSION_ID; exit 1 if there was none."""
    version = _there(company).delete(session_id, expected_version=expect)
    click.echo(f"no state of session {session_id}" if version is None else f"version {version}", err=version is None)
    return int(version is None)


@state.command()
@click.argument("session_id", required=False)
@json_option
@click.pass_obj
def verify(company: Company, session_id: str | None, *, as_json: bool) -> None:
    """Check the payload of SESSION_ID, or of every session, against the digest that was saved with it."""
    checked = _there(company).verify_integrity(session_id)
    if as_json:
        echo_json({"checked": checked})
    else:
        click.echo(f"{checked} checked, all as saved")


@state.command()
@json_option
@click.pass_obj
def stats(company: Company, as_json: bool) -> None:
    """Count the sessions, and say whether the cache answers."""
    repository = _there(company)
    found = {**repository.sizes(), "cache": "answers" if repository.cache_answers() else "does not answer"}
    if as_json:
        echo_json(found)
    else:
        echo_table(("what", "value"), list(found.items()))


def _there(company: Company) -> StateRepository:
    """The states, if there are any: of a file that is not there nothing can be said, and only `put` makes one."""
    url = company.settings.state.url
    if not company.is_there(url):
        open_cache(company.settings.state.cache)  # a wrong URL of the cache is said first
        path = company.database_url(url).partition(":///")[2]
        raise StateUnavailableError(
            f"there are no states at {path}", hint="check the URL; `companyos state put` makes a database"
        )
    return company.state
