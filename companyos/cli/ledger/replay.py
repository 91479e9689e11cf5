"""`companyos ledger replay`: state computed from the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from companyos.cli.ledger.place import reader
from companyos.cli.ledger.show import progress_bar
from companyos.cli.options import ledger_url_option
from companyos.cli.output import echo_json, json_option
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from companyos.ledger import Projection

__all__ = ("replay",)


@click.command()
@click.option("--projection", "name", default="streams", show_default=True, help="What to compute, by name.")
@click.option("--until", type=click.IntRange(min=0), help="Stop before this index; default: the end of the log.")
@click.option("--db", "database_url", default="sqlite://", help="Keep the state here, and go on from there next time.")
@click.option("--reset", is_flag=True, help="Throw away what is kept there, and begin at the first entry.")
@json_option
@ledger_url_option
def replay(url: str | None, name: str, until: int | None, database_url: str, *, reset: bool, as_json: bool) -> None:
    """Apply every entry in order, each exactly once, and print the state with its digest.

    The digest of the state after so many entries is the same for everybody who replays them.
    """
    from companyos.ledger import Database

    kind = _projection(name)
    with reader(url) as log, Database.open(database_url) as database:
        projection = kind(database)
        if reset:
            projection.reset()
        with progress_bar(min(until or len(log), len(log)), "replaying") as progress:
            projection.follow(log.read, until=until, progress=progress)
        found = projection.snapshot()
    if as_json:
        echo_json({"projection": name, "entries": found.position, "digest": found.digest, "state": found.state})
        return
    click.echo(f"{name} after {found.position} entries: {found.digest}")
    echo_json(found.state)


def _projection(name: str) -> type[Projection]:
    from companyos.company import Company

    with Company.open() as company:
        known = company.plugins.projections()
    if name not in known:
        raise ConfigError(f"no projection {name!r}", expected=", ".join(sorted(known)))
    return known[name]
