"""What the processes do that write to one log at once, and get killed at it: a module that loads fast."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from multiprocessing.reduction import DupFd
from typing import TYPE_CHECKING, Any

from companyos.ledger import Ledger, Projection

if TYPE_CHECKING:
    from pathlib import Path

    from companyos.ports import Entry

ORIGIN = "test.example/log"
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["__main__", "companyos.ledger", "tests.ledger.ledger_workers"])


class Descriptor:
    """A file descriptor that survives the way to another process."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        return _detach, (DupFd(self.number),)


def _detach(duplicate: Any) -> int:
    return duplicate.detach()


def append_many(url: str, name: str, count: int, results: Any) -> None:
    """Append `count` entries and report their receipts at the end."""
    with Ledger.open(url, origin=ORIGIN) as ledger:
        receipts = [ledger.append("work.done", {"n": n}, id=f"{name}-{n}") for n in range(count)]
    results.put([(receipt.id, receipt.index) for receipt in receipts])


def append_same(url: str, count: int, results: Any) -> None:
    """Append the entries that the others append too, and report their places."""
    with Ledger.open(url, origin=ORIGIN) as ledger:
        results.put([ledger.append("work.done", {"n": n}, id=f"same-{n}").index for n in range(count)])


def append_until_killed(url: str, name: str, report: int) -> None:
    """Append for ever; write to the pipe before (`>`) and after (`id index`) each append."""
    with Ledger.open(url, origin=ORIGIN) as ledger:
        number = 0
        while True:
            os.write(report, b">\n")
            receipt = ledger.append("work.done", {"pad": "x" * 2000}, id=f"{name}-{number}", detach=number % 3 == 0)
            os.write(report, f"{receipt.id} {receipt.index}\n".encode())
            number += 1


class Count(Projection):
    """How many entries there are of each type, and the sum of their numbers."""

    name = "count"

    def prepare(self, database: sqlite3.Connection) -> None:
        """Make the table."""
        database.execute("CREATE TABLE IF NOT EXISTS tally (type TEXT PRIMARY KEY, times INTEGER, total INTEGER)")

    def apply(self, database: sqlite3.Connection, entry: Entry) -> None:
        """Count one entry."""
        number = (entry.data or {}).get("n", 0)
        database.execute("INSERT OR IGNORE INTO tally VALUES (?, 0, 0)", (entry.type,))
        database.execute("UPDATE tally SET times = times + 1, total = total + ? WHERE type = ?", (number, entry.type))

    def state(self, database: sqlite3.Connection) -> Any:
        """All rows."""
        return [list(row) for row in database.execute("SELECT type, times, total FROM tally ORDER BY type")]


class Reporting(Count):
    """The same, writing a dot to a pipe for each entry: applied, and not yet committed."""

    def __init__(self, database: sqlite3.Connection, report: int) -> None:
        self.report = report
        super().__init__(database)

    def apply(self, database: sqlite3.Connection, entry: Entry) -> None:
        """Count one entry, and say so."""
        super().apply(database, entry)
        os.write(self.report, b".")


def replay_until_killed(url: str, path: str, report: int) -> None:
    """Bring the projection up to date, reporting each entry."""
    database = sqlite3.connect(path, isolation_level=None, timeout=30)
    with Ledger.open(url, origin=ORIGIN) as ledger:
        ledger.replay(Reporting(database, report))
    os.write(report, b"!")


def erase_in_a_process(url: str, origin: str, person: str, begun: Path) -> None:
    """Erase a person, and tell in a file when it begins and when it is done."""
    with Ledger.open(url, origin=origin) as log:
        begun.write_text("begun")
        log.erase(person, reason="asked for it")
        begun.write_text("done")
