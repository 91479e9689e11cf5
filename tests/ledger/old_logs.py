"""Logs as the previous version kept them: its tables, with entries and a checkpoint that real keys made."""

from __future__ import annotations

import os
import sqlite3
import sys
from typing import TYPE_CHECKING

from companyos.ledger import Draft, Ledger
from companyos.ledger.merkle import Frontier

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN = "test.example/log"
SCHEMA_1 = """
CREATE TABLE entry (
    idx INTEGER PRIMARY KEY CHECK (idx >= 0), id TEXT NOT NULL, source TEXT NOT NULL,
    raw BLOB NOT NULL, leaf BLOB NOT NULL, sameness BLOB NOT NULL, UNIQUE (source, id)
);
CREATE TABLE node (
    level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (level, idx)
) WITHOUT ROWID;
CREATE TABLE detached (hash BLOB PRIMARY KEY, salt BLOB NOT NULL, payload BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), note BLOB NOT NULL);
PRAGMA user_version = 1;
"""


def write_old_log(path: Path, count: int, *, detached: int = 3) -> None:
    """Append `count` entries, the first few of them detached, and put them into tables of schema 1."""
    with Ledger.open(f"sqlite:///{path}", origin=ORIGIN) as ledger:
        for start in range(0, count, 5000):
            drafts = (
                Draft("work.done", {"n": n}, id=f"id-{n}", detach=n < detached)
                for n in range(start, min(start + 5000, count))
            )
            ledger.append_many(drafts)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("BEGIN")
    payloads = database.execute("SELECT hash, salt, payload FROM detached").fetchall()
    rows = database.execute("SELECT * FROM entry ORDER BY idx").fetchall()
    note = database.execute("SELECT note FROM head").fetchall()
    for table in ("entry", "tile", "detached", "head", "inbox_file", "refusal"):
        database.execute(f"DROP TABLE {table}")
    for statement in SCHEMA_1.split(";"):
        database.execute(statement)
    frontier = Frontier()
    database.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", rows)
    database.executemany("INSERT INTO node VALUES (?, ?, ?)", (node for row in rows for node in frontier.push(row[4])))
    database.executemany("INSERT INTO detached VALUES (?, ?, ?)", payloads)
    database.executemany("INSERT INTO head VALUES (1, ?)", note)
    database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.execute("VACUUM")
    database.close()


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, and the version."""
    database = sqlite3.connect(path)
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    found = {name: sorted(database.execute(f"SELECT * FROM {name}")) for name in tables}  # noqa: S608 - names of tables
    found["user_version"] = database.execute("PRAGMA user_version").fetchall()
    database.close()
    return found


def peak_of_migrating(small: str, large: str) -> int:
    """By how many KiB the largest use of memory grows from migrating a small log to migrating a large one."""
    import resource

    peaks = []
    for path in (small, large):
        Ledger.open(f"sqlite:///{path}", origin=ORIGIN).close()
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peaks[1] - peaks[0]


if __name__ == "__main__":
    os.write(1, str(peak_of_migrating(*sys.argv[1:])).encode())
