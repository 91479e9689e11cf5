"""What became of messages, on its way to the ledger: many in one entry, each exactly once."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from companyos.ledger import Draft, Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.ledger.outbox import Outbox, Result
    from companyos.ports import LedgerPort

__all__ = ("BATCH", "bring", "receipt")

BATCH = 64
"""Most deliveries in one entry, which has 65,535 bytes."""
ENTRY = "companyos.notify.delivered"
SOURCE = "companyos/notify"
_log = logging.getLogger("companyos.notify")


def receipt(results: Sequence[Result]) -> str:
    """The data of the entry on results that are final; it holds no text of a message."""
    return json.dumps({"deliveries": [_line(one) for one in results]})


def bring(outbox: Outbox, ledger: LedgerPort | None) -> int:
    """Bring waiting receipts to the ledger and return how many; they go on waiting while it does not take them.

    An entry has the id of its receipt, so that a crash before the receipt is forgotten does not write it twice.
    """
    brought = 0
    while ledger is not None and (waiting := outbox.receipts(100)):
        try:
            _append(ledger, waiting)
        except Exception:  # noqa: BLE001 - whatever a ledger raises, its receipts can wait
            _log.warning("the ledger did not take receipts of notifications; they wait", exc_info=True)
            return brought
        outbox.acknowledge([name for name, _ in waiting])
        brought += len(waiting)
    return brought


def _append(ledger: LedgerPort, waiting: Sequence[tuple[str, str]]) -> None:
    if isinstance(ledger, Ledger):  # which writes many at the price of one
        ledger.append_many([Draft(ENTRY, json.loads(text), name, SOURCE) for name, text in waiting])
        return
    for name, text in waiting:
        ledger.append(ENTRY, json.loads(text), id=name, source=SOURCE)


def _line(one: Result) -> dict[str, str | int]:
    line: dict[str, str | int] = {
        "id": one.item.id,
        "channel": one.item.lane,
        "state": one.state,
        "attempts": one.item.attempts,
        "correlation_id": json.loads(one.item.meta)["correlation_id"],
    }
    return line if one.state == "delivered" else line | {"reason": one.note.partition(":")[0]}
