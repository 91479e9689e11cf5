"""What the stores in SQL share: each step is one short transaction, in words that both databases know."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from companyos.ledger.connection import driver_connection
from companyos.ledger.outbox.errors import OutboxConflictError, OutboxForeignError
from companyos.ledger.outbox.interface import Item, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from companyos.ledger.outbox.interface import Draft, Result, State

__all__ = ("SCHEMA", "Session", "SqlOutbox")

SCHEMA = (
    "CREATE TABLE {meta} (id INTEGER PRIMARY KEY, identity TEXT NOT NULL)",
    """CREATE TABLE {item} (
        seq {serial}, queue TEXT NOT NULL, id TEXT NOT NULL, lane TEXT NOT NULL, body TEXT NOT NULL,
        meta TEXT NOT NULL, state TEXT NOT NULL, held INTEGER NOT NULL, attempts INTEGER NOT NULL,
        fence BIGINT NOT NULL, note TEXT NOT NULL, created DOUBLE PRECISION NOT NULL, due DOUBLE PRECISION NOT NULL,
        finished DOUBLE PRECISION, UNIQUE (queue, id, lane))""",
    "CREATE INDEX {prefix}due ON {item} (queue, due) WHERE state = 'waiting'",
    "CREATE INDEX {prefix}finished ON {item} (queue, state, finished) WHERE state <> 'waiting'",
    """CREATE TABLE {receipt} (
        seq {serial}, queue TEXT NOT NULL, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL)""",
)
"""Items, receipts on their way to the ledger, and what tells this database from another."""

_ADD = (
    "INSERT INTO {item} (queue, id, lane, body, meta, state, held, attempts, fence, note, created, due)"
    " VALUES (?, ?, ?, ?, ?, 'waiting', ?, ?, ?, '', ?, ?) ON CONFLICT (queue, id, lane) DO NOTHING RETURNING seq"
)
_CLAIM = (
    "UPDATE {item} SET held = 1, attempts = attempts + 1, fence = fence + 1, due = ? WHERE seq IN ("
    "SELECT seq FROM {item} WHERE queue = ? AND state = 'waiting' AND due <= ?{lanes} ORDER BY due LIMIT ?{skip})"
    " RETURNING seq, id, lane, body, attempts, fence, created, meta"
)
_DELIVERED = (
    "UPDATE {item} SET state = 'delivered', held = 0, note = '', finished = ?"
    " WHERE state = 'waiting' AND seq {among} RETURNING seq"
)
_OTHERWISE = (
    "UPDATE {item} SET state = ?, held = 0, attempts = attempts - ?, note = ?, due = ?, finished = ?"
    " WHERE state = 'waiting' AND seq = ? AND fence = ? RETURNING seq"
)
_RECORD = (
    "SELECT seq, id, lane, body, state, held, attempts, note, created, due, finished, meta FROM {item} WHERE queue = ?"
)
_REPLAY = (
    "UPDATE {item} SET state = 'waiting', held = 0, attempts = 0, fence = fence + 1, due = ?, finished = NULL"
    " WHERE queue = ? AND state = 'dead' AND id = ?{lane} RETURNING seq"
)
_DROP = (
    "UPDATE {item} SET state = 'dropped', finished = ?"
    " WHERE queue = ? AND state = 'dead' AND id = ?{lane} RETURNING seq"
)
_PURGE = "DELETE FROM {item} WHERE queue = ? AND state IN ('delivered', 'dropped') AND finished < ? RETURNING seq"


class Session(Protocol):
    """One transaction of one kind of database."""

    now: float
    """The store's clock, in seconds since 1970."""

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement with `?` for its values and `{table}` for ours, and return its rows."""
        ...

    def pack(self, values: Sequence[Any]) -> Any:
        """The values as one for `{among}`."""
        ...


class SqlOutbox(ABC):
    """The steps of a store; a subclass has connections, the clock and the names of the tables."""

    skip_locked = ""
    """What makes a claim pass over rows that somebody else is claiming."""

    def __init__(self, queue: str) -> None:
        self._queue = queue

    @abstractmethod
    def _transaction(self, *, write: bool = True) -> AbstractContextManager[Session]:
        """A transaction that commits at the end, and rolls back on an exception."""

    @abstractmethod
    def _inside(self, connection: object) -> AbstractContextManager[Session]:
        """The caller's transaction, which is left open."""

    @abstractmethod
    def _identity(self) -> str:
        """What tells this database from another."""

    @abstractmethod
    def close(self) -> None:
        """Close the database."""

    def add(
        self, drafts: Sequence[Draft], *, connection: object | None = None, lease_seconds: float | None = None
    ) -> list[Item]:
        """Write items down."""
        if connection is None:
            with self._transaction() as session:
                return self._add(session, drafts, lease_seconds)
        with self._inside(driver_connection(connection)) as session:
            if not self._is_ours(session):
                raise OutboxForeignError(
                    "the transaction is in another database than the outbox",
                    hint="open the outbox with the URL of the database that the transaction writes to",
                )
            return self._add(session, drafts, lease_seconds)

    def claim(self, limit: int, lease_seconds: float, *, lanes: Sequence[str] | None = None) -> list[Item]:
        """Take items that are due."""
        if limit < 1 or (lanes is not None and not lanes):
            return []
        sql = _CLAIM.replace("{lanes}", "" if lanes is None else " AND lane {among}")
        sql = sql.replace("{skip}", self.skip_locked)
        with self._transaction() as session:
            among = () if lanes is None else (session.pack(lanes),)
            rows = session.run(sql, (session.now + lease_seconds, self._queue, session.now, *among, limit))
        return sorted((Item(*row) for row in rows), key=lambda item: item.seq)

    def finish(
        self, results: Sequence[Result], *, receipt: Callable[[Sequence[Result]], str] | None = None
    ) -> list[Result]:
        """Write down what became of items."""
        if not results:
            return []
        with self._transaction() as session:
            done = _delivered(session, [one.item.seq for one in results if one.state == "delivered"])
            for one in results:
                if one.state != "delivered" and _otherwise(session, one):
                    done.add(one.item.seq)
            counted = [one for one in results if one.item.seq in done]
            final = [one for one in counted if one.state != "waiting"]
            if receipt is not None and final:
                values = (self._queue, uuid.uuid4().hex, receipt(final))
                session.run("INSERT INTO {receipt} (queue, id, body) VALUES (?, ?, ?)", values)
        return counted

    def receipts(self, limit: int) -> list[tuple[str, str]]:
        """The oldest texts that wait to be acknowledged."""
        with self._transaction(write=False) as session:
            rows = session.run(
                "SELECT id, body FROM {receipt} WHERE queue = ? ORDER BY seq LIMIT ?", (self._queue, limit)
            )
        return [(name, body) for name, body in rows]

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Forget texts that have reached the ledger."""
        with self._transaction() as session:
            session.run("DELETE FROM {receipt} WHERE id {among}", (session.pack(ids),))

    def find(self, id: str) -> list[Record]:  # noqa: A002 - the item's attribute is called so
        """The items of that id."""
        with self._transaction(write=False) as session:
            rows = session.run(f"{_RECORD} AND id = ? ORDER BY lane", (self._queue, id))
            return [_record(row, session.now) for row in rows]

    def records(self, *, states: Sequence[State], limit: int) -> list[Record]:
        """The newest items in one of those states."""
        sql = f"{_RECORD} AND state {{among}} ORDER BY seq DESC LIMIT ?"
        with self._transaction(write=False) as session:
            rows = session.run(sql, (self._queue, session.pack(states), limit))
            return [_record(row, session.now) for row in reversed(rows)]

    def count(self) -> dict[State, int]:
        """How many items are in each state."""
        with self._transaction(write=False) as session:
            rows = session.run("SELECT state, count(*) FROM {item} WHERE queue = ? GROUP BY state", (self._queue,))
        return {state: int(number) for state, number in sorted(rows)}

    def next_due(self) -> float | None:
        """Seconds until the first waiting item is due."""
        with self._transaction(write=False) as session:
            (row,) = session.run("SELECT min(due) FROM {item} WHERE queue = ? AND state = 'waiting'", (self._queue,))
            return None if row[0] is None else max(0.0, row[0] - session.now)

    def replay(self, id: str, *, lane: str | None = None) -> int:  # noqa: A002 - as above
        """Let dead items wait again."""
        return self._revive(_REPLAY, id, lane)

    def drop(self, id: str, *, lane: str | None = None) -> int:  # noqa: A002 - as above
        """Give dead items up for good."""
        return self._revive(_DROP, id, lane)

    def purge(self, older_than_seconds: float) -> int:
        """Forget items that were delivered or dropped that long ago."""
        with self._transaction() as session:
            return len(session.run(_PURGE, (self._queue, session.now - older_than_seconds)))

    def _add(self, session: Session, drafts: Sequence[Draft], lease_seconds: float | None) -> list[Item]:
        held = int(lease_seconds is not None)
        made = []
        for draft in drafts:
            due = session.now + (lease_seconds or 0.0)
            values = (self._queue, draft.id, draft.lane, draft.body, draft.meta, held, held, held, session.now, due)
            rows = session.run(_ADD, values)
            if rows:
                made.append(Item(rows[0][0], draft.id, draft.lane, draft.body, 1, 1, session.now, draft.meta))
            else:
                self._same(session, draft)
        return made if held else []

    def _same(self, session: Session, draft: Draft) -> None:
        sql = "SELECT body FROM {item} WHERE queue = ? AND id = ? AND lane = ?"
        rows = session.run(sql, (self._queue, draft.id, draft.lane))
        if not rows or rows[0][0] != draft.body:
            raise OutboxConflictError(
                f"the id {draft.id} is taken by an item with another body", hint="give each item an id of its own"
            )

    def _revive(self, sql: str, name: str, lane: str | None) -> int:
        among = "" if lane is None else " AND lane = ?"
        with self._transaction() as session:
            values = (session.now, self._queue, name, *(() if lane is None else (lane,)))
            return len(session.run(sql.replace("{lane}", among), values))

    def _is_ours(self, session: Session) -> bool:
        rows = session.run("SELECT identity FROM {meta}")
        return bool(rows) and rows[0][0] == self._identity()


def _delivered(session: Session, numbers: Sequence[int]) -> set[int]:
    if not numbers:
        return set()
    return {row[0] for row in session.run(_DELIVERED, (session.now, session.pack(numbers)))}


def _otherwise(session: Session, one: Result) -> bool:
    finished = None if one.state == "waiting" else session.now
    values = (
        one.state,
        int(one.given_back),
        one.note,
        session.now + one.delay_seconds,
        finished,
        one.item.seq,
        one.item.fence,
    )
    return bool(session.run(_OTHERWISE, values))


def _record(row: tuple[Any, ...], now: float) -> Record:
    seq, name, lane, body, state, held, attempts, note, created, due, finished, meta = row
    return Record(seq, name, lane, body, state, bool(held) and due > now, attempts, note, created, due, finished, meta)
