"""`companyos ledger`: append to the log, look at it, verify it, and export proofs."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos import config
from companyos.cli.output import echo_json, json_option
from companyos.errors import UnverifiableError, UserError
from companyos.ledger import Ledger, LedgerDamagedError
from companyos.ledger.url import key_directory, open_store, store_path
from companyos.signing import Note, NoteVerifier, PublicKey, SignatureInvalidError, retired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from companyos.ports import Entry

__all__ = ("ledger",)

_DEFAULT_ORIGIN = "companyos.local/log"
_FIELDS = {"type", "data", "id", "source", "stream", "subject"}

url_option = click.option("--url", help="Store of the log; default: that of companyos.yaml.")
out_option = click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead of stdout."
)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a log and its key are."""

    url: str
    key: str
    origin: str | None
    configured: bool


@click.group()
def ledger() -> None:
    """Append to the log, look at it, verify it, export proofs."""


@ledger.command()
@click.option("--type", "kind", help="Dotted name of what happened.")
@click.option("--data", help="The payload, a JSON object.")
@click.option("--id", "entry_id", help="Unique within the source; the same again gives the same receipt.")
@click.option("--source", help="What produced it; default: the log.")
@click.option("--stream", help="The sequence it belongs to.")
@click.option("--subject", help="What it is about.")
@click.option("--jsonl", type=click.File("rb"), help="One entry a line from this file; - is stdin.")
@url_option
def append(url: str | None, jsonl: Any, **given: str | None) -> None:
    """Append one entry, or one a line; print a receipt for each, as a JSON line.

    A line of --jsonl is an object with type, data and, if wanted, id, source, stream and subject.
    """
    if (jsonl is None) == (given["kind"] is None):
        raise click.UsageError("give either --type (with --data) or --jsonl")
    lines = _lines(jsonl) if jsonl else iter([_single(given)])
    with _writer(url) as log:
        for values in lines:
            receipt = log.append(values.pop("type"), values.pop("data"), **values)
            line = {"id": receipt.id, "index": receipt.index, "leaf_hash": receipt.leaf_hash.hex()}
            click.echo(json.dumps(line))


@ledger.command()
@click.option("-n", "count", type=click.IntRange(min=0), default=10, show_default=True, help="How many entries.")
@json_option
@url_option
def tail(url: str | None, count: int, as_json: bool) -> None:
    """Show the newest entries, one a line."""
    with _reader(url) as log:
        for entry in log.read(max(0, len(log) - count)):
            click.echo(_line(entry, as_json=as_json))


@ledger.command()
@click.argument("index", type=click.IntRange(min=0))
@click.option("--reveal", is_flag=True, help="Decrypt personal values, with the keys at hand.")
@click.option("--raw", is_flag=True, help="Print the exact bytes that were logged, and no newline.")
@url_option
def show(url: str | None, index: int, reveal: bool, raw: bool) -> None:
    """Show one entry."""
    with _reader(url) as log:
        data = log.raw(index)
        entry = next(log.read(index, index + 1))
    if raw:
        _write(data, None)
        return
    if reveal:
        with _writer(url) as log:
            entry = log.reveal(entry)
    echo_json(_fields(entry))


@ledger.command()
@click.option("--against", type=click.Path(path_type=Path), help="An anchor: a checkpoint that was kept elsewhere.")
@click.option("--key", help="Public key: a file, a key URI or a verifier key; default: the one beside the log.")
@json_option
@url_option
def verify(url: str | None, against: Path | None, key: str | None, as_json: bool) -> int:
    """Check every entry, the tree and the signature; exit 1 on damage, 3 if it cannot be checked."""
    anchor = None if against is None else _file(against)
    try:
        with _reader(url, key) as log, _progress(len(log)) as progress:
            found = log.verify(against=anchor, progress=progress)
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


@ledger.command()
@click.argument("index", type=click.IntRange(min=0))
@out_option
@url_option
def prove(url: str | None, index: int, out: Path | None) -> None:
    """Export a proof that entry INDEX is in the log (a C2SP .tlog-proof)."""
    with _reader(url) as log:
        _write(log.prove(index).to_text().encode(), out)


@ledger.command()
@out_option
@click.option("--vkey", is_flag=True, help="Print the verifier key instead, for those who check.")
@url_option
def checkpoint(url: str | None, out: Path | None, vkey: bool) -> None:
    """Export the newest signed checkpoint, to be kept elsewhere as an anchor."""
    with _reader(url) as log:
        log.head()
        _write(f"{log.verifier.vkey}\n".encode() if vkey else log.checkpoint(), out)


@ledger.command("rotate-key")
@url_option
def rotate_key(url: str | None) -> None:
    """Replace the log's key by a new one; the old one can sign nothing more, its checkpoints stay anchors."""
    with _writer(url) as log:
        key = log.rotate_key()
        click.echo("next: publish the new verifier key, and end the old one in trust policies", err=True)
        click.echo(f"{log.verifier.vkey}")
        click.echo(f"key id {key.key_id}", err=True)


def _place(url: str | None) -> _Place:
    if url is not None:
        return _Place(url, f"file:{key_directory(url) / 'ledger.pem'}", None, configured=False)
    found = config.find(Path.cwd())
    settings, root = config.load(found), (found.parent if found else Path.cwd())
    section = settings.ledger
    scheme, separator, rest = section.url.partition(":///")
    where = f"{scheme}:///{root / rest}" if scheme == "sqlite" and separator else section.url
    kind, _, path = section.key.partition(":")
    key = f"file:{root / path}" if kind == "file" else section.key
    return _Place(where, key, section.origin or f"{settings.company.name}.companyos/log", configured=True)


@contextmanager
def _writer(url: str | None) -> Iterator[Ledger]:
    place = _place(url)
    if place.configured:
        from companyos.company import Company

        with Company.open() as company:
            yield company.ledger
        return
    origin = _stored_origin(place.url) if store_path(place.url).exists() else None
    with Ledger.open(place.url, origin=origin or _DEFAULT_ORIGIN) as log:
        yield log


@contextmanager
def _reader(url: str | None, key: str | None = None) -> Iterator[Ledger]:
    place = _place(url)
    # Taken from the log's own checkpoint, which counts only once the key below has verified it.
    stored = _stored_origin(place.url)
    name, public = (None, PublicKey.load(place.key)) if key is None else _given_key(key)
    origin = name or place.origin or stored or _DEFAULT_ORIGIN
    with Ledger.open_readonly(place.url, [public], past=retired(place.key), origin=origin) as log:
        yield log


def _stored_origin(url: str) -> str | None:
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
    text = _file(Path(key)).decode("utf-8", "replace") if Path(key).is_file() else key
    if "BEGIN" in text:
        return None, PublicKey.from_pem(text.encode())
    verifier = NoteVerifier.from_vkey(text)
    return verifier.name, verifier.key


def _single(given: dict[str, str | None]) -> dict[str, Any]:
    values = {"type": given["kind"], "data": _object(given["data"] or "{}", "--data")}
    optional = {"id": given["entry_id"], **{key: given[key] for key in ("source", "stream", "subject")}}
    return values | {key: value for key, value in optional.items() if value is not None}


def _lines(file: Any) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        values = _object(line, f"line {number}")
        unknown = sorted(set(values) - _FIELDS)
        if unknown or not {"type", "data"} <= set(values):
            raise UserError(
                f"line {number} is not an entry",
                got=f"unknown: {', '.join(unknown)}" if unknown else "no type or no data",
                expected=", ".join(sorted(_FIELDS)),
                hint="mend the line and run again with ids: entries with an id are not appended twice",
            )
        yield values


def _object(text: str | bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is not JSON", got=error, expected="a JSON object") from error
    if not isinstance(value, dict):
        raise UserError(f"{name} is not a JSON object", got=type(value).__name__)
    return value


def _fields(entry: Entry) -> dict[str, Any]:
    return {
        "index": entry.index,
        "id": entry.id,
        "source": entry.source,
        "type": entry.type,
        "time": entry.time.isoformat(),
        "stream": entry.stream,
        "subject": entry.subject,
        "data": entry.data,
    }


def _line(entry: Entry, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(_fields(entry), ensure_ascii=False)
    data = "(payload dropped)" if entry.data is None else json.dumps(entry.data, ensure_ascii=False)
    short = data if len(data) <= 100 else f"{data[:99]}…"
    return f"{entry.index}  {entry.time:%Y-%m-%dT%H:%M:%SZ}  {entry.type}  {entry.id}  {short}"


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None] | None]:
    if not total or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=total, label="verifying", file=sys.stderr) as bar:

        def show_size(size: int) -> None:
            bar.update(size - bar.pos)

        yield show_size


def _file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnverifiableError(f"cannot read {path}", got=error.strerror, expected="a readable file") from error


def _write(data: bytes, out: Path | None) -> None:
    if out is None:
        click.echo(data, nl=False)
        return
    try:
        out.write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot write {out}", got=error.strerror, hint="choose a writable directory") from error
