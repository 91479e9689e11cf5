"""Making a store anew from the ledger, and comparing the two."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.finops.budgets.errors import BudgetStoreError
from companyos.finops.budgets.history import History, read_history
from companyos.finops.budgets.interface import Fence, Snapshot
from companyos.finops.budgets.journal import PAGE, Journal

if TYPE_CHECKING:
    from companyos.finops.budgets.interface import BudgetLedger, BudgetStore, Level, Mark
    from companyos.finops.budgets.policy import BudgetPolicy

__all__ = ("Rebuilt", "differences", "rebuild")


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did."""

    epoch: str
    """The epoch of the store now."""
    changed: bool
    """False if the store was whole and agreed with the ledger, so that nothing was done."""
    salvaged: int
    """Events that the lost store still had, and the ledger had not."""
    reservations: int
    """How many are known now."""
    unaccounted: tuple[tuple[str, int], ...]
    """Key and units that are deemed spent, because nobody knows what the lost store had not yet put on the ledger."""
    contradictions: tuple[str, ...]
    """Reservations that were settled twice with different amounts; the larger one counts."""

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "epoch": self.epoch,
            "changed": self.changed,
            "salvaged": self.salvaged,
            "reservations": self.reservations,
            "unaccounted": dict(self.unaccounted),
            "contradictions": list(self.contradictions),
        }


def rebuild(policy: BudgetPolicy, store: BudgetStore, ledger: BudgetLedger, *, name: str = "company") -> Rebuilt:
    """Make the store of a lost budget anew from the ledger; one that is whole and agrees with it is left as it is.

    What the store still holds of its events is brought to the ledger first. What it may have handed out without the
    ledger's knowledge (`unlogged_percent`) is deemed spent in every window that ran then. Reservations that were open
    stay so until their lease is over.

    Raises:
        BudgetStoreError: the store does not answer, or somebody else rebuilds it.
    """
    journal = Journal(ledger, name)
    mark, known = store.mark(), journal.epoch()
    intact = mark is not None and mark.whole and mark.epoch == known and not journal.is_behind(store, mark)
    if mark is not None and intact:
        journal.carry(store, Fence(mark.epoch, mark.seq))
        history = read_history(ledger.read(), journal.source)
        if not differences(store.levels(), history):
            return Rebuilt(mark.epoch, False, 0, len(history.records), (), tuple(history.contradictions))
    salvaged = _salvage(store, journal, mark)
    locked = f"rebuilding:{secrets.token_hex(8)}"
    # From here on the old store answers nobody, so nothing can come after what is read of the ledger now.
    _make(store, locked, Snapshot(), None if mark is None else mark.epoch)
    history = read_history(ledger.read(), journal.source)
    unaccounted = _unaccounted(history)
    epoch = secrets.token_hex(8)
    data = {"unlogged_percent": str(policy.unlogged_percent), "unaccounted": unaccounted, "salvaged": salvaged}
    journal.begin("rebuilt", epoch, data)
    for key, units in unaccounted:
        history.unaccounted[key] = history.unaccounted.get(key, 0) + units
    _make(store, epoch, history.snapshot(), locked)
    pairs = tuple((key, units) for key, units in unaccounted)
    return Rebuilt(epoch, True, salvaged, len(history.records), pairs, tuple(history.contradictions))


def differences(levels: list[Level], history: History) -> list[str]:
    """Keys of which store and ledger say different sums."""
    told = {one.key: (one.spent, one.reserved) for one in history.snapshot().levels}
    kept = {one.key: (one.spent, one.reserved) for one in levels}
    return sorted(key for key in told.keys() | kept.keys() if told.get(key, (0, 0)) != kept.get(key, (0, 0)))


def _salvage(store: BudgetStore, journal: Journal, mark: Mark | None) -> int:
    if mark is None or mark.epoch.startswith("rebuilding:"):
        return 0
    # All of them at once: a lost store takes no acknowledgement, by which they would become fewer.
    count, limit = 0, PAGE
    while len(events := store.pending(limit)) == limit:
        limit *= 4
    count += journal.salvage(mark.epoch, events)
    return count


def _unaccounted(history: History) -> list[list[Any]]:
    """What may have been handed out unlogged: the allowance of every window that had not ended at the last event."""
    found = []
    for one in history.snapshot().levels:
        allowance = int(one.limit * history.unlogged_percent / 100)
        units = min(allowance, max(0, one.limit - one.spent - one.reserved))
        if one.end > history.last_at and units:
            found.append([one.key, units])
    return found


def _make(store: BudgetStore, epoch: str, snapshot: Snapshot, replaces: str | None) -> None:
    if not store.create(epoch, snapshot, replaces=replaces):
        raise BudgetStoreError("somebody else is making the store anew", hint="wait for it, then try again")
