"""Budgets in one SQLite file: durable (WAL, `synchronous=FULL`), for all threads and processes of a machine."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from companyos.finops.budgets.errors import BudgetStoreError
from companyos.finops.budgets.stores.sql import SCHEMA, SqlStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from companyos.finops.budgets.interface import Fence
    from companyos.finops.budgets.stores.sql import Change

__all__ = ("SqliteBudgetStore",)


class SqliteBudgetStore(SqlStore):
    """A budget in a file of its own.

    A file that was deleted, exchanged or copied back while it is open is noticed at the next call, and answers `lost`.
    `clock` is for tests; what processes of one machine share is the machine's.

    Raises:
        BudgetStoreError: the file cannot be opened.
    """

    def __init__(self, path: Path, *, timeout_seconds: float = 60.0, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock = path, clock
        self._lock = threading.Lock()
        with _translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=timeout_seconds, isolation_level=None, check_same_thread=False)
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._ensure()
            except BaseException:
                self._db.close()
                raise
            self._inode = path.stat().st_ino

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _ensure(self) -> None:
        if self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'budget_journal'").fetchone():
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for statement in SCHEMA:
                self._db.execute(
                    statement.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS").replace(
                        "CREATE INDEX", "CREATE INDEX IF NOT EXISTS"
                    )
                )
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _change(self, fence: Fence | None) -> Iterator[Change]:
        with self._lock, _translated():
            self._db.execute("BEGIN IMMEDIATE" if fence is not None else "BEGIN")
            try:
                change = _SqliteChange(self._db, self._clock(), self._same_file(), fence)
                yield change
                change.finish()
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _making(self) -> Iterator[Change]:
        with self._lock, _translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield _SqliteChange(self._db, self._clock(), True, None)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def _identity(self, change: Change) -> str:  # noqa: ARG002 - the same for every transaction
        return str(self._inode)

    def _same_file(self) -> bool:
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False


class _SqliteChange:
    """One transaction; `BEGIN IMMEDIATE` has made it the only writer."""

    def __init__(self, db: sqlite3.Connection, now: float, same_file: bool, fence: Fence | None) -> None:
        self._db = db
        row = db.execute("SELECT epoch, seq FROM budget_meta").fetchone()
        epoch, seq = row or ("", 0)
        self.seq = int(seq)
        self._first = self.seq
        self.now = now
        self.lost = not same_file or (fence is not None and (epoch != fence.epoch or self.seq < fence.seen))

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, values).fetchall()

    def lock(self, keys: Iterable[str]) -> dict[str, tuple[int, int]]:
        query = "SELECT spent, reserved FROM budget_level WHERE key = ?"
        rows = {key: self._db.execute(query, (key,)).fetchone() for key in keys}
        return {key: row for key, row in rows.items() if row is not None}

    def number(self) -> int:
        self.seq += 1
        return self.seq

    def finish(self) -> None:
        if self.seq != self._first:
            self._db.execute("UPDATE budget_meta SET seq = ?", (self.seq,))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise BudgetStoreError("the store of the budget cannot be used", got=error) from error
