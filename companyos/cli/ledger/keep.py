"""`companyos ledger rotate-key|erase|retain|sequence`: looking after a log."""

from __future__ import annotations

import json

import click

from companyos.cli.ledger.place import place_of, writer
from companyos.cli.options import ledger_url_option
from companyos.cli.output import echo_json, echo_table, json_option
from companyos.ledger.url import open_store

__all__ = ("erase", "migrate", "retain", "rotate_key", "sequence")


@click.command("rotate-key")
@ledger_url_option
def rotate_key(url: str | None) -> None:
    """Replace the log's key by a new one; the old one can sign nothing more, its checkpoints stay anchors."""
    with writer(url) as log:
        key = log.rotate_key()
        click.echo("next: publish the new verifier key, and end the old one in trust policies", err=True)
        click.echo(f"{log.verifier.vkey}")
        click.echo(f"key id {key.key_id}", err=True)


@click.command()
@ledger_url_option
def migrate(url: str | None) -> None:
    """Bring a log that an earlier companyos wrote up to date; entries, checkpoints and proofs stay as they are."""
    store = open_store(place_of(url).url, create=False)
    click.echo(json.dumps({"size": store.size()}))
    store.close()


@click.command()
@click.argument("person")
@click.option("--reason", required=True, help="Why, as it will stand in the log; no names in it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@ledger_url_option
def erase(url: str | None, person: str, reason: str, yes: bool) -> None:
    """Make every personal value of PERSON unreadable, for good, in the log and in every copy of it.

    PERSON is the id under which the values were appended. The entries stay, and every proof with them.
    """
    with writer(url) as log:
        if not yes:
            click.confirm("This cannot be undone. Go on?", abort=True, err=True)
        receipt = log.erase(person, reason=reason)
        click.echo(json.dumps({"id": receipt.id, "index": receipt.index}))


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what would be dropped, and drop nothing.")
@json_option
@ledger_url_option
def retain(url: str | None, dry_run: bool, as_json: bool) -> None:
    """Drop the payloads that have outlived their retention class; entries and proofs stay."""
    with writer(url) as log:
        found = log.retain(dry_run=dry_run)
    if as_json:
        echo_json({"dropped": not dry_run, "classes": found.to_dict()})
        return
    rows = [(name, count, f"{found.before[name]:%Y-%m-%d}") for name, count in found.payloads.items()]
    echo_table(("class", "would drop" if dry_run else "dropped", "appended before"), rows)


@click.command()
@ledger_url_option
def sequence(url: str | None) -> None:
    """Give entries that were appended inside other transactions their place now, where nothing else is appended."""
    with writer(url) as log:
        before = len(log)
        log.sequence()
        click.echo(json.dumps({"placed": len(log) - before, "size": len(log)}))
