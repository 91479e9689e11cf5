"""`companyos authz decisions`: what was decided, as a table for people and as events for tools."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos.cli.options import ledger_url_option
from companyos.cli.output import echo_json, echo_table, json_option
from companyos.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from companyos.ledger import Ledger
    from companyos.ports import Entry

__all__ = ("decisions",)

_HEADINGS = ("INDEX", "TIME", "DECISION", "REASON", "ACTOR", "ACTION", "TARGET", "OBLIGATIONS")
_SHOWN = 40
"""Longest cell of the table, in characters."""


@click.group()
def decisions() -> None:
    """Look at the decisions on the ledger, and export them."""


@decisions.command("list")
@click.option("-n", "count", type=click.IntRange(min=1), default=20, show_default=True, help="How many decisions.")
@click.option("--verdict", type=click.Choice(["allow", "deny", "undetermined"]), help="Of this verdict only.")
@click.option("--reveal", is_flag=True, help="Decrypt who and what it was, with the keys at hand.")
@json_option
@ledger_url_option
def list_decisions(url: str | None, count: int, verdict: str | None, *, reveal: bool, as_json: bool) -> None:
    """Show the newest decisions, the newest last.

    Persons are shown by the pseudonyms under which the log knows them, unless --reveal is given; one who was erased
    stays a pseudonym.
    """
    from companyos.authz.decision_log import newest_decisions
    from companyos.cli.ledger.place import reader, writer

    with writer(url) if reveal else reader(url) as log:
        found = [_fields(log, entry, reveal=reveal) for entry in newest_decisions(log, count, verdict)]
    if as_json:
        echo_json(found)
    elif found:
        echo_table(_HEADINGS, [_row(fields) for fields in found])
    else:
        click.echo("# no decisions", err=True)


@decisions.command("export")
@click.option("--since", type=click.IntRange(min=0), default=0, help="Index of the first entry to look at.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead of stdout.")
@ledger_url_option
def export_decisions(url: str | None, since: int, out: Path | None) -> None:
    """Export decisions as events of OPA's decision log, one JSON object a line.

    Personal values stay behind: ids of persons are masked by their pseudonyms, ip and device are erased. Standard
    error says how far the export came: go on from there with --since.
    """
    from companyos.authz.decision_log import decisions as of
    from companyos.authz.decision_log import event
    from companyos.cli.ledger.place import reader

    with reader(url) as log, _written(out) as file:
        size, count = len(log), 0
        for entry in of(log, since):
            click.echo(json.dumps(event(entry, log.origin), ensure_ascii=True, separators=(",", ":")), file=file)
            size, count = max(size, entry.index + 1), count + 1
    click.echo(f"# {count} decisions; go on with --since {max(size, since)}", err=True)


@contextmanager
def _written(out: Path | None) -> Iterator[IO[str] | None]:
    """A file that is there wholly or not at all; None for stdout."""
    if out is None:
        yield None
        return
    part = out.with_name(f"{out.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(out)
    except OSError as error:
        raise UserError(f"cannot write {out}", got=error.strerror, hint="choose a writable directory") from error
    finally:
        part.unlink(missing_ok=True)


def _fields(log: Ledger, entry: Entry, *, reveal: bool) -> dict[str, Any]:
    from companyos.authz.audit import ORIGIN, origin_id

    data = dict((_revealed(log, entry) if reveal else entry).data or {})
    origin: dict[str, Any] = {}
    if reveal and any(isinstance(data.get(key), dict) and "retention" in data[key] for key in ("ip", "device")):
        for beside in log.read(entry.index + 1, entry.index + 2):
            if beside.type == ORIGIN and beside.id == origin_id(entry.id):
                origin = dict(_revealed(log, beside).data or {})
    shown = {key: _shown(value) for key, value in {**data, **origin}.items()}
    target = dict(data.get("target") or {})
    return {
        "index": entry.index,
        "id": entry.id,
        "time": (data.get("audit") or {}).get("decided") or f"{entry.time:%Y-%m-%dT%H:%M:%S.%fZ}",
        **{key: shown.get(key) for key in ("decision", "reason", "message", "actor", "actor_type", "verb")},
        "target": {key: _shown(value) for key, value in target.items() if value is not None},
        **{key: shown.get(key) for key in ("obligations", "policy", "ip", "device", "trace_id", "audit")},
    }


def _revealed(log: Ledger, entry: Entry) -> Entry:
    from companyos.ledger import ErasedError

    try:
        return log.reveal(entry)
    except ErasedError:
        return entry


def _shown(value: Any) -> Any:
    """A value, or the pseudonym of whom it is about if it is encrypted."""
    from companyos.ledger.entry import PERSONAL

    if isinstance(value, dict) and PERSONAL in value:
        return value[PERSONAL].get("sub")
    return value


def _row(fields: dict[str, Any]) -> tuple[object, ...]:
    target = fields["target"]
    what = ":".join(str(target[key]) for key in ("type", "id") if key in target)
    duties = ",".join(obligation["id"] for obligation in fields["obligations"] or ())
    row = (
        fields["index"],
        f"{fields['time'][:19]}Z",
        fields["decision"],
        fields["reason"],
        fields["actor"],
        fields["verb"],
        what,
        duties,
    )
    return tuple(_short("-" if cell in (None, "") else str(cell)) for cell in row)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
