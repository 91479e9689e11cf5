"""The tables of a log, as a new one gets them; older ones are brought to the same by the migrations."""

from __future__ import annotations

__all__ = ("POSTGRESQL", "SQLITE", "VERSION")

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

POSTGRESQL = """
CREATE TABLE entry (
    idx bigint PRIMARY KEY CHECK (idx >= 0), id text NOT NULL, source text NOT NULL,
    raw bytea NOT NULL, leaf bytea NOT NULL, sameness bytea NOT NULL, UNIQUE (source, id)
);
CREATE TABLE tile (level integer NOT NULL, idx bigint NOT NULL, hashes bytea NOT NULL, PRIMARY KEY (level, idx));
ALTER TABLE tile ALTER COLUMN hashes SET STORAGE EXTERNAL;
CREATE TABLE detached (
    hash bytea PRIMARY KEY, salt bytea NOT NULL, payload bytea NOT NULL,
    retention text NOT NULL, kept_since double precision NOT NULL
);
CREATE INDEX detached_by_retention ON detached (retention, kept_since);
CREATE TABLE head (one integer PRIMARY KEY CHECK (one IN (1, 2)), note bytea NOT NULL) WITH (fillfactor = 10);
INSERT INTO head VALUES (1, '');
CREATE TABLE inbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL, source text NOT NULL, raw bytea NOT NULL,
    leaf bytea NOT NULL, sameness bytea NOT NULL,
    digest bytea, salt bytea, payload bytea, retention text, kept_since double precision
);
CREATE TABLE refusal (
    id text NOT NULL, source text NOT NULL, digest bytea NOT NULL, reason text NOT NULL,
    PRIMARY KEY (source, id, digest)
);
CREATE TABLE schema_version (version integer NOT NULL);
"""
"""For PostgreSQL, in a schema of their own; row 1 of `head` is also the lock of who writes, so it is there from the
first, and empty until there is a checkpoint. The version is for whoever makes the tables to insert."""
