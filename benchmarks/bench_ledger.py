"""What the ledger costs on SQLite, beside bare SQLite and bare hashing: `python benchmarks/bench_ledger.py`.

Durable appends in batches and alone, verification, inclusion proofs. The raw cases insert the very bytes that were
logged into a bare table, with the same durability. `--entries N` is the size of the log that is verified and proved
from (the bars are stated for 1,000,000); `--gate` exits with 1 where a bar is missed; judge on a quiet machine.
"""

from __future__ import annotations

import argparse
import random
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.interleaved import Bar, measure, report
from companyos.ledger import Draft, Ledger
from companyos.ledger.merkle import Frontier, inclusion_path, subtree_cover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

BATCH = 1000
DATA = {
    "order": "o-12345",
    "amount": "19.90",
    "currency": "EUR",
    "lines": [1, 2, 3],
    "customer": {"id": "c-1", "tier": "gold"},
    "paid": True,
}
APPENDS = (
    Bar("ledger, batches of 1,000", "raw bytes, batches of 1,000", at_least=0.30),
    Bar("ledger, batches of 1,000", "raw columns and index, batches of 1,000", at_least=0.50),
    Bar("ledger, one append", "raw columns and index, one insert", at_most=1.5),
)
CHECKS = (
    Bar("verify", "hashing limit", at_least=0.50),
    Bar("verify, deep", "hashing limit", at_least=0.25),
    Bar("inclusion proof", "joined query over a node table", at_most=2.5),
)
ENTRY = "idx INTEGER PRIMARY KEY, id TEXT, source TEXT, raw BLOB, leaf BLOB, sameness BLOB, UNIQUE (source, id)"


def main(arguments: list[str]) -> int:
    """Measure, print tables, write JSON; 1 if a bar is missed and `--gate` was given."""
    parser = argparse.ArgumentParser(description="What the ledger costs on SQLite.")
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--gate", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        missed = appends(Path(name), options.rounds) + checks(Path(name), options.entries, options.rounds)
    return 1 if missed and options.gate else 0


def appends(directory: Path, rounds: int) -> list[Bar]:
    """Durable appends, in batches and alone."""
    with Ledger.open(f"sqlite:///{directory / 'appends.db'}") as ledger:
        rows = _rows(ledger, 20 * BATCH)
        cases: dict[str, Callable[[], float]] = {
            "ledger, batches of 1,000": lambda: _batches(
                lambda: ledger.append_many([Draft("order.paid", DATA)] * BATCH)
            ),
            "raw bytes, batches of 1,000": _raw(
                directory / "bytes.db", "idx INTEGER PRIMARY KEY, raw BLOB", rows, (0, 3)
            ),
            "raw columns and index, batches of 1,000": _raw(directory / "columns.db", ENTRY, rows, range(6)),
        }
        alone: dict[str, Callable[[], float]] = {
            "ledger, one append": lambda: _median(lambda: ledger.append("order.paid", DATA)),
            "raw columns and index, one insert": _single(directory / "single.db", rows),
        }
        return report("ledger-appends", measure(cases, rounds=rounds) | measure(alone, rounds=rounds), APPENDS)


def checks(directory: Path, entries: int, rounds: int) -> list[Bar]:
    """Verification and proofs over a log of `entries`."""
    with Ledger.open(f"sqlite:///{directory / 'checks.db'}") as ledger:
        small = _grown(ledger, 10_000)
        memory = [_peak(ledger.verify)]
        raws = [row.raw for row in small._store.rows(0, 10_000)]  # noqa: SLF001 - the bytes as stored
        _grown(ledger, entries)
        memory.append(_peak(ledger.verify))
        prove, query = _proofs(ledger, directory / "nodes.db", entries)
        cases: dict[str, Callable[[], float]] = {
            "verify": lambda: _timed(ledger.verify) / entries,
            "verify, deep": lambda: _timed(lambda: ledger.verify(deep=True)) / entries,
            "hashing limit": lambda: _timed(lambda: _hash(raws, entries)) / entries,
            "inclusion proof": prove,
            "joined query over a node table": query,
        }
        rounds = rounds if entries <= 100_000 else 3
        print(f"\npeak memory while verifying: {memory[0]:.0f} MB at 10,000, {memory[1]:.0f} MB at {entries:,}")
        more = {"entries": entries, "peak_mb": memory}
        return report("ledger-checks", measure(cases, rounds=rounds, warm_up=0), CHECKS, **more)


def _grown(ledger: Ledger, entries: int) -> Ledger:
    for start in range(len(ledger), entries, 10 * BATCH):
        ledger.append_many([Draft("order.paid", DATA)] * min(10 * BATCH, entries - start))
    return ledger


def _rows(ledger: Ledger, count: int) -> list[tuple[Any, ...]]:
    """Rows as the ledger stores them, with ids of their own."""
    for _ in range(count // BATCH):
        ledger.append_many([Draft("order.paid", DATA)] * BATCH)
    return [tuple(row) for row in ledger._store.rows(0, count)]  # noqa: SLF001 - the rows as stored


def _bare(path: Path, columns: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute(f"CREATE TABLE entry ({columns})")
    return database


def _raw(path: Path, columns: str, rows: Sequence[tuple[Any, ...]], chosen: Iterable[int]) -> Callable[[], float]:
    database, state, places = _bare(path, columns), {"next": 0}, tuple(chosen)
    marks = ", ".join("?" * len(places))

    def insert(batch: list[tuple[Any, ...]]) -> None:
        database.execute("BEGIN IMMEDIATE")
        database.executemany(f"INSERT INTO entry VALUES ({marks})", batch)  # noqa: S608 - question marks
        database.execute("COMMIT")

    def run() -> float:
        taken = 0.0
        for _ in range(10):
            batch = [_renumbered(row, state["next"] + at, places) for at, row in enumerate(rows[:BATCH])]
            state["next"] += BATCH
            taken += _timed(lambda batch=batch: insert(batch))  # type: ignore[misc]
        return taken / (10 * BATCH)

    return run


def _single(path: Path, rows: Sequence[tuple[Any, ...]]) -> Callable[[], float]:
    database, state = _bare(path, ENTRY), {"next": 0}

    def insert() -> None:
        database.execute("BEGIN IMMEDIATE")
        row = _renumbered(rows[0], state["next"], range(6))
        database.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", row)
        database.execute("COMMIT")
        state["next"] += 1

    return lambda: _median(insert)


def _renumbered(row: tuple[Any, ...], index: int, places: Iterable[int]) -> tuple[Any, ...]:
    whole = (index, f"01a1fea1-0000-7000-8000-{index:012x}", *row[2:])
    return tuple(whole[place] for place in places)


def _proofs(ledger: Ledger, path: Path, entries: int) -> tuple[Callable[[], float], Callable[[], float]]:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("CREATE TABLE node (level, idx, hash BLOB, PRIMARY KEY (level, idx)) WITHOUT ROWID")
    database.execute("BEGIN")
    frontier = Frontier()
    for row in ledger._store.rows(0, entries):  # noqa: SLF001 - the hashes as stored
        nodes = [(0, row.index, row.leaf), *frontier.push(row.leaf)]
        database.executemany("INSERT INTO node VALUES (?, ?, ?)", nodes)
    database.execute("COMMIT")
    numbers = random.Random(7)  # noqa: S311 - the same places every time
    chosen = [numbers.randrange(entries) for _ in range(200)]
    wanted = [[pair for span in inclusion_path(index, entries) for pair in subtree_cover(*span)] for index in chosen]
    place = {"at": 0}

    def prove() -> None:
        place["at"] += 1
        ledger.prove(chosen[place["at"] % 200])

    def query() -> None:
        place["at"] += 1
        pairs = wanted[place["at"] % 200]
        values = ", ".join(["(?, ?)"] * len(pairs))
        sql = f"WITH want(level, idx) AS (VALUES {values}) SELECT hash FROM want JOIN node USING (level, idx)"  # noqa: S608 - question marks
        database.execute(sql, [number for pair in pairs for number in pair]).fetchall()

    return lambda: _median(prove, 400), lambda: _median(query, 400)


def _hash(raws: Sequence[bytes], entries: int) -> None:
    """One leaf and one node hash for each entry, in the fastest way there is: the least that verifying can cost."""
    node, leaf_state, node_state = bytes(64), sha256(b"\x00").copy, sha256(b"\x01").copy
    for start in range(0, entries, len(raws)):
        for raw in raws[: entries - start]:
            state = leaf_state()
            state.update(raw)
            state.digest()
            state = node_state()
            state.update(node)
            state.digest()


def _batches(append: Callable[[], object]) -> float:
    return sum(_timed(append) for _ in range(10)) / (10 * BATCH)


def _median(action: Callable[[], object], times: int = 100) -> float:
    return statistics.median(_timed(action) for _ in range(times))


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _peak(action: Callable[[], object]) -> float:
    """Largest memory of this process so far, in MB, after `action`."""
    action()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
