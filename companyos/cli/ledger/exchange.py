"""`companyos ledger export|import`: the log as static tiles that any C2SP client reads, and back."""

from __future__ import annotations

from pathlib import Path

import click

from companyos.cli.ledger.place import log_keys, place_of, reader
from companyos.cli.ledger.show import progress_bar
from companyos.cli.options import ledger_url_option
from companyos.ledger import tilelog
from companyos.ledger.imports import load
from companyos.ledger.url import open_store

__all__ = ("export_log", "import_log")


@click.command("export")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@ledger_url_option
def export_log(url: str | None, directory: Path) -> None:
    """Write the log into DIRECTORY as static tiles (C2SP tlog-tiles), or bring what is there up to date.

    Any file server can serve it, and anyone with the public key can verify it without CompanyOS.
    """
    with reader(url) as log, progress_bar(len(log), "exporting") as progress:
        found = log.export(directory, progress=progress)
    click.echo(f"{found.origin}: {found.size} entries, root {found.root.hex()}")


@click.command("import")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--key", required=True, help="Public key of the log: a file, a key URI or a verifier key.")
@ledger_url_option
def import_log(url: str | None, directory: Path, key: str) -> None:
    """Take an exported log into a store that is empty or holds an earlier state of it.

    Every entry is verified first. With the log's private key beside it, the copy can be appended to.
    """
    claimed = tilelog.claimed(directory)
    verifiers = log_keys(key, claimed.origin)
    store = open_store(place_of(url).url)
    try:
        with progress_bar(claimed.size, "importing") as progress:
            found = load(directory, store, verifiers, progress=progress)
    finally:
        store.close()
    click.echo(f"{found.origin}: {found.size} entries, root {found.root.hex()}")
