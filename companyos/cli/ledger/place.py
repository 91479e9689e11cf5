"""Which log a command works on, with which keys."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from companyos import config
from companyos.errors import UnverifiableError, UserError
from companyos.ledger import Ledger
from companyos.ledger.placement import CLOCK_TOLERANCE
from companyos.ledger.url import is_server, key_directory, open_store, store_path
from companyos.signing import Note, NoteVerifier, PublicKey, SignatureInvalidError, retired

if TYPE_CHECKING:
    from collections.abc import Iterator

    from companyos.ledger.witness import Witness

__all__ = (
    "Place",
    "log_keys",
    "out_option",
    "place_of",
    "read_file",
    "reader",
    "witnesses",
    "write_out",
    "writer",
)

_DEFAULT_ORIGIN = "companyos.local/log"

out_option = click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead of stdout."
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a log and its keys are."""

    url: str
    """Store of the log."""
    key: str
    """URI of its private key."""
    keystore: Path
    """Key store of the data subjects."""
    origin: str | None
    """Name of the log, if it is configured."""
    configured: bool
    """Whether all of this is what companyos.yaml says."""


@contextmanager
def writer(url: str | None, *, any_time: bool = False) -> Iterator[Ledger]:
    """The log, to append to; with `any_time`, whatever the clock shows."""
    place = place_of(url)
    if place.configured:
        from companyos.company import Company

        with Company.open() as company:
            if any_time:
                section = company.settings.ledger.model_copy(update={"clock_tolerance_seconds": None})
                company.settings = company.settings.model_copy(update={"ledger": section})
            yield company.ledger
        return
    origin = place.origin or _stored_origin(place.url) or _DEFAULT_ORIGIN
    tolerance = None if any_time else CLOCK_TOLERANCE
    with Ledger.open(
        place.url, origin=origin, key=place.key, keystore=place.keystore, clock_tolerance=tolerance
    ) as log:
        yield log


@contextmanager
def reader(url: str | None, key: str | None = None) -> Iterator[Ledger]:
    """The log, to read and verify with nothing but a public key."""
    place = place_of(url)
    # Taken from the log's own checkpoint, which counts only once the key below has verified it.
    stored = _stored_origin(place.url, must_exist=True)
    name, public = (None, PublicKey.load(place.key)) if key is None else _given_key(key)
    origin = name or place.origin or stored or _DEFAULT_ORIGIN
    with Ledger.open_readonly(place.url, [public], past=retired(place.key), origin=origin) as log:
        yield log


def log_keys(key: str, origin: str | None) -> tuple[NoteVerifier, ...]:
    """The public key of a log as the command line gives it; a key without a name is that of `origin`.

    Raises:
        UserError: it has no name, and nothing else tells it.
    """
    name, public = _given_key(key)
    if name is None and origin is None:
        raise UserError("this key does not say whose it is", got=key, expected="a verifier key: name+hash+base64")
    return (NoteVerifier(str(name or origin), public),)


def witnesses() -> list[Witness]:
    """The witnesses that companyos.yaml names."""
    from companyos.ledger.witness import Witness
    from companyos.signing.cosignature import CosignatureVerifier

    section = config.load(config.find(Path.cwd())).ledger
    return [Witness(one.url, CosignatureVerifier.from_vkey(one.key)) for one in section.witnesses]


def read_file(path: Path) -> bytes:
    """The bytes of a file that was named on the command line.

    Raises:
        UnverifiableError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnverifiableError(f"cannot read {path}", got=error.strerror, expected="a readable file") from error


def write_out(data: bytes, out: Path | None) -> None:
    """Write to the file given, else to stdout.

    Raises:
        UserError: it cannot be written.
    """
    if out is None:
        click.echo(data, nl=False)
        return
    try:
        out.write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot write {out}", got=error.strerror, hint="choose a writable directory") from error


def place_of(url: str | None) -> Place:
    """The log that a command names, or that of companyos.yaml."""
    if url is not None and not is_server(url):
        keys = key_directory(url)
        return Place(url, f"file:{keys / 'ledger.pem'}", keys / "people.db", None, configured=False)
    found = config.find(Path.cwd())
    settings, root = config.load(found), (found.parent if found else Path.cwd())
    section = settings.ledger
    where = section.url if url is None else url
    if not is_server(where):
        where = f"sqlite:///{root / store_path(where)}"
    kind, _, path = section.key.partition(":")
    key = f"file:{root / path}" if kind == "file" else section.key
    origin = section.origin or f"{settings.company.name}.companyos/log"
    return Place(where, key, root / section.keystore, origin, configured=url is None)


def _stored_origin(url: str, *, must_exist: bool = False) -> str | None:
    if not must_exist and not is_server(url) and not store_path(url).exists():
        return None
    store = open_store(url, create=False, readonly=True)
    try:
        note = store.head()
        return None if note is None else Note.parse(note).text.partition("\n")[0]
    except SignatureInvalidError:
        return None
    finally:
        store.close()


def _given_key(key: str) -> tuple[str | None, PublicKey]:
    if key.startswith(("file:", "env:")):
        return None, PublicKey.load(key)
    text = read_file(Path(key)).decode("utf-8", "replace") if Path(key).is_file() else key
    if "BEGIN" in text:
        return None, PublicKey.from_pem(text.encode())
    verifier = NoteVerifier.from_vkey(text)
    return verifier.name, verifier.key
