"""Deposits in a SQLite file: entries that wait there until whoever writes the log gives them their place.

Two kinds of file hold them. One lies beside the log, for processes that find another one writing: whoever writes next
takes theirs into the same commit. It is not synced, because nobody was given a receipt for what is in it. The other is
a database of the caller, who deposits in a transaction of their own.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from companyos.ledger.stores.interface import Deposit, Payload

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ("DepositFile", "deposit_into")

_SCHEMA = """CREATE TABLE IF NOT EXISTS companyos_inbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, log TEXT NOT NULL, id TEXT NOT NULL, source TEXT NOT NULL, raw BLOB NOT NULL,
    leaf BLOB NOT NULL, sameness BLOB NOT NULL,
    digest BLOB, salt BLOB, payload BLOB, retention TEXT, kept_since REAL
)"""
_COLUMNS = "id, source, raw, leaf, sameness, digest, salt, payload, retention, kept_since"
_INSERT = f"INSERT INTO companyos_inbox (log, {_COLUMNS}) VALUES ({', '.join('?' * 11)})"  # noqa: S608 - constant
_SELECT = f"SELECT seq, {_COLUMNS} FROM companyos_inbox WHERE log = ? ORDER BY seq LIMIT ?"  # noqa: S608 - constant
_ABSENT = (None,) * 5
_LOOK_SECONDS = 0.01


def deposit_into(connection: sqlite3.Connection, log: str, deposits: Sequence[Deposit]) -> None:
    """Leave entries for `log` in the transaction that `connection` is in."""
    connection.execute(_SCHEMA)
    connection.executemany(_INSERT, [(log, *deposit[:5], *(deposit.payload or _ABSENT)) for deposit in deposits])


class DepositFile:
    """Deposits for one log in one SQLite file, which others may be writing to just now."""

    def __init__(self, path: Path, log: str, *, ours: bool) -> None:
        self.path = path
        self._seen = not ours
        self._look_at = 0.0
        self._log = log
        self._ours = ours
        self._lock = threading.Lock()
        self._open: sqlite3.Connection | None = None

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            if self._open is not None:
                self._open.close()
                self._open = None

    def add(self, deposits: Sequence[Deposit]) -> None:
        """Leave entries.

        Raises:
            sqlite3.Error: it could not be done; nobody was promised anything.
        """
        with self._lock:
            connection = self._connection()
            connection.execute("PRAGMA busy_timeout=5000")
            connection.execute("BEGIN IMMEDIATE")
            try:
                deposit_into(connection, self._log, deposits)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def waiting(self, limit: int) -> list[tuple[int, Deposit]]:
        """The oldest deposits with their sequence numbers; none while the file cannot be read."""
        if not self._there():
            return []
        with self._lock, suppress(sqlite3.Error):
            connection = self._connection()
            connection.execute("PRAGMA busy_timeout=0")
            return [(row[0], _deposit(row[1:])) for row in connection.execute(_SELECT, (self._log, limit))]
        return []

    def scrub(self) -> bool:
        """Leave nothing of deleted deposits in the file's write-ahead log; False while somebody reads it."""
        if not self.path.exists():
            return True
        with self._lock, suppress(sqlite3.Error):
            return not self._connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return False

    def _there(self) -> bool:
        """Whether there is such a file; looked up now and then: those who deposit do not count on being seen."""
        now = time.monotonic()
        if not self._seen and now >= self._look_at:
            self._seen, self._look_at = self.path.exists(), now + _LOOK_SECONDS
        return self._seen

    def forget(self, numbers: Sequence[int]) -> None:
        """Delete deposits that have their place; left for another time while the caller's own transaction is open.

        Those that stay are found to have their place already, by their ids.
        """
        with self._lock, suppress(sqlite3.Error):
            self._connection().executemany("DELETE FROM companyos_inbox WHERE seq = ?", [(n,) for n in numbers])

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            mode = "rwc" if self._ours else "rw"
            self._open = sqlite3.connect(
                f"{self.path.resolve().as_uri()}?mode={mode}",
                uri=True,
                timeout=5,
                isolation_level=None,
                check_same_thread=False,
            )
            # A payload that is dropped one day must not be left over here.
            self._open.execute("PRAGMA secure_delete=ON")
            if self._ours:
                self._open.execute("PRAGMA journal_mode=WAL")
                self._open.execute("PRAGMA synchronous=OFF")
        return self._open


def _deposit(row: tuple[Any, ...]) -> Deposit:
    payload = None if row[5] is None else Payload(*row[5:])
    name, source, raw, leaf, sameness = row[:5]
    return Deposit(name, source, raw, leaf, sameness, payload)
