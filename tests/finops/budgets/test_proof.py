"""The proof: processes that spend, by wrong clocks, and are killed; a server that is killed under them."""

from __future__ import annotations

import multiprocessing
import time
from contextlib import suppress

import pytest

from companyos.finops.budgets import open_store, read_history, rebuild
from companyos.ledger import Ledger
from tests.finops.budgets import spenders
from tests.services import PostgreSQL, Redis, available


@pytest.fixture
def ledger_url(tmp_path):
    """Where the ledger is."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    Ledger.open(url).close()
    return url


@pytest.fixture(params=["sqlite", "postgresql", "redis"])
def store_url(request, tmp_path):
    """A store of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'budget.db'}"
    return request.getfixturevalue(f"{request.param}_url")


def test_a_cap_holds_while_processes_are_killed(store_url, ledger_url):
    """Two processes with eight threads: no cap is passed, nothing leaks, store and ledger agree."""
    report = spenders.hammer(store_url, ledger_url, processes=2, threads=8, seconds=4)

    assert report["problems"] == []
    assert report["grants"] > 0
    assert report["kills"] >= 2


@pytest.mark.soak
def test_a_cap_holds_in_full_size(store_url, ledger_url):
    """The same with 4 processes of 64 threads."""
    report = spenders.hammer(store_url, ledger_url, processes=4, threads=64, seconds=60)

    assert report["problems"] == []
    assert report["kills"] >= 4


@pytest.mark.parametrize("durable", [False, True], ids=["memory", "aof"])
def test_a_server_that_is_killed_under_them(ledger_url, durable):
    """Redis killed while processes spend: all are told that it is lost, and nothing that was given out is forgotten."""
    server = Redis(available("redis"), durable=durable)
    try:
        said, codes = given_out(server, ledger_url)
        with Ledger.open(ledger_url) as ledger:
            store = open_store(server.url, "company")
            rebuild(spenders.POLICY, store, ledger)
            history = read_history(ledger.read(), spenders.SOURCE)
            level = next(one for one in store.levels() if one.key.startswith("acme:"))
            store.close()
    finally:
        server.stop()

    assert set(codes) <= {"budget.store_lost", "budget.store"}
    assert "budget.store_lost" in codes
    known = {name: record.status for name, record in history.records.items()}
    assert {name: known.get(name) for name, what in said.items() if what == "settled"} == {
        name: "settled" for name, what in said.items() if what == "settled"
    }
    assert set(said) <= set(known)
    assert level.spent + level.reserved >= len(said) * 10**8


def given_out(server, ledger_url):
    """What processes were given before the server was killed under them; and the codes that they ended with."""
    context = multiprocessing.get_context("forkserver")
    said, codes, pipes = {}, [], []
    for _ in range(3):
        read, tell = context.Pipe(duplex=False)
        context.Process(target=spenders.reserve_until_lost, args=(server.url, ledger_url, tell), daemon=True).start()
        tell.close()
        pipes.append(read)
    for pipe in pipes:  # each has begun
        what, name = pipe.recv()
        said[name] = what
    time.sleep(0.5)
    server.kill()
    server.restart()
    for pipe in pipes:
        with suppress(EOFError):
            while True:
                what, name = pipe.recv()
                if what == "lost":
                    codes.append(name)
                else:
                    said[name] = what
    if "budget.store_lost" not in codes:  # all were in the middle of a call: whoever asks next is told
        store = open_store(server.url, "company")
        mark = store.mark()
        codes.append("budget.store_lost" if mark is None or not mark.whole else "taken for whole")
        store.close()
    return said, codes


@pytest.mark.soak
def test_postgresql_killed_under_them(ledger_url):
    """A durable server that is killed while processes spend has forgotten nothing."""
    server = PostgreSQL(available("postgresql"))
    try:
        url = server.create_database()
        context = multiprocessing.get_context("forkserver")
        read, tell = context.Pipe(duplex=False)
        context.Process(target=spenders.reserve_until_lost, args=(url, ledger_url, tell), daemon=True).start()
        tell.close()
        said = dict([read.recv()[::-1]])
        time.sleep(2)
        server.kill()
        server.restart()
        with suppress(EOFError):
            while True:
                what, name = read.recv()
                said[name] = what
        budget, ledger = spenders.budget_at(url, ledger_url)
        budget.flush()
        known = read_history(ledger.read(), spenders.SOURCE).records
        budget.close()
        ledger.close()
    finally:
        server.stop()

    assert {name for name, what in said.items() if what != "lost"} - {"budget.store"} <= set(known)
