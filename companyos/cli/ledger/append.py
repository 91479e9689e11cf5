"""`companyos ledger append`: one entry, or one a line."""

from __future__ import annotations

import json
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING, Any

import click

from companyos.cli.ledger.place import writer
from companyos.cli.ledger.show import receipt_line
from companyos.cli.options import ledger_url_option
from companyos.errors import UserError
from companyos.ledger import Draft, EntryInvalidError, EntryRefusedError, IdReusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from companyos.ledger import Ledger
    from companyos.ports import Receipt

__all__ = ("append",)

_FIELDS = ("type", "data", "id", "source", "stream", "subject", "retention")
_TOGETHER = 1000
"""Most lines that share a commit."""


@click.command()
@click.option("--type", "kind", help="Dotted name of what happened.")
@click.option("--data", help="The payload, a JSON object.")
@click.option("--id", "entry_id", help="Unique within the source; the same again gives the same receipt.")
@click.option("--source", help="What produced it; default: the log.")
@click.option("--stream", help="The sequence it belongs to.")
@click.option("--subject", help="What it is about.")
@click.option("--retention", help="Keep the payload beside the log, for as long as this class says.")
@click.option("--jsonl", type=click.File("rb"), help="One entry a line from this file; - is stdin.")
@click.option("--accept-clock", is_flag=True, help="Append even if the clock went back, because it is right now.")
@ledger_url_option
def append(url: str | None, jsonl: Any, accept_clock: bool, **given: str | None) -> None:
    """Append one entry, or one a line; print a receipt for each, as a JSON line.

    A line of --jsonl is an object with type, data and, if wanted, id, source, stream, subject and retention.
    """
    if (jsonl is None) == (given["kind"] is None):
        raise click.UsageError("give either --type (with --data) or --jsonl")
    drafts = _as_they_come(_lines(jsonl)) if jsonl else iter([[_single(given)]])
    with writer(url, any_time=accept_clock) as log:
        for some in drafts:
            for receipt in _receipts(log, some):
                click.echo(receipt_line(receipt))


def _receipts(log: Ledger, drafts: list[Draft]) -> Iterator[Receipt]:
    """Receipts in order; what comes before a line that is refused is appended."""
    try:
        yield from log.append_many(drafts)
    except (EntryInvalidError, EntryRefusedError, IdReusedError):
        for draft in drafts:
            yield from log.append_many([draft])


def _as_they_come(drafts: Iterator[Draft]) -> Iterator[list[Draft]]:
    """Lines in groups: one at once if it comes alone, all that wait if they come faster than they are appended."""
    queue: Queue[Draft | BaseException | None] = Queue(maxsize=_TOGETHER)

    def read() -> None:
        try:
            for draft in drafts:
                queue.put(draft)
            queue.put(None)
        except BaseException as error:  # noqa: BLE001 - raised where the lines are used
            queue.put(error)

    Thread(target=read, daemon=True).start()
    while True:
        taken: list[Draft] = []
        item = queue.get()
        while isinstance(item, Draft):
            taken.append(item)
            if len(taken) == _TOGETHER or queue.empty():
                break
            item = queue.get()
        if taken:
            yield taken
        if isinstance(item, BaseException):
            raise item
        if item is None:
            return


def _single(given: dict[str, str | None]) -> Draft:
    optional = {"id": given["entry_id"], **{key: given[key] for key in _FIELDS[3:]}}
    return Draft(str(given["kind"]), _object(given["data"] or "{}", "--data"), **optional)  # type: ignore[arg-type]


def _lines(file: Any) -> Iterator[Draft]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        values = _object(line, f"line {number}")
        unknown = sorted(set(values) - set(_FIELDS))
        if unknown or not {"type", "data"} <= set(values):
            raise UserError(
                f"line {number} is not an entry",
                got=f"unknown: {', '.join(unknown)}" if unknown else "no type or no data",
                expected=", ".join(_FIELDS),
                hint="mend the line and run again with ids: entries with an id are not appended twice",
            )
        yield Draft(**values)


def _object(text: str | bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is not JSON", got=error, expected="a JSON object") from error
    if not isinstance(value, dict):
        raise UserError(f"{name} is not a JSON object", got=type(value).__name__)
    return value
