"""The embedded store: one SQLite file in WAL mode, `synchronous=FULL`, so that a commit is on the disk."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from companyos.ledger.errors import EntryMissingError, StoreUnreadableError
from companyos.ledger.stores.interface import Row
from companyos.signing.files import beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ("SqliteStore",)

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x434F534C  # "COSL", so that `file` and we can tell our files from others
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS entry (
    idx INTEGER PRIMARY KEY CHECK (idx >= 0), id TEXT NOT NULL, source TEXT NOT NULL,
    raw BLOB NOT NULL, leaf BLOB NOT NULL, sameness BLOB NOT NULL, UNIQUE (source, id)
);
CREATE TABLE IF NOT EXISTS node (
    level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (level, idx)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS detached (hash BLOB PRIMARY KEY, salt BLOB NOT NULL, payload BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS head (one INTEGER PRIMARY KEY CHECK (one = 1), note BLOB NOT NULL);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
_COLUMNS = "idx, id, source, raw, leaf, sameness"
# SQLite keeps the type it was given: what somebody edited into text must come back as the bytes it is.
_SELECTED = "idx, id, source, CAST(raw AS BLOB), CAST(leaf AS BLOB), CAST(sameness AS BLOB)"
_PAGE = 256
_WAIT = 30


class SqliteStore:
    """A log in one SQLite file; any number of threads and processes may have it open.

    Raises:
        StoreUnreadableError: there is no such file (with `create=False`), it is not a ledger, it is of a newer
            version, or it cannot be opened for lack of rights.
    """

    def __init__(self, path: Path, *, create: bool = True, readonly: bool = False) -> None:
        self._path = path
        self._lock = threading.RLock()
        if not path.exists() and (readonly or not create):
            raise StoreUnreadableError(f"no ledger at {path}", hint="check the URL, or append to make one")
        mode = "ro" if readonly else "rwc"
        try:
            if not readonly:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode={mode}{'&immutable=1' if _untouchable(path, readonly) else ''}",
                uri=True,
                timeout=_WAIT,
                isolation_level=None,
                check_same_thread=False,
            )
        except (OSError, sqlite3.Error) as error:
            raise _unreadable(path, error) from error
        try:
            self._prepare(readonly=readonly)
        except sqlite3.Error as error:
            self._db.close()
            raise _unreadable(path, error) from error
        except StoreUnreadableError:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def batch(self) -> Iterator[SqliteStore]:
        """A write transaction."""
        with self._lock, self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def size(self) -> int:
        """How many entries the log has."""
        (last,) = self._one("SELECT max(idx) FROM entry")
        return 0 if last is None else int(last) + 1

    def extent(self) -> tuple[int, int, int]:
        """Number of rows, smallest and largest index, whatever these are; (0, 0, 0) for an empty log."""
        count, first, last = self._one("SELECT count(*), min(idx), max(idx) FROM entry")
        return int(count), int(first or 0), int(last or 0)

    def node(self, level: int, index: int) -> bytes:
        """The root of a complete subtree; level 0 is the leaves."""
        if level == 0:
            found = self._one("SELECT CAST(leaf AS BLOB) FROM entry WHERE idx = ?", index)
        else:
            found = self._one("SELECT CAST(hash AS BLOB) FROM node WHERE level = ? AND idx = ?", level, index)
        if found is None:
            raise EntryMissingError(f"node {level}/{index} is not in the store", index=index << level)
        return bytes(found[0])

    def find(self, source: str, id: str) -> Row | None:  # noqa: A002 - the CloudEvents attribute is called so
        """The entry with this id, if there is one."""
        found = self._one(f"SELECT {_SELECTED} FROM entry WHERE source = ? AND id = ?", source, id)  # noqa: S608 - constant
        return None if found is None else Row(*found)

    def add(self, row: Row, nodes: list[tuple[int, int, bytes]]) -> None:
        """Add an entry at the end, with the inner nodes it completes."""
        self._db.execute(
            f"INSERT INTO entry ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - constant
            (row.index, row.id, row.source, row.raw, row.leaf, row.sameness),
        )
        self._db.executemany("INSERT INTO node VALUES (?, ?, ?)", nodes)

    def detach(self, commit: bytes, salt: bytes, payload: bytes) -> None:
        """Keep a detached payload beside the log."""
        self._db.execute("INSERT INTO detached VALUES (?, ?, ?)", (commit, salt, payload))

    def set_head(self, note: bytes) -> None:
        """Replace the signed checkpoint of the log's present state."""
        self._db.execute("INSERT OR REPLACE INTO head VALUES (1, ?)", (note,))

    def rows(self, start: int = 0, end: int | None = None) -> Iterator[Row]:
        """Entries in order, in constant memory."""
        query = f"SELECT {_SELECTED} FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx LIMIT {_PAGE}"  # noqa: S608 - constant
        last = (1 << 63) - 1 if end is None else end
        # Page by page: a cursor left open would pin an old snapshot, on which this connection could not write, and
        # would show another thread's entries before they are committed.
        while True:
            with self._lock, self._translated():
                page = self._db.execute(query, (start, last)).fetchall()
            for found in page:
                yield Row(*found)
            if len(page) < _PAGE:
                return
            start = page[-1][0] + 1

    def nodes(self) -> Iterator[tuple[int, int, bytes]]:
        """All inner nodes, ordered by level and index."""
        with self._translated():
            yield from self._db.execute("SELECT level, idx, hash FROM node ORDER BY level, idx")

    def payload(self, commit: bytes) -> tuple[bytes, bytes] | None:
        """Salt and payload of a commitment; None once dropped."""
        found = self._one("SELECT CAST(salt AS BLOB), CAST(payload AS BLOB) FROM detached WHERE hash = ?", commit)
        return None if found is None else (bytes(found[0]), bytes(found[1]))

    def head(self) -> bytes | None:
        """The newest signed checkpoint, None for a log nobody has written to."""
        found = self._one("SELECT CAST(note AS BLOB) FROM head")
        return None if found is None else bytes(found[0])

    def durability(self) -> tuple[str, int]:
        """`journal_mode` and `synchronous` as the database reports them; 2 is FULL."""
        return str(self._one("PRAGMA journal_mode")[0]), int(self._one("PRAGMA synchronous")[0])

    def _prepare(self, *, readonly: bool) -> None:
        # One transaction: another process may be making the very same log just now.
        self._db.execute("BEGIN")
        (tables,) = self._one("SELECT count(*) FROM sqlite_master")
        (version,) = self._one("PRAGMA user_version")
        (application,) = self._one("PRAGMA application_id")
        self._db.execute("COMMIT")
        if tables and application != _APPLICATION_ID:
            raise StoreUnreadableError(f"{self._path} is a database, but not a ledger", got=hex(application))
        if version > SCHEMA_VERSION:
            raise StoreUnreadableError(
                f"{self._path} was written by a newer companyos",
                got=f"schema {version}",
                expected=f"at most {SCHEMA_VERSION}",
                hint="pip install --upgrade companyos",
            )
        if readonly:
            if not tables:
                raise StoreUnreadableError(f"{self._path} is empty", hint="check the URL")
            return
        _patiently(lambda: self._db.execute("PRAGMA journal_mode=WAL"))
        self._db.execute("PRAGMA synchronous=FULL")
        if version < SCHEMA_VERSION:
            self._db.executescript(_SCHEMA)

    def _one(self, query: str, *parameters: object) -> Any:
        with self._lock, self._translated():
            return self._db.execute(query, parameters).fetchone()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _unreadable(self._path, error) from error


def _patiently(action: Callable[[], object]) -> None:
    """Repeat what SQLite refuses at once, without its own waiting, while another process changes the journal mode."""
    deadline = time.monotonic() + _WAIT
    while True:
        try:
            action()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _unreadable(path: Path, error: Exception) -> StoreUnreadableError:
    return StoreUnreadableError(
        f"cannot use the ledger {path}",
        got=error,
        expected="a ledger database in a directory that may be written",
        hint="check the path and the rights, or restore the file",
    )


def _untouchable(path: Path, readonly: bool) -> bool:
    """Whether a log can only be read where it lies: no writer is at work, and none could be."""
    return readonly and not beside(path, "-wal").exists() and not os.access(path.parent, os.W_OK)
