"""`companyos ledger`: append to the log, look at it, verify it, look after it, and hand it to others."""

from __future__ import annotations

import click

from companyos.cli.ledger import append, exchange, keep, read, replay, witness

__all__ = ("ledger",)


@click.group()
def ledger() -> None:
    """Append to the log, look at it, verify it, export proofs."""


for command in (
    append.append,
    read.tail,
    read.show,
    read.verify,
    read.prove,
    read.checkpoint,
    replay.replay,
    exchange.export_log,
    exchange.import_log,
    witness.cosign,
    witness.witness,
    keep.rotate_key,
    keep.migrate,
    keep.erase,
    keep.retain,
    keep.sequence,
):
    ledger.add_command(command)
