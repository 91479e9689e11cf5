"""`companyos ledger cosign|witness`: have the log's state remembered elsewhere, and remember that of others."""

from __future__ import annotations

import json
from pathlib import Path

import click

from companyos.cli.ledger.place import log_keys, witnesses, write_out, writer
from companyos.cli.ledger.place import out_option as note_option
from companyos.cli.options import ledger_url_option
from companyos.errors import UserError
from companyos.ledger.witness import Witness, WitnessServer, WitnessState
from companyos.signing import PrivateKey
from companyos.signing.cosignature import CosignatureVerifier, Cosigner

__all__ = ("cosign", "witness")


@click.command()
@click.argument("witness_url", required=False)
@click.option("--key", help="Verifier key of the witness at WITNESS_URL.")
@note_option
@ledger_url_option
def cosign(url: str | None, witness_url: str | None, key: str | None, out: Path | None) -> None:
    """Have the newest checkpoint cosigned by a witness, or by all that companyos.yaml names.

    The cosigned checkpoint is an anchor: keep it elsewhere, too.
    """
    if (witness_url is None) != (key is None):
        raise click.UsageError("WITNESS_URL and --key belong together")
    given = [Witness(witness_url, CosignatureVerifier.from_vkey(key))] if witness_url and key else witnesses()
    if not given:
        raise UserError("no witness to ask", hint="name one, with its --key, or list some as ledger.witnesses")
    with writer(url) as log:
        for one in given:
            done = log.cosign(one)
            click.echo(f"{one.verifier.name} cosigned {done.checkpoint.size} entries at {done.at:%FT%TZ}", err=True)
        write_out(log.cosigned() or b"", out)


@click.command()
@click.option("--name", required=True, help="Name of this witness, such as witness.example/w1.")
@click.option("--key", required=True, help="URI of its private key, made if it is a file that is not there.")
@click.option("--log", "logs", multiple=True, required=True, help="Public key of a log that it witnesses; repeatable.")
@click.option("--db", type=click.Path(path_type=Path, dir_okay=False), default="witness.db", show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=7380, show_default=True, help="0 for any that is free.")
def witness(name: str, key: str, logs: tuple[str, ...], db: Path, **listen: int | str) -> None:
    """Serve as a witness of other logs (C2SP tlog-witness), until interrupted.

    Run it where whoever runs the logs cannot write. It speaks plain HTTP: put a proxy with TLS before it.
    """
    cosigner = Cosigner.ed25519(name, PrivateKey.load_or_create(key))
    known = [verifier for log in logs for verifier in log_keys(log, None)]
    host, port = str(listen["host"]), int(listen["port"])
    server = WitnessServer(WitnessState(db, cosigner, known), host=host, port=port)
    click.echo(json.dumps({"url": server.url, "key": cosigner.verifier.vkey}))
    try:
        server.serve()
    except KeyboardInterrupt:
        pass
    finally:
        server.close()
