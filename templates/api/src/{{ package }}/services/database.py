"""SQLite: one connection a piece of work, its schema made on opening."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

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
        connection = sqlite3.connect(self._path, timeout=5)
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("PRAGMA foreign_keys = ON")
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
            connection.execute("SELECT 1 FROM documents LIMIT 1").fetchone()
