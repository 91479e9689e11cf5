"""What resolving a subject costs: `IdentityStore.resolve()` against the bare SQL that gives the same rows.

Every round runs each case once, in turn, so that a slow phase of the machine meets all alike.
Run: `python benchmarks/bench_identity.py [--rounds N] [--url postgresql://…] [--gate]`.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.interleaved import Bar, measure, report
from companyos.authz.identity import Attribute, Binding, IdentityStore, Role, Subject
from companyos.authz.identity.records import moment
from companyos.authz.identity.resolving import query
from companyos.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

SUBJECTS = 2_000
CALLS = 200
BULK = 100
OURS, BARE, MANY = "resolve()", "the same rows by bare SQL", f"resolve_many() of {BULK}, per subject"
BARS = (Bar(OURS, BARE, at_most=2.5),)


def fill(store: IdentityStore) -> None:
    """Subjects of ten organisations with attributes at each scope, two roles each."""
    store.put(*(Role(f"r-{number}") for number in range(20)))
    for org in range(10):
        store.put(
            Attribute("jurisdiction", "EU", "org", f"o-{org}"), Attribute("clearance", "low", "workspace", f"w-{org}")
        )
    for start in range(0, SUBJECTS, 500):
        store.put(*(record for number in range(start, start + 500) for record in of_one(number)))


def of_one(number: int) -> tuple[Subject | Attribute | Binding, ...]:
    """A subject, and what is its own."""
    name = f"u-{number}"
    return (
        Subject(name, org_id=f"o-{number % 10}", workspace_id=f"w-{number % 10}"),
        Attribute("clearance", "high", "subject", name),
        Attribute("data_domain", "finance", "subject", name),
        Binding(name, f"r-{number % 20}"),
        Binding(name, f"r-{(number + 7) % 20}", f"w-{number % 10}"),
    )


def bare(url: str) -> tuple[Callable[[str], object], Callable[[], None]]:
    """A function that reads the rows with nothing but the driver, and one that ends it."""
    at = datetime.now(UTC)
    if url.startswith("sqlite"):
        file = sqlite3.connect(url.removeprefix("sqlite:///"))
        statement = query(postgresql=False, count=1)
        text = moment(at)
        return (
            lambda name: file.execute(statement, {"s0": name, "workspace": None, "at": text}).fetchall(),
            file.close,
        )
    import psycopg

    server: Any = psycopg.connect(url, autocommit=True, options="-c search_path=companyos_identity")
    server.prepare_threshold = 0
    server.execute("SET plan_cache_mode = force_generic_plan")
    statement = query(postgresql=True, count=1)
    return lambda name: server.execute(statement, {"s": name, "workspace": None, "at": at}).fetchall(), server.close


def timed(call: Callable[[str], object]) -> Callable[[], float]:
    """Seconds per call, over subjects all over the table."""

    def run() -> float:
        started = time.perf_counter()
        for number in range(CALLS):
            call(f"u-{number * 977 % SUBJECTS}")
        return (time.perf_counter() - started) / CALLS

    return run


def bulk(store: IdentityStore) -> float:
    """Seconds per subject when many are resolved at once."""
    names = [f"u-{number * 977 % SUBJECTS}" for number in range(BULK)]
    started = time.perf_counter()
    store.resolve_many(names)
    return (time.perf_counter() - started) / BULK


def main() -> int:
    """Measure and print; 1 if a bar is missed and `--gate` was given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--url", help="an empty PostgreSQL database; default: SQLite")
    parser.add_argument("--gate", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        url = arguments.url or f"sqlite:///{Path(scratch) / 'identity.db'}"
        with (
            Ledger.open(f"sqlite:///{Path(scratch) / 'ledger.db'}") as ledger,
            IdentityStore.open(url, ledger) as store,
        ):
            fill(store)
            call, close = bare(url)
            cases = {OURS: timed(store.resolve), BARE: timed(call), MANY: lambda: bulk(store)}
            seconds = measure(cases, rounds=arguments.rounds)
            close()
    missed = report("identity", seconds, BARS, subjects=SUBJECTS, database=url.partition(":")[0])
    return int(bool(missed) and arguments.gate)


if __name__ == "__main__":
    sys.exit(main())
