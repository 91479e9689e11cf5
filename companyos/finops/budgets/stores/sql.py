"""What the stores in SQL share: the same steps in one transaction each, in the words that both databases know."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, Protocol

from companyos.finops.budgets.interface import Charge, Event, Level, Mark, Outcome, Purged, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    from companyos.finops.budgets.interface import Fence, Snapshot, Status

__all__ = ("SCHEMA", "Change", "SqlStore")

SCHEMA = (
    """CREATE TABLE budget_meta (
        id INTEGER PRIMARY KEY, epoch TEXT NOT NULL, seq BIGINT NOT NULL, identity TEXT NOT NULL)""",
    """CREATE TABLE budget_level (
        key TEXT PRIMARY KEY, spent BIGINT NOT NULL, reserved BIGINT NOT NULL, unlogged BIGINT NOT NULL,
        told INTEGER NOT NULL, most BIGINT NOT NULL, unit TEXT NOT NULL, starts BIGINT NOT NULL,
        ends BIGINT NOT NULL)""",
    """CREATE TABLE budget_reservation (
        id TEXT PRIMARY KEY, status TEXT NOT NULL, lease DOUBLE PRECISION NOT NULL, content TEXT NOT NULL,
        body TEXT NOT NULL, actual TEXT)""",
    "CREATE INDEX budget_leases ON budget_reservation (lease) WHERE status = 'open'",
    """CREATE TABLE budget_journal (
        seq BIGINT PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, at DOUBLE PRECISION NOT NULL,
        body TEXT NOT NULL)""",
)
"""One table for each thing that is kept, and the epoch."""

_FIND = "SELECT id, status, lease, content, body, actual FROM budget_reservation WHERE id = ?"
_DUE = (
    "SELECT id, status, lease, content, body, actual FROM budget_reservation"
    " WHERE status = 'open' AND lease < ? ORDER BY lease LIMIT 32"
)
"""So many leases are looked after by one call, so that no call pays for a whole crash."""
_OVER = (
    "SELECT id, status, lease, content, body, actual FROM budget_reservation"
    " WHERE status <> 'open' AND id > ? ORDER BY id LIMIT ?"
)
_PURGED_PAGE = 500
_NEW_RECORD = "INSERT INTO budget_reservation (id, status, lease, content, body, actual) VALUES (?, ?, ?, ?, ?, ?)"
_OLD_RECORD = "UPDATE budget_reservation SET status = ?, actual = ? WHERE id = ?"
_NEW_LEVEL = (
    "INSERT INTO budget_level (key, spent, reserved, unlogged, told, most, unit, starts, ends)"
    " VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"
)
_MOVE = (
    "UPDATE budget_level SET spent = spent + ?, reserved = reserved + ?, unlogged = unlogged + ?, most = ?"
    " WHERE key = ? RETURNING spent, reserved, unlogged, told"
)
_RELEASE = "UPDATE budget_level SET reserved = reserved - ? WHERE key = ?"
_LOGGED = "UPDATE budget_level SET unlogged = unlogged - ?, told = 1 WHERE key = ?"
_NOTE = "INSERT INTO budget_journal (seq, kind, id, at, body) VALUES (?, ?, ?, ?, ?)"
# At most so many, told by the ends alone; to count them would be to read them.
_WAITING = "SELECT coalesce((SELECT max(seq) FROM budget_journal) - (SELECT min(seq) FROM budget_journal) + 1, 0)"


class Change(Protocol):
    """One transaction of one kind of database, begun; it has checked the fence."""

    now: float
    """The store's clock."""
    seq: int
    """The number of the last event."""
    lost: bool
    """Whether the fence did not hold."""

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement with `?` for its values, and return its rows."""
        ...

    def lock(self, keys: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Spent and reserved of those levels that are there; nobody else changes them until the end."""
        ...

    def number(self) -> int:
        """The number of the next event."""
        ...


class SqlStore(ABC):
    """The steps of a store; a subclass has connections, locks and the clock."""

    @abstractmethod
    def _change(self, fence: Fence | None) -> AbstractContextManager[Change]:
        """A transaction that commits at the end, and rolls back on an exception."""

    def reserve(
        self,
        name: str,
        charges: Sequence[Charge],
        *,
        body: str,
        content: str,
        lease_seconds: float,
        fence: Fence,
    ) -> Outcome:
        """Take every charge, or none."""
        with self._change(fence) as change:
            if change.lost:
                return Outcome("lost")
            found = _record(change.execute(_FIND, (name,)))
            if found is not None:
                return self._again(change, found, content)
            if any(not charge.start <= change.now < charge.end for charge in charges):
                return Outcome("clock", change.now, change.seq)
            levels = _expire(change, charges)
            held = tuple(levels[charge.key] for charge in charges)
            if any(sum(used) + charge.amount > charge.limit for used, charge in zip(held, charges, strict=True)):
                return Outcome("refused", change.now, change.seq, levels=held)
            moved = [_move(change, charge, 0, charge.amount, charge.amount) for charge in charges]
            until = change.now + lease_seconds
            change.execute(_NEW_RECORD, (name, "open", until, content, body, None))
            _note(change, "reserved", name, body)
            first, now_held = _after(moved, charges)
            return Outcome("ok", change.now, change.seq, first, _waiting(change), until, None, now_held)

    def settle(self, name: str, actual: Sequence[Charge], *, body: str, fence: Fence) -> Outcome:
        """Put what was spent in the place of what was reserved."""
        with self._change(fence) as change:
            if change.lost:
                return Outcome("lost")
            found = _locked(change, name, actual)
            spent = tuple((charge.key, charge.amount) for charge in actual)
            if found is not None and found.status == "settled":
                status: Literal["ok", "conflict"] = "ok" if found.actual == spent else "conflict"
                return Outcome(status, change.now, change.seq, True, _waiting(change), found=found.status)
            held = dict(_held(found)) if found is not None and found.status == "open" else {}
            moved = [_move(change, one, one.amount, -held.get(one.key, 0), one.amount) for one in actual]
            if found is None:
                change.execute(_NEW_RECORD, (name, "settled", change.now, "", body, _text(spent)))
            else:
                change.execute(_OLD_RECORD, ("settled", _text(spent), name))
            _note(change, "settled", name, body, actual=spent, over=_over(found, spent))
            first, levels = _after(moved, actual)
            was = None if found is None else found.status
            return Outcome("ok", change.now, change.seq, first, _waiting(change), 0.0, was, levels)

    def refund(self, name: str, *, fence: Fence) -> Outcome:
        """Give back what was reserved."""
        with self._change(fence) as change:
            if change.lost:
                return Outcome("lost")
            found = _locked(change, name, ())
            if found is None:
                return Outcome("unknown", change.now, change.seq)
            if found.status == "open":
                _close(change, found, "refunded")
            status: Literal["ok", "conflict"] = "conflict" if found.status == "settled" else "ok"
            return Outcome(status, change.now, change.seq, False, _waiting(change), found=found.status)

    def expire(self, *, fence: Fence) -> Outcome:
        """Give back what is reserved longer than its lease."""
        with self._change(fence) as change:
            if change.lost:
                return Outcome("lost")
            _expire(change, ())
            return Outcome("ok", change.now, change.seq, False, _waiting(change))

    def acknowledge(self, events: Sequence[Event], *, fence: Fence) -> Outcome:
        """Those events are on the ledger."""
        with self._change(fence) as change:
            if change.lost:
                return Outcome("lost")
            change.lock(key for event in events for key, _ in event.weights)
            for event in events:
                if change.execute("DELETE FROM budget_journal WHERE seq = ? RETURNING seq", (event.seq,)):
                    for key, units in event.weights:
                        change.execute(_LOGGED, (units, key))
            return Outcome("ok", change.now, change.seq, False, _waiting(change))

    def create(self, epoch: str, snapshot: Snapshot, *, replaces: str | None) -> bool:
        """Make it anew."""
        with self._making() as change:
            found = change.execute("SELECT epoch FROM budget_meta")
            if (found[0][0] if found else None) != replaces:
                return False
            for table in ("budget_meta", "budget_level", "budget_reservation", "budget_journal"):
                change.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
            change.execute("INSERT INTO budget_meta VALUES (1, ?, 0, ?)", (epoch, self._identity(change)))
            for one in snapshot.levels:
                level = (one.key, one.spent, one.reserved, 1, one.limit, one.unit, one.start, one.end)
                change.execute(_NEW_LEVEL, level)
            for record in snapshot.records:
                kept = None if record.actual is None else _text(record.actual)
                values = (
                    record.id,
                    record.status,
                    record.lease_until,
                    record.content,
                    json.dumps(dict(record.body)),
                    kept,
                )
                change.execute(_NEW_RECORD, values)
        return True

    def mark(self) -> Mark | None:
        """What the store says of itself."""
        with self._change(None) as change:
            rows = change.execute("SELECT epoch, identity FROM budget_meta")
            if not rows:
                return None
            whole = rows[0][1] == self._identity(change) and not change.lost
            return Mark(rows[0][0], change.seq, whole)

    def now(self) -> float:
        """The store's clock."""
        with self._change(None) as change:
            return change.now

    def find(self, name: str) -> Record | None:
        """A reservation."""
        with self._change(None) as change:
            return _record(change.execute(_FIND, (name,)))

    def levels(self) -> list[Level]:
        """How full each level is."""
        with self._change(None) as change:
            rows = change.execute(
                "SELECT key, spent, reserved, most, unit, starts, ends FROM budget_level ORDER BY key"
            )
            return [Level(*row) for row in rows]

    def open_records(self) -> list[Record]:
        """The reservations that are open."""
        query = "SELECT id, status, lease, content, body, actual FROM budget_reservation WHERE status = 'open'"
        with self._change(None) as change:
            return [found for row in change.execute(query) if (found := _record([row])) is not None]

    def pending(self, limit: int) -> list[Event]:
        """The oldest events that are not yet known to be on the ledger."""
        with self._change(None) as change:
            rows = change.execute("SELECT seq, kind, id, at, body FROM budget_journal ORDER BY seq LIMIT ?", (limit,))
        return [Event(seq, kind, name, at, json.loads(body)) for seq, kind, name, at, body in rows]

    def purge(self, before: float, *, fence: Fence, dry_run: bool) -> Purged:
        """Forget what is over, a page in each transaction, so that nobody waits for all of it."""
        removed: Counter[str] = Counter()
        kept, last = 0, ""
        while True:
            with self._change(fence) as change:
                if change.lost:
                    return Purged(True, {}, 0)
                rows = change.execute(_OVER, (last, _PURGED_PAGE))
                records = [found for row in rows if (found := _record([row])) is not None]
                past = [one for one in records if one.is_past(before)]
                if not dry_run:
                    for one in past:
                        change.execute("DELETE FROM budget_reservation WHERE id = ? AND status <> 'open'", (one.id,))
            removed.update(one.status for one in past)
            kept += len(records) - len(past)
            if len(rows) < _PURGED_PAGE:
                return Purged(False, dict(removed), kept)
            last = records[-1].id

    @abstractmethod
    def _making(self) -> AbstractContextManager[Change]:
        """A transaction with everybody else kept out, the tables made."""

    @abstractmethod
    def _identity(self, change: Change) -> str:
        """What tells this store from a copy of it."""

    @staticmethod
    def _again(change: Change, found: Record, content: str) -> Outcome:
        """The answer to a reservation whose id is known."""
        status: Literal["ok", "conflict"] = "ok" if found.content == content else "conflict"
        until = found.lease_until
        return Outcome(status, change.now, change.seq, True, _waiting(change), until, found.status)


def _move(change: Change, charge: Charge, spent: int, reserved: int, unlogged: int) -> tuple[int, int, int, int]:
    values = (spent, reserved, unlogged, charge.limit, charge.key)
    rows = change.execute(_MOVE, values)
    if not rows:
        _add_level(change, charge)
        rows = change.execute(_MOVE, values)
    return rows[0][0], rows[0][1], rows[0][2], rows[0][3]


def _add_level(change: Change, charge: Charge) -> None:
    change.execute(_NEW_LEVEL, (charge.key, 0, 0, 0, charge.limit, charge.unit, charge.start, charge.end))


def _after(
    moved: Sequence[tuple[int, int, int, int]], charges: Sequence[Charge]
) -> tuple[bool, tuple[tuple[int, int], ...]]:
    """Whether the change must be logged before it is relied on, and how full the levels are.

    A level of which the ledger knows nothing yet has no allowance: so the ledger knows all that can hold something.
    """
    pairs = zip(moved, charges, strict=True)
    first = any(not told or unlogged > one.allowance for (_, _, unlogged, told), one in pairs)
    return first, tuple((row[0], row[1]) for row in moved)


def _locked(change: Change, name: str, further: Sequence[Charge]) -> Record | None:
    """The reservation, with every level that it touches locked: levels first, in one order, as everywhere."""
    found = _record(change.execute(_FIND, (name,)))
    keys = {charge.key for charge in further} | ({key for key, _ in _held(found)} if found else set())
    change.lock(keys)
    return _record(change.execute(_FIND, (name,)))


def _expire(change: Change, charges: Sequence[Charge]) -> dict[str, tuple[int, int]]:
    """Give back what is due; the levels of the charges as they are then."""
    due = [found for row in change.execute(_DUE, (change.now,)) if (found := _record([row])) is not None]
    keys = {charge.key for charge in charges} | {key for one in due for key, _ in _held(one)}
    levels = change.lock(keys)
    new = [charge for charge in charges if charge.key not in levels]
    for charge in sorted(new):
        _add_level(change, charge)  # before it is judged: a row that is not there cannot be locked
    for one in due:
        fresh = _record(change.execute(_FIND, (one.id,)))
        if fresh is not None and fresh.status == "open":  # nobody was before us
            _close(change, fresh, "expired")
    return change.lock(keys) if due or new else levels


def _close(change: Change, found: Record, status: Status) -> None:
    for key, units in _held(found):
        change.execute(_RELEASE, (units, key))
    change.execute(_OLD_RECORD, (status, None, found.id))
    _note(change, status, found.id, json.dumps(dict(found.body)))


def _note(change: Change, kind: str, name: str, body: str, **more: Any) -> None:
    text = f"{body[:-1]},{json.dumps(more)[1:]}" if more else body
    change.execute(_NOTE, (change.number(), kind, name, change.now, text))


def _waiting(change: Change) -> int:
    return int(change.execute(_WAITING)[0][0])


def _held(found: Record) -> list[tuple[str, int]]:
    return [(charge[0], charge[1]) for charge in found.body["charges"]]


def _over(found: Record | None, spent: tuple[tuple[str, int], ...]) -> list[tuple[str, int]]:
    """What was spent beyond the reservation, by key."""
    held = {} if found is None else dict(_held(found))
    return [(key, units - held.get(key, 0)) for key, units in spent if units > held.get(key, 0)]


def _text(actual: Sequence[tuple[str, int]]) -> str:
    return json.dumps([list(one) for one in actual])


def _record(rows: list[tuple[Any, ...]]) -> Record | None:
    if not rows:
        return None
    name, status, lease, content, body, actual = rows[0]
    spent = None if actual is None else tuple((key, units) for key, units in json.loads(actual))
    return Record(name, status, lease, content, json.loads(body), spent)
