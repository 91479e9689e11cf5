"""Projections: state computed from the log, which can be thrown away and rebuilt from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import closing
from typing import TYPE_CHECKING, Any

from companyos.canonical import digest
from companyos.ledger.errors import EntryMissingError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from companyos.ports import Entry

__all__ = ("Projection",)


class Projection(ABC):
    """State in a SQLite database that follows a log.

    The position in the log is written in the same transaction as what `apply` writes, so each entry takes effect
    exactly once, whatever is killed when. Subclasses give a `name`, create their tables in `prepare`, change them in
    `apply` and tell their whole state in `state`.
    """

    name: str

    def __init__(self, database: sqlite3.Connection) -> None:
        if database.isolation_level is not None:
            raise ValueError("a projection needs a connection in autocommit mode: isolation_level=None")
        self._db = database
        database.execute("CREATE TABLE IF NOT EXISTS projection (name TEXT PRIMARY KEY, position INTEGER NOT NULL)")
        self.prepare(database)

    @abstractmethod
    def prepare(self, database: sqlite3.Connection) -> None:
        """Create what is needed, if it is not there yet."""

    @abstractmethod
    def apply(self, database: sqlite3.Connection, entry: Entry) -> None:
        """Take one entry into account; must not commit."""

    @abstractmethod
    def state(self, database: sqlite3.Connection) -> Any:
        """The whole state as a JSON value."""

    @property
    def position(self) -> int:
        """How many entries have been applied."""
        with closing(self._db.execute("SELECT position FROM projection WHERE name = ?", (self.name,))) as cursor:
            found = cursor.fetchone()
        return 0 if found is None else int(found[0])

    def digest(self) -> str:
        """Digest of the state, which anyone who replays the same entries gets again."""
        return digest(self.state(self._db))

    def follow(self, read: Callable[[int, int | None], Iterator[Entry]], *, until: int | None = None) -> int:
        """Apply all entries that have not been, up to `until` (exclusive), and return the new position.

        Raises:
            EntryMissingError: the log skips an entry.
        """
        for entry in read(self.position, until):
            self._step(entry)
        return self.position

    def _step(self, entry: Entry) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._apply_once(entry)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _apply_once(self, entry: Entry) -> None:
        position = self.position
        if entry.index > position:
            raise EntryMissingError("the log skips an entry", index=position, got=entry.index, expected=position)
        # Another process may have applied it since it was read.
        if entry.index == position:
            self.apply(self._db, entry)
            self._db.execute("INSERT OR REPLACE INTO projection VALUES (?, ?)", (self.name, position + 1))
