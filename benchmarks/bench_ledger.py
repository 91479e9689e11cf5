"""Measure the ledger on this machine: appends, processes, verification, proofs, replay.

    python benchmarks/bench_ledger.py [--entries 2000] [--json]

Each figure is the median of the rounds. The raw line is the yardstick: the same number of commits of rows of the same
size into a bare SQLite file with the same durability, in the same minute.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.ledger import Database, Ledger, Projection
from companyos.ports import Personal

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 3
DATA = {"amount": "19.90", "currency": "EUR", "items": ["a", "b", "c"], "note": "x" * 200}


class _Nothing(Projection):
    name = "nothing"

    def prepare(self, database: Database) -> None:
        """Nothing to prepare."""

    def apply(self, database: Database, entry: Any) -> None:
        """Nothing to apply: the cursor is what is measured."""

    def state(self, database: Database) -> Any:  # noqa: ARG002 - as declared
        """No state."""
        return {}


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _raw(path: Path, count: int) -> None:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, raw BLOB)")
    for number in range(count):
        database.execute("INSERT INTO t VALUES (?, ?)", (number, b"x" * 500))
    database.close()


def _append(url: str, count: int, data: dict[str, Any]) -> None:
    with Ledger.open(url) as ledger:
        for _ in range(count):
            ledger.append("bench.entry", data)


def _processes(url: str, count: int) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append, args=(url, count // 4, DATA)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _round(directory: Path, count: int) -> dict[str, float]:
    url = f"sqlite:///{directory / 'l.db'}"
    figures = {
        "raw_commits_per_s": count / _timed(lambda: _raw(directory / "raw.db", count)),
        "appends_per_s": count / _timed(lambda: _append(url, count, DATA)),
    }
    personal = {**DATA, "name": Personal("Ann", "ann")}
    target = f"sqlite:///{directory / 'p.db'}"
    figures["personal_appends_per_s"] = count / 4 / _timed(lambda: _append(target, count // 4, personal))
    shared = f"sqlite:///{directory / 's.db'}"
    figures["appends_of_4_processes_per_s"] = count / _timed(lambda: _processes(shared, count))
    with Ledger.open(url) as ledger:
        figures["verified_entries_per_s"] = count / _timed(ledger.verify)
        figures["proofs_per_s"] = 200 / _timed(lambda: [ledger.prove(n * count // 200) for n in range(200)])
        database = sqlite3.connect(":memory:", isolation_level=None)
        figures["replayed_entries_per_s"] = count / _timed(lambda: ledger.replay(_Nothing(database)))
        database.close()
    figures["bytes_per_entry"] = (directory / "l.db").stat().st_size / count
    return figures


def main() -> None:
    """Run the rounds and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rounds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as directory:
            rounds.append(_round(Path(directory), options.entries))
    result: dict[str, Any] = {name: round(statistics.median(r[name] for r in rounds), 1) for name in rounds[0]}
    result |= {"entries": options.entries, "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    result |= {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        print(f"{name:32}{value}")


if __name__ == "__main__":
    main()
