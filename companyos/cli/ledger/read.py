"""`companyos ledger tail|show|verify|prove|checkpoint`: what anyone may do who has the store and the public key."""

from __future__ import annotations

import time
from pathlib import Path

import click

from companyos.cli.ledger.place import out_option, read_file, reader, witnesses, write_out, writer
from companyos.cli.ledger.show import entry_fields, entry_line, progress_bar
from companyos.cli.options import ledger_url_option
from companyos.cli.output import echo_json, json_option
from companyos.errors import UserError
from companyos.ledger import LedgerDamagedError
from companyos.ledger.witness import Witness
from companyos.signing.cosignature import CosignatureVerifier

__all__ = ("checkpoint", "prove", "show", "tail", "verify")


@click.command()
@click.option("-n", "count", type=click.IntRange(min=0), default=10, show_default=True, help="How many entries.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is appended, until interrupted.")
@json_option
@ledger_url_option
def tail(url: str | None, count: int, follow: bool, as_json: bool) -> None:
    """Show the newest entries, one a line."""
    with reader(url) as log:
        place = max(0, len(log) - count)
        while True:
            for entry in log.read(place):
                click.echo(entry_line(entry, as_json=as_json))
                place = entry.index + 1
            if not follow:
                return
            time.sleep(0.2)


@click.command()
@click.argument("index", type=click.IntRange(min=0))
@click.option("--reveal", is_flag=True, help="Decrypt personal values, with the keys at hand.")
@click.option("--raw", is_flag=True, help="Print the exact bytes that were logged, and no newline.")
@ledger_url_option
def show(url: str | None, index: int, reveal: bool, raw: bool) -> None:
    """Show one entry."""
    with reader(url) as log:
        data = log.raw(index)
        entry = next(log.read(index, index + 1))
    if raw:
        write_out(data, None)
        return
    if reveal:
        with writer(url) as log:
            entry = log.reveal(entry)
    echo_json(entry_fields(entry))


@click.command()
@click.option("--against", type=click.Path(path_type=Path), help="An anchor: a checkpoint that was kept elsewhere.")
@click.option("--witness", "witness_url", help="An anchor: the URL of a witness that has cosigned the log before.")
@click.option("--witness-key", help="Verifier key of that witness; default: as companyos.yaml says.")
@click.option("--key", help="Public key: a file, a key URI or a verifier key; default: the one beside the log.")
@click.option("--deep", is_flag=True, help="Also check each entry's canonical form and the columns beside it.")
@json_option
@ledger_url_option
def verify(
    url: str | None, against: Path | None, key: str | None, *, deep: bool, as_json: bool, **by: str | None
) -> int:
    """Check every entry, the tree and the signature; exit 1 on damage, 3 if it cannot be checked."""
    anchor = None if against is None else read_file(against)
    try:
        witness = _witness(by["witness_url"], by["witness_key"])
        with reader(url, key) as log, progress_bar(len(log), "verifying") as progress:
            found = log.verify(against=anchor, witness=witness, deep=deep, progress=progress)
    except LedgerDamagedError as error:
        if as_json:
            echo_json({"ok": False, "index": error.index} | error.to_dict())
        else:
            click.echo(f"{click.style('DAMAGED', fg='red')}  {error.code}  {error.message}")
        return error.exit_status
    if as_json:
        echo_json({"ok": True} | found.to_dict())
        return 0
    click.echo(f"{click.style('OK', fg='green')}  {found}")
    return 0


def _witness(url: str | None, key: str | None) -> Witness | None:
    if url is None:
        return None
    if key is not None:
        return Witness(url, CosignatureVerifier.from_vkey(key))
    named = [witness for witness in witnesses() if witness.url == url]
    if not named:
        raise UserError("whose key is it?", got=url, expected="--witness-key, or the witness in ledger.witnesses")
    return named[0]


@click.command()
@click.argument("index", type=click.IntRange(min=0))
@click.option("--cosigned", is_flag=True, help="Lead to the newest checkpoint that witnesses cosigned.")
@click.option("--consistency", is_flag=True, help="Prove instead that the log only grew since it had INDEX entries.")
@out_option
@ledger_url_option
def prove(url: str | None, index: int, out: Path | None, *, cosigned: bool, consistency: bool) -> None:
    """Export a proof that entry INDEX is in the log (a C2SP .tlog-proof)."""
    with reader(url) as log:
        note = log.cosigned() if cosigned else None
        if cosigned and note is None:
            raise UserError("no witness has cosigned this log", hint="companyos ledger cosign")
        make = log.prove_consistency if consistency else log.prove
        write_out(make(index, checkpoint=note).to_text().encode(), out)


@click.command()
@out_option
@click.option("--vkey", is_flag=True, help="Print the verifier key instead, for those who check.")
@ledger_url_option
def checkpoint(url: str | None, out: Path | None, vkey: bool) -> None:
    """Export the newest signed checkpoint, to be kept elsewhere as an anchor."""
    with reader(url) as log:
        log.head()
        write_out(f"{log.verifier.vkey}\n".encode() if vkey else log.checkpoint(), out)
