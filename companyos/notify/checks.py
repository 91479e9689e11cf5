"""Whether notifications do what they promise: nothing dead, nothing forgotten, and the ledger knows of all of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from companyos.decision import Decision, Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from companyos.ledger.outbox import Outbox, Record
    from companyos.ports import Entry

__all__ = ("CONTROL", "RULES", "check_deliveries")

CONTROL = "NOTIFY-DELIVERY"
RULES = {
    f"{CONTROL}.dead": "A message could not be delivered and waits for somebody to replay or drop it.",
    f"{CONTROL}.overdue": "A message should have been tried long ago: no worker runs, or none can keep up.",
    f"{CONTROL}.unlogged": "What became of messages has not reached the ledger.",
    f"{CONTROL}.unproven": "The outbox says that a message was delivered, and the ledger knows nothing of it.",
}
OVERDUE_SECONDS = 300.0
_LIMIT = 10_000


class _Entries(Protocol):
    def read(self) -> Iterable[Entry]: ...


def check_deliveries(outbox: Outbox, ledger: _Entries, *, overdue_seconds: float = OVERDUE_SECONDS) -> Decision:
    """Judge an outbox by itself and by the ledger; of what is final, the newest 10,000 deliveries.

    Raises:
        UserError: outbox or ledger cannot be read, so that nothing may be concluded.
    """
    late = time.time() - overdue_seconds
    final = outbox.records(states=("delivered", "dead", "dropped"), limit=_LIMIT)
    waiting = outbox.records(states=("waiting",), limit=_LIMIT)
    proven = _proven(ledger)
    unlogged = len(outbox.receipts(_LIMIT))
    found = [_finding("dead", one, Severity.HIGH) for one in final if one.state == "dead"]
    found += [_finding("overdue", one, Severity.HIGH) for one in waiting if one.due < late]
    if unlogged:
        what = f"{unlogged} receipts wait to be written to the ledger"
        found.append(Finding(f"{CONTROL}.unlogged", what, Severity.HIGH))
    else:
        found += [
            _finding("unproven", one, Severity.CRITICAL)
            for one in final
            if one.state == "delivered" and (one.id, one.lane) not in proven
        ]
    if found:
        return Decision.denied(found[0].rule, found[0].message, findings=found)
    return Decision.allowed(CONTROL, f"{len(final)} deliveries final, {len(waiting)} under way")


def _finding(rule: str, record: Record, severity: Severity) -> Finding:
    after = f" after {record.attempts} attempts: {record.note}" if record.note else ""
    return Finding(f"{CONTROL}.{rule}", f"message {record.id} on {record.lane}{after}", severity)


def _proven(ledger: _Entries) -> set[tuple[str, str]]:
    entries = (entry.data or {} for entry in ledger.read() if entry.type == "companyos.notify.delivered")
    return {
        (one["id"], one["channel"]) for data in entries for one in data["deliveries"] if one["state"] == "delivered"
    }
