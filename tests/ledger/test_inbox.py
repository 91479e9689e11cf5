"""Appending in a transaction of the caller's own: logged if and only if that commits, and never in anybody's way."""

from __future__ import annotations

import asyncio
import signal
import sqlite3

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.orm import Session

from companyos.errors import ConfigError
from companyos.ledger import IdReusedError, NotPlacedError
from tests.ledger.ledger_workers import PROCESSES, STORES, deposit_and_die, place_of


@pytest.fixture(params=STORES)
def place(request):
    """Where the log of this test is kept."""
    return place_of(request)


@pytest.fixture
def ledger(place):
    """An empty log, verified when the test is over."""
    with place.open() as opened:
        yield opened
        opened.verify()


class Caller:
    """A database of the caller's: a file of its own beside a log in a file, the same database for one on a server."""

    def __init__(self, place):
        self.place = place
        self.path = place.folder / "own.db"
        self.server = place.url.startswith("postgresql")
        self._open = []

    def driver(self):
        """A connection of the driver's, in a transaction."""
        return self._kept(psycopg.connect(self.place.url) if self.server else sqlite3.connect(self.path))

    def core(self):
        """A connection of SQLAlchemy's."""
        return self._kept(self._engine().connect())

    def session(self):
        """A session of SQLAlchemy's."""
        return self._kept(Session(self._engine()))

    def close(self):
        """Close all of them."""
        for one in reversed(self._open):
            one.close() if hasattr(one, "close") else one.dispose()

    def _engine(self):
        url = self.place.url.replace("postgresql:", "postgresql+psycopg:") if self.server else f"sqlite:///{self.path}"
        return self._kept(sqlalchemy.create_engine(url))

    def _kept(self, one):
        self._open.append(one)
        return one


@pytest.fixture
def caller(place):
    """What the caller has."""
    own = Caller(place)
    yield own
    own.close()


@pytest.mark.parametrize("kind", ["driver", "core", "session"])
def test_commit_logs_and_rollback_does_not(ledger, caller, kind):
    """The entry of a transaction that is rolled back is never logged, that of one that is committed is, once."""
    connection = getattr(caller, kind)()
    given_up = ledger.append("order.placed", {"n": 1}, connection=connection)
    connection.rollback()
    pending = ledger.append("order.placed", {"n": 2}, connection=connection)
    connection.commit()

    receipt = ledger.wait(pending)

    assert (receipt.id, receipt.index, receipt.leaf_hash) == (pending.id, 0, pending.digest)
    assert ledger.wait(pending) == receipt
    with pytest.raises(NotPlacedError):
        ledger.wait(given_up, timeout_seconds=0.05)
    assert len(ledger) == 1


def test_an_open_transaction_blocks_nobody(ledger, caller):
    """While a caller's transaction is open, others append, in transactions of their own and without."""
    connection = caller.driver()
    late = ledger.append("order.placed", {"n": 1}, connection=connection)
    indexes = [ledger.append("order.placed", {"n": n}).index for n in range(2, 5)]
    if caller.server:
        other = caller.driver()
        pending = ledger.append("order.placed", {"n": 9}, connection=other)
        other.commit()
        indexes.append(ledger.wait(pending).index)
    with pytest.raises(NotPlacedError, match=late.id):
        ledger.wait(late, timeout_seconds=0)
    connection.commit()

    assert indexes == list(range(len(indexes)))
    assert ledger.wait(late).index == len(indexes)


def test_the_same_twice_in_transactions(ledger, caller):
    """The same entry in two transactions is logged once, and both are told of the same place."""
    connection = caller.driver()
    first = ledger.append("order.placed", {"n": 1}, id="same", connection=connection)
    second = ledger.append("order.placed", {"n": 1}, id="same", connection=connection)
    connection.commit()
    receipts = [ledger.wait(pending) for pending in (first, second)]
    third = ledger.append("order.placed", {"n": 1}, id="same", connection=connection)
    connection.commit()

    assert [receipt.index for receipt in (*receipts, ledger.wait(third))] == [0, 0, 0]
    assert len(ledger) == 1


def test_a_taken_id_is_told_of(ledger, caller):
    """An id that is taken is refused at once; one taken before the commit is a refusal, and `wait` raises it."""
    connection = caller.driver()
    pending = ledger.append("order.placed", {"n": 1}, id="order-1", connection=connection)
    ledger.append("order.placed", {"n": 2}, id="order-1")
    connection.commit()

    with pytest.raises(IdReusedError):
        ledger.append("order.placed", {"n": 3}, id="order-1", connection=connection)
    with pytest.raises(IdReusedError, match="order-1"):
        ledger.wait(pending)
    assert "order-1" in ledger._store.refusal(pending.source, pending.id, pending.digest)
    assert len(ledger) == 1


def test_whoever_appends_next_places_it(ledger, caller):
    """A deposit needs nobody who waits for it: the appends that follow it give it its place."""
    connection = caller.driver()
    ledger.append("order.placed", {"n": 0})
    pending = ledger.append("order.placed", {"n": 1}, connection=connection, detach=True)
    connection.commit()

    for n in range(2, 4):
        ledger.append("order.placed", {"n": n})

    assert pending.id in {entry.id for entry in ledger.read()}


def test_sequence_places_at_once(ledger, caller):
    """`sequence` overlooks nothing that was committed before it, even right after an append."""
    connection = caller.driver()
    for n in range(5):
        ledger.append("order.placed", {"before": n})
        pending = ledger.append("order.placed", {"n": n}, connection=connection)
        connection.commit()
        ledger.sequence()
        assert [entry.id for entry in ledger.read()][-1] == pending.id


def test_a_kill_after_the_commit_loses_nothing(place, ledger):
    """A process killed between its own commit and the sequencing leaves the entry to whoever writes next."""
    ledger.append("work.begun", {})
    process = PROCESSES.Process(target=deposit_and_die, args=(place, place.folder / "own.db"))
    process.start()
    process.join()
    ledger.sequence()

    assert process.exitcode == -signal.SIGKILL
    assert [entry.id for entry in ledger.read()][1:] == ["left-behind"]


def test_connections_that_cannot_be_joined(ledger, place, postgresql, tmp_path):
    """Another database, another kind of connection or an asynchronous one is refused with what to use instead."""
    other = sqlite3.connect(":memory:")
    elsewhere = psycopg.connect(postgresql.url)
    asynchronous = asyncio.run(psycopg.AsyncConnection.connect(postgresql.url))
    refused = [other, elsewhere, asynchronous, object()]
    try:
        for connection in refused:
            with pytest.raises(ConfigError):
                ledger.append("order.placed", {}, connection=connection)
    finally:
        other.close()
        elsewhere.close()
        asynchronous.pgconn.finish()
    assert len(ledger) == 0
