"""What the processes do that write to one log at once, and get killed at it: a module that loads fast."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from multiprocessing.reduction import DupFd
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest

from companyos.ledger import Draft, Ledger, Projection

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


class Place(NamedTuple):
    """Where a log and its keys are."""

    url: str
    """Of the log."""
    folder: Path
    """Of its key and key store."""

    def open(self, **options: Any) -> Ledger:
        """The log, open for reading and writing."""
        keys = {"key": f"file:{self.folder / 'ledger.pem'}", "keystore": self.folder / "people.db"}
        return Ledger.open(self.url, origin=ORIGIN, **keys, **options)


def place_of(request: pytest.FixtureRequest) -> Place:
    """A log that is not there yet, on the store that the fixture's parameter names."""
    folder = request.getfixturevalue("tmp_path")
    if request.param == "postgresql":
        return Place(request.getfixturevalue("postgresql_url"), folder)
    return Place(f"sqlite:///{folder / 'new' / 'ledger.db'}", folder)


STORES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.service("postgresql"))]


def gather(target: Any, calls: Any) -> list[Any]:
    """What processes report that run `target`, each with other arguments."""
    results = PROCESSES.SimpleQueue()
    workers = [PROCESSES.Process(target=target, args=(*call, results)) for call in calls]
    for worker in workers:
        worker.start()
    found = [results.get() for _ in workers]
    for worker in workers:
        worker.join(timeout=60)
    assert [worker.exitcode for worker in workers] == [0] * len(workers)
    return found


def append_many(place: Place, name: str, count: int, results: Any) -> None:
    """Append `count` entries and report their receipts at the end."""
    try:
        with place.open() as ledger:
            receipts = [ledger.append("work.done", {"n": n}, id=f"{name}-{n}") for n in range(count)]
        results.put([(receipt.id, receipt.index) for receipt in receipts])
    except BaseException as error:
        results.put(repr(error))
        raise


def append_same(place: Place, count: int, results: Any) -> None:
    """Append the entries that the others append too, and report their places."""
    with place.open() as ledger:
        results.put([ledger.append("work.done", {"n": n}, id=f"same-{n}").index for n in range(count)])


def append_until_killed(place: Place, name: str, path: Path) -> None:
    """Append for ever; write to a file before (`>`) and after (`id index`) each append, synced before the next."""
    report = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with place.open() as ledger:
        number = 0
        while True:
            os.write(report, b">\n")
            receipt = ledger.append("work.done", {"pad": "x" * 2000}, id=f"{name}-{number}", detach=number % 3 == 0)
            os.write(report, f"{receipt.id} {receipt.index}\n".encode())
            os.fdatasync(report)
            number += 1


def append_and_sequence(place: Place, report: Any) -> None:
    """Append many together, in a transaction that is begun before they get their places; report each receipt."""
    with place.open() as ledger:
        for number in range(1000):
            ledger.sequence()  # so that the next is not written on a guess, in one statement
            drafts = [Draft("work.done", {"n": n}, f"{number}-{n}") for n in range(4000)]
            receipts = ledger.append_many(drafts)
            report.send([(receipt.id, receipt.index) for receipt in receipts])


def deposit_and_die(place: Place, path: Path) -> None:
    """Append in a transaction of the caller's own, commit it, and be killed before anybody gives it a place."""
    connection = psycopg.connect(place.url) if place.url.startswith("postgresql") else sqlite3.connect(path)
    ledger = place.open()
    ledger.append("work.done", {"n": 1}, id="left-behind", connection=connection)
    connection.commit()
    os.kill(os.getpid(), signal.SIGKILL)


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
