"""Audit streams as the log knows them: opened, closed, or gone with decisions that nobody wrote.

A stream leaves an `audit_opened` entry before the first decision waits in it, and an `audit_closed` one when all are
written: at its end, and whenever nobody has asked for `IDLE_SECONDS`. One that was opened and never closed is dead once
its process is seen to be gone or, where that process cannot be seen from here (another machine, another container),
once it has been silent for `LEASE_SECONDS`. An `audit_gap` entry then says after which one decisions may be missing.
"""

from __future__ import annotations

import functools
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from companyos.authz.audit import DECISION, AuditLedger
from companyos.canonical import sha256_hex
from companyos.ledger.entry import timestamp
from companyos.ledger.errors import IdReusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from companyos.ports import Entry

__all__ = (
    "CLOSED",
    "GAP",
    "IDLE_SECONDS",
    "LEASE_SECONDS",
    "MARKERS",
    "OPENED",
    "REFUSED",
    "InstanceLedger",
    "report_gaps",
    "this_process",
)

MARKERS = "companyos/authz/audit"
"""`source` of the entries about the audit itself, by which they are found without reading the log."""
OPENED = "companyos.authz.audit_opened"
"""From here on decisions may wait."""
CLOSED = "companyos.authz.audit_closed"
"""All that waited is written."""
GAP = "companyos.authz.audit_gap"
"""A stream ended without being closed: its last decisions may be missing."""
REFUSED = "companyos.authz.audit_refused"
"""Decisions that were made, and that the ledger refused for what their entries say."""
IDLE_SECONDS = 30.0
"""After how long without a decision a stream is closed until the next one."""
LEASE_SECONDS = 300.0
"""How long a stream may be silent before one that cannot be seen counts as dead."""
_CHUNK = 512


@runtime_checkable
class InstanceLedger(AuditLedger, Protocol):
    """What a stream needs of the ledger besides: to read what earlier streams left."""

    def of_source(self, source: str) -> Iterator[Entry]:
        """The entries of one source, in order."""
        ...

    def read(self, start: int = 0, end: int | None = None) -> Iterator[Entry]:
        """Entries in order."""
        ...

    def __len__(self) -> int: ...


def report_gaps(ledger: InstanceLedger) -> bool:
    """Append a gap entry for every stream that is dead and was not closed; True if some cannot be told yet.

    Several processes may find the same one: it is reported once.
    """
    undecided = False
    for opened in _unclosed(ledger):
        last = _last_written(ledger, opened)
        ended_by = _cause(opened, last)
        if ended_by is None:
            undecided = undecided or not _is_mine(opened)
            continue
        instance = _data(opened)["instance"]
        try:
            ledger.append(GAP, _gap(opened, last, ended_by), id=f"{instance}-gap", source=MARKERS)
        except IdReusedError:
            continue  # another process has found it at the same time
    return undecided


def this_process() -> dict[str, Any]:
    """What tells this process from every other: the boot and namespace that its number belongs to, and its start."""
    pid = os.getpid()
    return {"place": _place(), "pid": pid, "started": _started(pid)}


def _unclosed(ledger: InstanceLedger) -> list[Entry]:
    opened: dict[str, Entry] = {}
    for entry in ledger.of_source(MARKERS):
        instance = str(_data(entry).get("instance"))
        if entry.type == OPENED:
            opened[instance] = entry
        elif entry.type in (CLOSED, GAP):
            opened.pop(instance, None)
    return list(opened.values())


def _last_written(ledger: InstanceLedger, opened: Entry) -> Entry | None:
    """The last decision that the stream wrote, looked for from the end: it is near there after a crash."""
    instance = _data(opened)["instance"]
    end = len(ledger)
    while end > opened.index:
        start = max(opened.index, end - _CHUNK)
        for entry in reversed(list(ledger.read(start, end))):
            if entry.type == DECISION and _batch(entry).get("instance") == instance:
                return entry
        end = start
    return None


def _cause(opened: Entry, last: Entry | None) -> str | None:
    """How it is known that a stream is dead; None if it lives, or nobody can tell yet."""
    process = _data(opened).get("process", {})
    if process.get("place") is not None and process.get("place") == _place():
        alive = process.get("started") == _started(int(process["pid"])) is not None
        return None if alive else "its process is gone"
    sign = opened if last is None else last
    silent = datetime.now(UTC) - sign.time > timedelta(seconds=LEASE_SECONDS)
    return f"nothing of it for {LEASE_SECONDS:.0f} s" if silent else None


def _is_mine(opened: Entry) -> bool:
    """Whether a living stream can be seen from here, so that there is nothing to look at again."""
    place = _data(opened).get("process", {}).get("place")
    return place is not None and place == _place()


def _gap(opened: Entry, last: Entry | None, ended_by: str) -> dict[str, Any]:
    data = _data(opened)
    batch = {} if last is None else _batch(last)
    return {
        "instance": data["instance"],
        "opened_index": opened.index,
        "written": batch.get("number", 0),
        "last_index": None if last is None else last.index,
        "after": batch.get("decided", timestamp(opened.time)),
        "before": timestamp(datetime.now(UTC)),
        "late_ms": data.get("late_ms"),
        "at_most": data.get("limit"),
        "ended_by": ended_by,
    }


def _data(entry: Entry) -> Mapping[str, Any]:
    return entry.data or {}


def _batch(entry: Entry) -> Mapping[str, Any]:
    batch: Mapping[str, Any] = _data(entry).get("audit") or {}
    return batch


@functools.cache
def _place() -> str | None:
    """Digest of what a process number means here; None where that cannot be found out."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # Only its number: the namespace of processes, of which each container has its own.
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return None
    return sha256_hex(f"{boot}\n{namespace}".encode())[:32]


def _started(pid: int) -> int | None:
    """When a process was started, in ticks since the boot; None if there is none of that number, or a dead one."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold anything, parentheses too.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
