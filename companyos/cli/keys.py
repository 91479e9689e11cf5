"""`companyos keys`: make, show and rotate signing keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos.cli.output import echo_json, json_option
from companyos.signing import KeyUnusableError, PrivateKey, PublicKey, rotate

if TYPE_CHECKING:
    from companyos.signing.keys import Algorithm

__all__ = ("keys",)


@click.group()
def keys() -> None:
    """Make, show and rotate signing keys."""


@keys.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("companyos.pem"),
    show_default=True,
    help="File of the private key; the public half goes beside it as .pub.",
)
@click.option("--algorithm", type=click.Choice(["ed25519", "ecdsa-p256"]), default="ed25519", show_default=True)
@json_option
def new(out: Path, algorithm: Algorithm, as_json: bool) -> None:
    """Make a new private key, readable by its owner only."""
    key = PrivateKey.generate(algorithm)
    try:
        key.save(out)
    except FileExistsError as error:
        raise KeyUnusableError(
            f"there is a file at {out} already", expected="a new file", hint=f"companyos keys rotate file:{out}"
        ) from error
    _show(key.public, f"file:{out}", as_json=as_json)


@keys.command()
@click.argument("uri")
@json_option
def show(uri: str, as_json: bool) -> None:
    """Show the public half of the key at URI (file:PATH or env:NAME)."""
    _show(PublicKey.load(uri), uri, as_json=as_json)


@keys.command("rotate")
@click.argument("uri")
@json_option
def rotate_key(uri: str, as_json: bool) -> None:
    """Replace the key at URI (file:PATH) by a new one of its kind; its public half is kept.

    The key of a ledger is rotated by `companyos ledger rotate-key`, which signs the log's head with both keys.
    """
    _refuse_ledger_key(uri)
    old, key = rotate(uri)
    click.echo(f"retired {old.key_id}; its public half stays beside the new key", err=True)
    click.echo("next: publish the new public key, and set not_after on the old one in the trust policy", err=True)
    _show(key.public, uri, as_json=as_json)


def _refuse_ledger_key(uri: str) -> None:
    from companyos.company import Company

    company = Company.open()
    if Path(uri.removeprefix("file:")).absolute() == Path(
        company.key_uri(company.settings.ledger.key).removeprefix("file:")
    ):
        raise KeyUnusableError(
            "this key signs a ledger, whose head would no longer verify", hint="companyos ledger rotate-key"
        )


def _show(key: PublicKey, uri: str, *, as_json: bool) -> None:
    if as_json:
        echo_json({"uri": uri, "algorithm": key.algorithm, "key_id": key.key_id, "public_key": key.pem})
        return
    click.echo(f"{key.algorithm}  {key.key_id}  {uri}")
    click.echo(key.pem, nl=False)
