"""What the ledger says of a budget: how full each level is, and what became of each reservation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from companyos.finops.budgets.interface import Level, Record, Snapshot
from companyos.finops.budgets.journal import TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from companyos.ports import Entry

__all__ = ("History", "content_of", "is_after", "is_of_budget", "read_history")

_STRENGTH = {"open": 0, "expired": 1, "refunded": 1, "settled": 2}
"""What became of a reservation is the strongest that was said of it, in whatever order it came."""


@dataclass(slots=True)
class History:
    """A budget as its entries tell it, whatever their order."""

    records: dict[str, Record] = field(default_factory=dict)
    """Every reservation, by id."""
    unaccounted: dict[str, int] = field(default_factory=dict)
    """Units that rebuilds deemed spent, by key."""
    shapes: dict[str, tuple[int, str, int, int]] = field(default_factory=dict)
    """Limit, unit, start and end of each key."""
    epochs: list[str] = field(default_factory=list)
    """Every making of the store, oldest first."""
    unlogged_percent: Decimal = Decimal(0)
    """The most that any epoch was allowed to hand out before it was on the ledger."""
    last_at: float = 0.0
    """Seconds since 1970 of the newest event."""
    reserved_at: dict[str, float] = field(default_factory=dict)
    """When each reservation was made, in seconds since 1970; one that only its settlement tells of has none."""
    settled_at: dict[str, float] = field(default_factory=dict)
    """When each settled reservation was settled first."""
    contradictions: list[str] = field(default_factory=list)
    """Reservations that were settled twice with different amounts; the larger one is counted."""

    def add(self, entry: Entry) -> None:
        """Take in one entry of the budget."""
        data, kind = entry.data, entry.type.removeprefix(f"{TYPE}.")
        if data is None:
            return
        if kind in {"opened", "rebuilt"}:
            self._begin(data)
        elif "reservation" in data:
            self._event(kind, data)

    def snapshot(self) -> Snapshot:
        """All that a store must know."""
        spent, reserved = dict(self.unaccounted), dict.fromkeys(self.shapes, 0)
        for record in self.records.values():
            if record.status == "settled":
                for key, units in record.actual or ():
                    spent[key] = spent.get(key, 0) + units
            elif record.status == "open":
                for key, units, *_ in record.body["charges"]:
                    reserved[key] += units
        levels = [Level(key, spent.get(key, 0), reserved[key], *self.shapes[key]) for key in sorted(self.shapes)]
        return Snapshot(tuple(levels), tuple(self.records.values()))

    def _begin(self, data: Mapping[str, Any]) -> None:
        if data["epoch"] not in self.epochs:
            self.epochs.append(data["epoch"])
        self.unlogged_percent = max(self.unlogged_percent, Decimal(data["unlogged_percent"]))
        for key, units in data.get("unaccounted", ()):
            self.unaccounted[key] = self.unaccounted.get(key, 0) + units

    def _event(self, kind: str, data: Mapping[str, Any]) -> None:
        name, at = data["reservation"], data["at_us"] / 1e6
        self.last_at = max(self.last_at, at)
        for key, _, *shape in data["charges"]:
            self.shapes[key] = (shape[0], shape[1], shape[2], shape[3])
        body = {key: value for key, value in data.items() if key not in _OF_EVENT}
        status = "open" if kind == "reserved" else kind
        actual = tuple((key, units) for key, units in data["actual"]) if kind == "settled" else None
        until = at + body.get("lease_ms", 0) / 1000
        if kind in {"reserved", "settled"}:
            moments = self.reserved_at if kind == "reserved" else self.settled_at
            moments[name] = min(at, moments.get(name, at))
        new = Record(name, status, until, content_of(body), body, actual)  # type: ignore[arg-type] # one of four kinds
        known = self.records.get(name)
        self.records[name] = new if known is None else self._stronger(known, new, is_reservation=kind == "reserved")

    def _stronger(self, known: Record, new: Record, *, is_reservation: bool) -> Record:
        if known.status == new.status == "settled" and known.actual != new.actual:
            self.contradictions.append(new.id)
            return max(known, new, key=lambda one: sum(units for _, units in one.actual or ()))
        winner = new if _STRENGTH[new.status] > _STRENGTH[known.status] else known
        return replace(winner, lease_until=new.lease_until if is_reservation else known.lease_until)


_OF_EVENT = frozenset({"epoch", "seq", "reservation", "at_us", "actual", "over"})


def content_of(body: Mapping[str, Any]) -> str:
    """By what a repeated reservation is known: whose it is, what it is for, and how much."""
    amounts = ",".join(f"{unit}={units}" for unit, units in sorted(body["amounts"].items()))
    return "|".join((body["task"], body["provider"] or "", body["model"] or "", amounts))


def read_history(entries: Iterable[Entry], source: str, *, until: float | None = None) -> History:
    """The history in all entries of a ledger; `source` is the budget's.

    With `until` (seconds since 1970) it is the history as it was then: later events are left out.
    """
    history = History()
    for entry in entries:
        if is_of_budget(entry, source) and (until is None or not is_after(entry, until)):
            history.add(entry)
    return history


def is_of_budget(entry: Entry, source: str) -> bool:
    """Whether an entry is of the budget of that source."""
    return entry.source == source or entry.source.startswith(f"{source}/")


def is_after(entry: Entry, until: float) -> bool:
    """Whether it tells of an event at that moment (seconds since 1970) or later."""
    return entry.data is not None and bool(entry.data.get("at_us", 0) >= until * 1e6)
