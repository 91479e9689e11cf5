"""Projections: state computed from the log, which can be thrown away and rebuilt from it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from companyos.canonical import canonical_bytes, digest
from companyos.errors import UnverifiableError
from companyos.ledger.database import Database
from companyos.ledger.errors import EntryMissingError, TailDroppedError
from companyos.ledger.upcast import Upcasters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from companyos.ports import Entry

    Read = Callable[[int, int | None], Iterator[Entry]]

__all__ = ("Projection", "ProjectionError", "Snapshot")

ENTRIES_PER_TRANSACTION = 256
SECONDS_PER_TRANSACTION = 1.0


class ProjectionError(UnverifiableError):
    """A projection cannot take an entry in, and stands before it; or its database cannot be used."""

    code = "ledger.projection_failed"

    def __init__(self, name: str, error: Exception, *, index: int | None = None) -> None:
        self.index = index
        """The entry that could not be applied, None if it was not one entry's fault."""
        what = "cannot use its database" if index is None else f"cannot apply entry {index}"
        super().__init__(f"projection {name} {what}", got=f"{type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A projection as it stood at one moment."""

    position: int
    """How many entries had been applied."""
    state: Any
    """The whole state as a JSON value."""

    @property
    def digest(self) -> str:
        """Digest of the state, which anyone who replays the same entries gets again."""
        return digest(self.state)


class Projection(ABC):
    """State in a database that follows a log; `database` is a `Database`, or a connection that one is made of.

    The position in the log is written in the same transaction as what `apply` writes, so each entry takes effect
    exactly once, whatever is killed when, and however many processes replay at once. Subclasses give a `name`, make
    their `tables` in `prepare` and change them in `apply`, whose outcome may depend on nothing but the entries.
    """

    name: ClassVar[str]
    """What its position is kept under: unique in a database."""
    tables: ClassVar[tuple[str, ...]] = ()
    """The tables that `prepare` makes, nobody else's: what `reset` drops and `state` shows."""
    upcasters: ClassVar[Upcasters] = Upcasters()
    """What brings old entries up to date before they are applied; after a change of these, `reset`."""

    def __init__(self, database: Any) -> None:
        self._db = database if isinstance(database, Database) else Database(database)
        with self._named(), self._db.preparing():
            self._prepare()

    @abstractmethod
    def prepare(self, database: Database) -> None:
        """Create what is needed, if it is not there yet; must not commit."""

    @abstractmethod
    def apply(self, database: Database, entry: Entry) -> None:
        """Take one entry into account; must not commit, and may be called again for an entry that was rolled back."""

    def state(self, database: Database) -> Any:
        """The whole state as a JSON value: all rows of `tables`, unless a subclass tells it otherwise.

        It must not depend on the order in which a database gives rows, nor on how it compares text.
        """
        return {table: _rows(database, table) for table in self.tables}

    @property
    def position(self) -> int:
        """How many entries have been applied."""
        with self._named():
            return self._position()

    def snapshot(self) -> Snapshot:
        """Position and state of one moment, whoever is replaying meanwhile."""
        with self._named(), self._db.reading():
            return Snapshot(self._position(), self.state(self._db))

    def digest(self) -> str:
        """Digest of the state, which anyone who replays the same entries gets again."""
        return self.snapshot().digest

    @classmethod
    def digest_at(cls, read: Read, position: int) -> str:
        """Digest of the state after `position` entries, rebuilt from nothing in a temporary database.

        Raises:
            EntryMissingError: the log has fewer entries, or skips one.
            ProjectionError: an entry cannot be applied.
        """
        with Database.open("sqlite://") as database:
            projection = cls(database)
            reached = projection.follow(read, until=position)
            if reached != position:
                raise EntryMissingError("the log ends too early", index=reached, expected=f"{position} entries")
            return projection.digest()

    def follow(self, read: Read, *, until: int | None = None, progress: Callable[[int], None] | None = None) -> int:
        """Apply all entries that have not been, up to `until` (exclusive), and return the new position.

        `read(start, end)` gives entries in order, such as `Ledger.read`; those that were applied already are passed
        over. Many entries share a transaction. After each, `progress` is told the position.

        Raises:
            EntryMissingError: the log skips an entry.
            TailDroppedError: the log has fewer entries than were applied.
            ProjectionError: an entry cannot be applied; all before it are.
            UpcastError: an entry cannot be brought up to date; all before it are applied.
        """
        reached = self.position
        if reached and next(read(reached - 1, reached), None) is None:
            raise TailDroppedError("the log is shorter than its projection", expected=f"{reached} entries")
        feed = _Feed(read, until)
        while not feed.ended:
            try:
                position = self._advance(feed, ENTRIES_PER_TRANSACTION)
            except Exception:  # noqa: BLE001 - what failed fails again, alone, and then its index is known
                position = self._advance_singly(feed)
            if progress is not None:
                progress(position)
        return self.position

    def deliver(self, entry: Entry) -> bool:
        """Apply one entry unless it has been; whether it was applied now.

        Raises:
            EntryMissingError: an entry before it has not been applied.
            ProjectionError: it cannot be applied.
            UpcastError: it cannot be brought up to date.
        """
        feed = _Feed(lambda *_: iter((entry,)), None)
        self._advance(feed, 1)
        return feed.applied == 1

    def reset(self) -> None:
        """Forget all that was applied, so that the next replay begins at entry 0.

        Raises:
            ValueError: the class does not name its `tables`.
        """
        if not self.tables:
            raise ValueError(f"projection {self.name} cannot be reset: it does not name its tables")
        with self._named(), self._db.preparing():
            self._position(lock=True)
            for table in self.tables:
                self._db.execute(f"DROP TABLE IF EXISTS {table}")
            self._move(0)
            self._prepare()

    def _prepare(self) -> None:
        self._db.execute("CREATE TABLE IF NOT EXISTS projection (name TEXT PRIMARY KEY, position BIGINT NOT NULL)")
        self._db.execute("INSERT INTO projection VALUES (?, 0) ON CONFLICT (name) DO NOTHING", (self.name,))
        self.prepare(self._db)

    def _position(self, *, lock: bool = False) -> int:
        # SQLite has locked the whole database by then.
        suffix = " FOR UPDATE" if lock and self._db.postgresql else ""
        found = self._db.execute(f"SELECT position FROM projection WHERE name = ?{suffix}", (self.name,)).fetchone()  # noqa: S608 - constant
        if found is None:
            raise self._db.errors[0]("its position is gone")
        return int(found[0])

    def _move(self, position: int) -> None:
        self._db.execute("UPDATE projection SET position = ? WHERE name = ?", (position, self.name))

    def _advance(self, feed: _Feed, limit: int) -> int:
        """Apply entries in one transaction, at most `limit`, and return the new position."""
        began, index = time.monotonic(), None
        with self._named(lambda: index), self._db.writing():
            start = position = self._position(lock=True)
            ended = True
            with self._db.pipeline():
                for entry in feed.entries(position):
                    if entry.index < position:
                        continue
                    _require_next(entry, position)
                    index = position
                    self._apply(entry)
                    position += 1
                    if position == start + limit or time.monotonic() >= began + SECONDS_PER_TRANSACTION:
                        ended = False
                        break
            if position > start:
                self._move(position)
        feed.settle(position, applied=position - start, ended=ended)
        return position

    def _advance_singly(self, feed: _Feed) -> int:
        position = self._advance(feed, 1)
        for _ in range(1, ENTRIES_PER_TRANSACTION):
            if not feed.ended:
                position = self._advance(feed, 1)
        return position

    def _apply(self, entry: Entry) -> None:
        newest = self.upcasters.upcast(entry)
        try:
            self.apply(self._db, newest)
            self._db.require_transaction()
        except Exception as error:
            raise ProjectionError(self.name, error, index=entry.index) from error

    @contextmanager
    def _named(self, index: Callable[[], int | None] = lambda: None) -> Iterator[None]:
        """What the driver raises, as an error of ours."""
        try:
            yield
        except self._db.errors as error:
            raise ProjectionError(self.name, error, index=index()) from error


class _Feed:
    """Entries from where the projection stands, read on from one transaction to the next."""

    def __init__(self, read: Read, until: int | None) -> None:
        self._read, self._until = read, until
        self._entries: Iterator[Entry] = iter(())
        self._at: int | None = None
        self.applied = 0
        self.ended = False

    def entries(self, position: int) -> Iterator[Entry]:
        """What is left from `position`: read anew after a failure, or where another process has been at work."""
        if position != self._at:
            self._entries = self._read(position, self._until)
        self._at = None
        return self._entries

    def settle(self, position: int, *, applied: int, ended: bool) -> None:
        """The transaction is durable."""
        self._at, self.applied, self.ended = position, applied, ended


def _require_next(entry: Entry, position: int) -> None:
    if entry.index > position:
        raise EntryMissingError("the log skips an entry", index=position, got=entry.index, expected=position)


def _rows(database: Database, table: str) -> list[list[Any]]:
    rows = [list(row) for row in database.execute(f"SELECT * FROM {table}")]  # noqa: S608 - a constant of the class
    return sorted(rows, key=canonical_bytes)
