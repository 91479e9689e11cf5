"""The tables of a log, as a new one gets them; older ones are brought to the same by the migrations."""

from __future__ import annotations

__all__ = ("SQLITE", "VERSION")

VERSION = 2
"""The newest schema that this code knows."""

SQLITE = f"""
CREATE TABLE IF NOT EXISTS entry (
    idx INTEGER PRIMARY KEY CHECK (idx >= 0), id TEXT NOT NULL, source TEXT NOT NULL,
    raw BLOB NOT NULL, leaf BLOB NOT NULL, sameness BLOB NOT NULL, UNIQUE (source, id)
);
CREATE TABLE IF NOT EXISTS tile (
    level INTEGER NOT NULL, idx INTEGER NOT NULL, hashes BLOB NOT NULL, PRIMARY KEY (level, idx)
);
CREATE TABLE IF NOT EXISTS detached (
    hash BLOB PRIMARY KEY, salt BLOB NOT NULL, payload BLOB NOT NULL,
    retention TEXT NOT NULL, kept_since REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS detached_by_retention ON detached (retention, kept_since);
CREATE TABLE IF NOT EXISTS head (one INTEGER PRIMARY KEY CHECK (one IN (1, 2)), note BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS inbox_file (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refusal (
    id TEXT NOT NULL, source TEXT NOT NULL, digest BLOB NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (source, id, digest)
);
PRAGMA user_version = {VERSION};
"""
"""For SQLite; row 1 of `head` is the newest checkpoint, row 2 the newest that witnesses cosigned."""
