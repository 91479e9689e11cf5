"""How commands show entries, receipts and progress."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from companyos.ports import Entry, Receipt

__all__ = ("entry_fields", "entry_line", "progress_bar", "receipt_line")


def entry_fields(entry: Entry) -> dict[str, Any]:
    """An entry as a JSON object."""
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


def entry_line(entry: Entry, *, as_json: bool) -> str:
    """An entry on one line."""
    if as_json:
        return json.dumps(entry_fields(entry), ensure_ascii=False)
    data = "(payload dropped)" if entry.data is None else json.dumps(entry.data, ensure_ascii=False)
    short = data if len(data) <= 100 else f"{data[:99]}…"
    return f"{entry.index}  {entry.time:%Y-%m-%dT%H:%M:%SZ}  {entry.type}  {entry.id}  {short}"


def receipt_line(receipt: Receipt) -> str:
    """A receipt as a JSON line."""
    shown = {"id": receipt.id, "index": receipt.index, "leaf_hash": receipt.leaf_hash.hex(), "size": receipt.size}
    return json.dumps(shown)


@contextmanager
def progress_bar(total: int, label: str) -> Iterator[Callable[[int], None] | None]:
    """Tells a person at a terminal how far long work is, with the time that is left; None where nobody looks."""
    if not total or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=total, label=label, file=sys.stderr) as bar:

        def show_size(size: int) -> None:
            bar.update(size - bar.pos)

        yield show_size
