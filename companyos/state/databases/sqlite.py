"""The embedded database: one SQLite file in WAL mode, `synchronous=FULL`, so that a commit is on the disk."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from companyos.state.errors import StateUnavailableError
from companyos.state.interface import Changes, Committed, Row
from companyos.state.migration import HEAD, VERSION_TABLE, check_revision, upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ("SCHEMA", "SqliteDatabase")

# What migration 001 makes of an empty file, so that the embedded store starts without SQLAlchemy; a test compares.
SCHEMA = """
CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY, payload TEXT, payload_hash TEXT, version BIGINT NOT NULL, updated_at DATETIME NOT NULL
);
CREATE TABLE state_audit (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, action TEXT NOT NULL,
    timestamp DATETIME NOT NULL, version BIGINT NOT NULL
);
CREATE TABLE state_hash_index (
    hash TEXT NOT NULL, session_id TEXT NOT NULL PRIMARY KEY, created_at DATETIME NOT NULL
);
CREATE INDEX ix_state_hash_index_hash ON state_hash_index (hash);
CREATE TABLE state_fabric (
    id INTEGER NOT NULL PRIMARY KEY, version_floor BIGINT NOT NULL, identity TEXT NOT NULL
);
INSERT INTO state_fabric (id, version_floor, identity) VALUES (1, 0, lower(hex(randomblob(16))));
CREATE TABLE state_alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO state_alembic_version VALUES ('001_create_sessions_tables');
"""
# SQLite keeps the type it was given: what somebody edited into a blob, or into text, must come back as its bytes.
_READ = """
SELECT CAST(s.payload AS BLOB), s.payload_hash, s.version, p.position
FROM (SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'state_audit'), 0) + 1 AS position) p
LEFT JOIN sessions s ON s.id = ?
"""
_SAVE = """
INSERT INTO sessions (id, payload, payload_hash, version, updated_at)
VALUES (?, ?, ?, ?, strftime('%Y-%m-%d %H:%M:%f000', 'now'))
ON CONFLICT (id) DO UPDATE SET
payload = excluded.payload, payload_hash = excluded.payload_hash, version = excluded.version,
updated_at = excluded.updated_at
"""
_INDEX = """
INSERT INTO state_hash_index (hash, session_id, created_at) VALUES (?, ?, strftime('%Y-%m-%d %H:%M:%f000', 'now'))
ON CONFLICT (session_id) DO UPDATE SET hash = excluded.hash, created_at = excluded.created_at
"""
_AUDIT = """
INSERT INTO state_audit (session_id, action, timestamp, version)
VALUES (?, ?, strftime('%Y-%m-%d %H:%M:%f000', 'now'), ?)
"""
_VERSION = """
SELECT s.version, s.payload IS NOT NULL, f.version_floor FROM state_fabric f LEFT JOIN sessions s ON s.id = ?
"""
_CHANGES = "SELECT session_id, version, id FROM state_audit WHERE id >= ? ORDER BY id DESC LIMIT ?"
_ROWS = """
SELECT s.id, CAST(s.payload AS BLOB), s.payload_hash, i.hash
FROM sessions s LEFT JOIN state_hash_index i ON i.session_id = s.id WHERE s.id > ? ORDER BY s.id LIMIT ?
"""
_RAISE = """
UPDATE state_fabric SET version_floor = max(
    version_floor, coalesce((SELECT max(version) FROM sessions WHERE payload IS NULL AND updated_at < ?), 0)
)
"""
_PAGE = 256


class SqliteDatabase:
    """States in one SQLite file; any number of threads and processes may have it open.

    Raises:
        StateSchemaError: the file is of a newer version, or must be migrated first.
        StateUnavailableError: it cannot be opened.
    """

    def __init__(self, path: Path, *, timeout_seconds: float = 5.0) -> None:
        self._path = path
        self._lock = threading.RLock()
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=timeout_seconds, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def read(self, key: str) -> Row:
        """The session at this moment."""
        with self._translated():
            payload, digest, version, position = self._db.execute(_READ, (key,)).fetchone()
        return Row(payload, digest, version or 0, position)

    def write(self, key: str, payload: bytes, digest: str, expected_version: int | None) -> Committed | None:
        """Commit a payload under the next version; None if the session has not the expected version."""
        with self._transaction():
            version = self._next_version(key, expected_version)
            if version is None:
                return None
            self._db.execute(_SAVE, (key, payload.decode(), digest, version))
            self._db.execute(_INDEX, (digest, key))
            return self._audited(key, "save", version)

    def delete(self, key: str, expected_version: int | None) -> Committed | None:
        """Commit that there is no payload, under the next version; None if there was none, or another version."""
        with self._transaction():
            version = self._next_version(key, expected_version, present=True)
            if version is None:
                return None
            self._db.execute(_SAVE, (key, None, None, version))
            self._db.execute("DELETE FROM state_hash_index WHERE session_id = ?", (key,))
            return self._audited(key, "delete", version)

    def changes(self, since: int | None, limit: int) -> Changes:
        """What was committed at position `since` or higher: SQLite has one writer, so ids are in order of commits."""
        with self._translated():
            found = self._db.execute(_CHANGES, (since or 0, limit + 1)).fetchall()
        start = since or 0
        if len(found) > limit:
            start = found[limit - 1][2]
        versions: dict[str, int] = {}
        for key, version, _ in found[:limit]:
            versions.setdefault(key, version)
        return Changes(versions, start, found[0][2] + 1 if found else start)

    def rows(self) -> Iterator[tuple[str, bytes | None, str | None, str | None]]:
        """Key, payload, digest and the digest of the index, of every session, in constant memory."""
        last = ""
        while True:
            with self._translated():
                page = self._db.execute(_ROWS, (last, _PAGE)).fetchall()
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    def purge(self, older_than_seconds: float) -> int:
        """Forget sessions that were deleted that long ago, and old audit rows."""
        with self._transaction():
            (before,) = self._db.execute(
                "SELECT strftime('%Y-%m-%d %H:%M:%f000', 'now', ?)", (f"{-older_than_seconds:+f} seconds",)
            ).fetchone()
            self._db.execute(_RAISE, (before,))
            self._db.execute("DELETE FROM state_audit WHERE timestamp < ?", (before,))
            return self._db.execute("DELETE FROM sessions WHERE payload IS NULL AND updated_at < ?", (before,)).rowcount

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def durability(self) -> tuple[str, int]:
        """`journal_mode` and `synchronous` as the database reports them; 2 is FULL."""
        with self._translated():
            return (
                str(self._db.execute("PRAGMA journal_mode").fetchone()[0]),
                int(self._db.execute("PRAGMA synchronous").fetchone()[0]),
            )

    def _next_version(self, key: str, expected: int | None, *, present: bool = False) -> int | None:
        version, there, floor = self._db.execute(_VERSION, (key,)).fetchone()
        if present and not there:
            return None
        if expected is not None and expected != version and (expected or there):
            return None
        return int(floor if version is None else version) + 1

    def _audited(self, key: str, action: str, version: int) -> Committed:
        return Committed(version, int(self._db.execute(_AUDIT, (key, action, version)).lastrowid or 0))

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        if not self._revision():
            with self._transaction():
                if not self._revision():
                    for statement in SCHEMA.split(";\n")[:-1]:
                        self._db.execute(statement)
        revision = self._revision()
        if revision != HEAD:
            check_revision(revision, str(self._path))
            upgrade(f"sqlite:///{self._path}")
        self.identity = str(self._db.execute("SELECT identity FROM state_fabric").fetchone()[0])

    def _revision(self) -> str | None:
        if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (VERSION_TABLE,)).fetchone():
            return None
        return str(self._db.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()[0])  # noqa: S608 - constant

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Iterator[Any]:
        with self._lock:
            try:
                yield
            except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
                raise StateUnavailableError(
                    f"cannot use the states in {self._path}",
                    got=error,
                    expected="a database of states in a directory that may be written",
                    hint="check the path, the rights and the space left, or restore the file",
                ) from error
