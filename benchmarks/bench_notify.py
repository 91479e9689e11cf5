"""What a worker costs over its store: `python benchmarks/bench_notify.py [--rounds N] [--count N] [--gate]`.

The base claims as many rows as a worker does at a time, from the same tables by the same connection, and deletes them:
two transactions a batch, and nothing else. The worker claims, reads each message, hands it to a channel that takes it
instantly, writes down what became of it, and brings receipts to a ledger on a disk. A base that claims and deletes one
row at a time stands beside it for orientation. SQLite, and a real PostgreSQL that is started for it; the cases take
turns. `--gate` exits with 1 where a bar is missed; judge on a quiet machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.interleaved import Bar, measure, report  # noqa: E402 - after the path
from companyos.ledger import Ledger  # noqa: E402 - the same
from companyos.notify import Message, Notifier, Worker, open_outbox  # noqa: E402 - the same
from companyos.notify.receipts import BATCH  # noqa: E402 - the same
from tests.services import PostgreSQL, find, stop_all  # noqa: E402 - the same

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.ledger.outbox.sql import SqlOutbox

BARS = tuple(Bar(f"{name}: worker", f"{name}: claim and delete", at_least=0.5) for name in ("sqlite", "postgresql"))


class Instant:
    """A channel that takes everything at once."""

    name = "instant"
    outside = False

    def deliver(self, message: Message) -> str:
        """Take it."""
        return message.id


def main(arguments: list[str]) -> int:
    """Measure, print, write JSON; 1 if a bar is missed and `--gate` was given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--gate", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, Ledger.open(f"sqlite:///{folder}/ledger.db") as ledger:
        try:
            urls = {
                "sqlite": f"sqlite:///{folder}/n.db",
                "postgresql": PostgreSQL(find("postgresql")).create_database(),
            }
            cases: dict[str, Callable[[], float]] = {}
            for name, url in urls.items():
                outbox: SqlOutbox = open_outbox(url, "notify")  # type: ignore[assignment] # both are kept in SQL
                cases |= {
                    f"{name}: worker": partial(worker, outbox, ledger, options.count),
                    f"{name}: claim and delete": partial(claim_and_delete, outbox, options.count, BATCH),
                    f"{name}: claim and delete one": partial(claim_and_delete, outbox, options.count // 10, 1),
                }
            seconds = measure(cases, rounds=options.rounds)
        finally:
            stop_all()
    missed = report("notify", seconds, BARS, messages=options.count, batch=BATCH)
    return 1 if missed and options.gate else 0


def fill(outbox: SqlOutbox, count: int) -> None:
    """So many messages wait, and nothing else is there."""
    outbox.purge(-1.0)
    batch = [Message("bench.message", f"text {number}", f"corr-{number}") for number in range(count)]
    Notifier([Instant()], outbox=outbox, at_once=False).publish_batch(batch)


def worker(outbox: SqlOutbox, ledger: Ledger, count: int) -> float:
    """Seconds a message, receipts on the ledger included."""
    fill(outbox, count)
    one = Worker(outbox, {"instant": Instant()}, ledger=ledger)
    started = time.perf_counter()
    tally = one.run(threading.Event(), once=True)
    taken = time.perf_counter() - started
    if tally.delivered != count or outbox.receipts(1):
        raise RuntimeError(f"{tally.delivered} of {count} delivered")
    return taken / count


def claim_and_delete(outbox: SqlOutbox, count: int, batch: int) -> float:
    """Seconds a row."""
    fill(outbox, count)
    started = time.perf_counter()
    while items := outbox.claim(batch, 60.0):
        with outbox._transaction() as session:  # noqa: SLF001 - the same connection, without our bookkeeping
            session.run("DELETE FROM {item} WHERE seq {among}", (session.pack([item.seq for item in items]),))
    return (time.perf_counter() - started) / count


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
