"""`companyos serve`: the company's servers, and the API keys of those who call them."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.output import echo_json, echo_table, json_option
from companyos.errors import UserError

if TYPE_CHECKING:
    from companyos.company import Company
    from companyos.server import ApiKeyRecord

__all__ = ("serve",)


@click.group(invoke_without_command=True)
@click.option("--pdp", is_flag=True, help="The policy decision point (OpenID AuthZEN).")
@click.option("--host", help="Address to listen on; default: server.host of the settings.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 for any that is free.")
@click.option("--config", "place", type=click.Path(path_type=Path), help="A companyos.yaml, or a directory with one.")
@click.option("--insecure-no-auth", is_flag=True, help="Let anyone ask; on the loopback address only.")
@click.pass_context
def serve(
    context: click.Context, *, pdp: bool, host: str | None, port: int | None, place: Path | None, insecure_no_auth: bool
) -> None:
    """Serve decisions over HTTP, until SIGTERM or Ctrl-C.

    SIGHUP reads the policies and API keys again at once; they are also looked at every few seconds. What is under way
    is finished first, whether policies change or the server ends.
    """
    context.obj = place
    if context.invoked_subcommand is not None:
        return
    if not pdp:
        raise click.UsageError("say what to serve: --pdp")
    from companyos.server import serve as run

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    with _company(place) as company:
        run(company, host=host, port=port, insecure_no_auth=insecure_no_auth, listening=_say)


@serve.command("new-key")
@click.argument("name")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="How long it counts.")
@click.pass_obj
def new_key(place: Path | None, name: str, days: int) -> None:
    """Make an API key for the caller NAME and print it, once: only a salted hash of it is kept.

    The record goes into the file that `server.api_keys` names. A server that runs takes it up by itself.
    """
    from companyos.server import add_key

    click.echo(add_key(_key_file(place), name, expires=datetime.now(UTC) + timedelta(days=days)))


@serve.command("list-keys")
@json_option
@click.pass_obj
def list_keys(place: Path | None, *, as_json: bool) -> None:
    """List the API keys: id, whose it is, until when it counts. Secrets are kept nowhere and cannot be shown."""
    from companyos.server import list_keys as listed

    now = datetime.now(UTC)
    rows = [(record.id, record.name, record.expires, _standing(record, now)) for record in listed(_key_file(place))]
    if as_json:
        echo_json([{"id": id_, "name": name, "expires": end, "state": state} for id_, name, end, state in rows])
        return
    echo_table(
        ("id", "name", "expires", "state"), [(id_, name, end or "never", state) for id_, name, end, state in rows]
    )


@serve.command("revoke-key")
@click.argument("which", metavar="ID_OR_NAME")
@click.pass_obj
def revoke_key(place: Path | None, which: str) -> None:
    """Take an API key out of the file, or every key of a caller. A server that runs refuses it within seconds."""
    from companyos.server import revoke_keys

    for record in revoke_keys(_key_file(place), which):
        click.echo(f"revoked {record.id} of {record.name}")


def _key_file(place: Path | None) -> Path:
    with _company(place) as company:
        path = company.settings.server.api_keys
        if path is None:
            raise UserError("server.api_keys names no file", hint="add `server: {api_keys: pdp-keys.yaml}`")
        return company.root / path


def _standing(record: ApiKeyRecord, now: datetime) -> str:
    if record.not_before is not None and now < record.not_before:
        return "not yet"
    return "expired" if record.expires is not None and now >= record.expires else "counts"


def _company(place: Path | None) -> Company:
    from companyos.company import Company

    return Company.open(place)


def _say(url: str) -> None:
    click.echo(f"serving decisions on {url}")
    sys.stdout.flush()
