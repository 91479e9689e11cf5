"""What the processes do that change one identity store at once, and get killed at it: a module that loads fast."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import TYPE_CHECKING, Any, NamedTuple

from companyos.authz.identity import IdentityStore, Subject
from companyos.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["__main__", "sqlalchemy", "psycopg", "companyos.authz.identity.store", "tests.authz.identity.identity_workers"]
)


class Place(NamedTuple):
    """Where a ledger and an identity store are."""

    url: str
    """Of the identity store."""
    folder: Path
    """Of the ledger and its keys."""

    def ledger(self, kind: type[Ledger] = Ledger) -> Ledger:
        """The ledger, open."""
        return kind.open(f"sqlite:///{self.folder / 'ledger.db'}", origin="test.example/log")


def work(place: Place, name: str, count: int, results: Any) -> None:
    """Put subjects, all of them of one's own, and everybody's one subject again and again."""
    with place.ledger() as ledger, IdentityStore.open(place.url, ledger) as store:
        for number in range(count):
            store.put(Subject(f"{name}-{number}", org_id="shop"), Subject("everybody", org_id=f"{name}-{number}"))
    results.put(name)


def put_until_killed(place: Place, name: str, path: Path) -> None:
    """Put two subjects at a time for ever; write to a file before (`>`) and after (their number) each put."""
    report = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with place.ledger() as ledger, IdentityStore.open(place.url, ledger) as store:
        for number in range(1_000_000):
            os.write(report, b">\n")
            store.put(Subject(f"{name}-{number}-a"), Subject(f"{name}-{number}-b"))
            os.write(report, f"{number}\n".encode())


class KilledAfterwards(Ledger):
    """A ledger whose process dies as soon as a change is in it."""

    def append_many(self, drafts: Any) -> Any:
        """Append, and be killed."""
        super().append_many(drafts)
        os.kill(os.getpid(), signal.SIGKILL)


def die_between(place: Place) -> None:
    """Suspend somebody, and die between the ledger and the tables."""
    with place.ledger(KilledAfterwards) as ledger, IdentityStore.open(place.url, ledger) as store:
        store.suspend("u-1")
