"""An outbox in a SQLite file: one writer at a time, who waits for the disk."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from companyos.ledger.outbox.errors import OutboxForeignError, OutboxUnavailableError
from companyos.ledger.outbox.sql import SCHEMA, SqlOutbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from companyos.ledger.outbox.sql import Session

__all__ = ("SqliteOutbox",)

_NAMES = {
    "meta": "companyos_outbox_meta",
    "item": "companyos_outbox_item",
    "receipt": "companyos_outbox_receipt",
    "prefix": "companyos_outbox_",
    "serial": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "among": "IN (SELECT value FROM json_each(?))",
}


class SqliteOutbox(SqlOutbox):
    """The items of one queue in one SQLite file, which may be the caller's own database.

    Raises:
        OutboxUnavailableError: it cannot be opened.
    """

    def __init__(self, path: Path, queue: str, *, timeout_seconds: float = 30.0) -> None:
        super().__init__(queue)
        self._lock = threading.RLock()
        with _translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=timeout_seconds, isolation_level=None, check_same_thread=False)
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _prepare(self) -> None:
        if not self._there():
            with self._transaction() as session:
                if not self._there():
                    for statement in SCHEMA:
                        session.run(statement)
                    session.run("INSERT INTO {meta} VALUES (1, ?)", (uuid.uuid4().hex,))

    def _there(self) -> bool:
        found = self._db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (_NAMES["receipt"],)).fetchone()
        return found is not None

    def _identity(self) -> str:
        with self._lock:
            return str(self._db.execute(_named("SELECT identity FROM {meta}")).fetchone()[0])

    @contextmanager
    def _transaction(self, *, write: bool = True) -> Iterator[Session]:
        with self._lock, _translated():
            self._db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                yield _SqliteSession(self._db)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _inside(self, connection: object) -> Iterator[Session]:
        if not isinstance(connection, sqlite3.Connection):
            raise OutboxForeignError("no connection to SQLite, where the outbox is", got=type(connection).__name__)
        with _translated():
            if not connection.in_transaction:
                connection.execute("BEGIN")
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (_NAMES["item"],)).fetchone():
                raise OutboxForeignError("the database of the transaction holds no outbox")
            yield _SqliteSession(connection)


class _SqliteSession:
    """One transaction on one connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.now = time.time()

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        cursor = self._db.execute(_named(sql), values)
        cursor.row_factory = None
        return cursor.fetchall()

    def pack(self, values: Sequence[Any]) -> Any:
        return json.dumps(list(values))


@cache
def _named(sql: str) -> str:
    return sql.format(**_NAMES)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise OutboxUnavailableError("the outbox cannot be used", got=error) from error
