"""SQLite: one connection a piece of work, its schema made on opening."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from companyos.observability import database_call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ("Database",)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    id TEXT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    org_id TEXT NOT NULL,
    clearance TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    totp_secret TEXT NOT NULL,
    totp_last_step INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS documents (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL REFERENCES accounts (id),
    org_id TEXT NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    region TEXT NOT NULL,
    contains_pii INTEGER NOT NULL,
    required_clearance TEXT NOT NULL,
    created_at TEXT NOT NULL,
    deleted_at TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS documents_by_owner ON documents (owner, created_at DESC, id DESC);
"""


class _Connection(sqlite3.Connection):
    """Measures each statement, as the dashboard shows it among the dependencies; cursors are not measured."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """As `sqlite3.Connection`."""
        with database_call("sqlite", sql.split(maxsplit=1)[0].upper()):
            return super().execute(sql, parameters)


class Database:
    """A SQLite file in write-ahead mode."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self.work() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)

    @contextmanager
    def work(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are kept together if the block ends well, and not at all otherwise."""
        connection = sqlite3.connect(self._path, timeout=5, factory=_Connection)
        connection.row_factory = sqlite3.Row
        try:
            connection.cursor().execute("PRAGMA foreign_keys = ON")
            with connection:
                yield connection
        finally:
            connection.close()

    def ping(self) -> None:
        """Return if the database answers.

        Raises:
            sqlite3.Error: it does not.
        """
        with self.work() as connection:
            # By a cursor: probes are as quiet here as they are in the log.
            connection.cursor().execute("SELECT 1 FROM documents LIMIT 1").fetchone()
