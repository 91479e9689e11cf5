"""How the events of a store come to the ledger, and what the ledger says of the store.

A store writes each change and its event in one step. Whoever comes next carries waiting events to the ledger and then
tells the store so; killed in between, the next one carries them again, which changes nothing: an event has the same id
each time. Entries of the epochs have one source, events one for each thousand, so that few are read to open a budget.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from companyos.canonical import digest
from companyos.finops.budgets.errors import BudgetStoreLostError
from companyos.ledger import Draft, IdReusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from companyos.finops.budgets.interface import BudgetLedger, BudgetStore, Event, Fence, Mark

__all__ = ("SOURCE", "TYPE", "Journal", "lost")

TYPE = "companyos.finops.budget"
"""How the types of all entries begin."""
SOURCE = "companyos/finops/budgets/company"
"""The source of the entries of a company's budget, and the beginning of those of its events."""
PAGE = 256
"""Events that are carried together."""
_BUCKET = 1000
_REBUILD = "companyos budget rebuild, or companyos.finops.budgets.rebuild(...)"


class Journal:
    """One budget's part of the ledger."""

    def __init__(self, ledger: BudgetLedger, name: str) -> None:
        self._ledger = ledger
        self.source = f"companyos/finops/budgets/{name}"
        self.stream = f"budget:{name}"
        self._lock = threading.Lock()

    def begin(self, kind: str, epoch: str, data: Mapping[str, Any]) -> None:
        """Write down that a store was made; again changes nothing."""
        name = f"{epoch}:{kind}:{data['unlogged_percent']}"
        values = {"epoch": epoch, **data}
        self._ledger.append(f"{TYPE}.{kind}", values, id=name, source=self.source, stream=self.stream)

    def epoch(self) -> str | None:
        """The newest epoch that the ledger tells of."""
        found = None
        for entry in self._ledger.of_source(self.source):
            if entry.data is not None and entry.type in {f"{TYPE}.opened", f"{TYPE}.rebuilt"}:
                found = entry.data["epoch"]
        return found

    def is_behind(self, store: BudgetStore, mark: Mark) -> bool:
        """Whether the ledger has events that the store has not: then an older copy of it was put back."""
        bucket = mark.seq // _BUCKET
        newest = max(
            (
                int(entry.data["seq"])
                for number in (bucket, bucket + 1)
                for entry in self._ledger.of_source(self._source(mark.epoch, number))
                if entry.data is not None
            ),
            default=0,
        )
        if newest <= mark.seq:
            return False
        # Others may have spent since the mark was read; but what the ledger had then, the store has now.
        fresh = store.mark()
        return fresh is None or fresh.epoch != mark.epoch or fresh.seq < newest

    def carry(self, store: BudgetStore, fence: Fence) -> None:
        """Bring every waiting event to the ledger; callers in one process that wait for the same share the way.

        Raises:
            BudgetStoreLostError: the store was lost meanwhile; what was carried is on the ledger all the same.
        """
        with self._lock:
            while True:
                events = store.pending(PAGE)
                if events:
                    self._append(fence.epoch, events)
                if store.acknowledge(events, fence=fence).status == "lost":
                    raise lost("while its events were brought to the ledger")
                if len(events) < PAGE:
                    return

    def salvage(self, epoch: str, events: Iterable[Event]) -> int:
        """Bring what a lost store still has to the ledger, also where its numbers were given out twice; how many."""
        count = 0
        for event in events:
            draft = self._draft(epoch, event)
            try:
                self._ledger.append_many([draft])
            except IdReusedError:
                twice = f"{draft.id}:{digest(dict(draft.data))[-16:]}"
                self._ledger.append_many([draft._replace(id=twice)])
            count += 1
        return count

    def record(self, kind: str, data: Mapping[str, Any], *, id: str | None = None) -> str | None:  # noqa: A002 - the entry's
        """Append an entry that is no event of the store; its id, or None if that id was there already."""
        source = f"{self.source}/verdicts"
        try:
            return self._ledger.append(f"{TYPE}.{kind}", data, id=id, source=source, stream=self.stream).id
        except IdReusedError:
            return None

    def alerts(self) -> tuple[dict[str, Mapping[str, Any]], set[tuple[str, str]]]:
        """Every alert by its id, and the pairs of alert and route that were delivered."""
        alerts: dict[str, Mapping[str, Any]] = {}
        delivered = set()
        for entry in self._ledger.of_source(f"{self.source}/verdicts"):
            if entry.data is None:
                continue
            if entry.type == f"{TYPE}.alert":
                alerts[entry.id] = entry.data
            elif entry.type == f"{TYPE}.alert_delivery" and entry.data["delivered"]:
                delivered.add((entry.data["alert"], entry.data["route"]))
        return alerts, delivered

    def _append(self, epoch: str, events: list[Event]) -> None:
        try:
            self._ledger.append_many([self._draft(epoch, event) for event in events])
        except IdReusedError as error:
            raise lost("its events contradict those on the ledger") from error

    def _draft(self, epoch: str, event: Event) -> Draft:
        # Whole numbers only: of those the ledger has a fast way to write the canonical form.
        known = {"epoch": epoch, "seq": event.seq, "reservation": event.id, "at_us": round(event.at * 1e6)}
        data = known | event.body
        source = self._source(epoch, event.seq // _BUCKET)
        return Draft(f"{TYPE}.{event.kind}", data, f"{epoch}:{event.seq}", source, self.stream)

    def _source(self, epoch: str, bucket: int) -> str:
        return f"{self.source}/{epoch}/{bucket}"


def lost(why: str) -> BudgetStoreLostError:
    """The refusal of a store that cannot be trusted."""
    return BudgetStoreLostError(
        "the store of the budget is lost", got=why, expected="the store that the ledger tells of", hint=_REBUILD
    )
