"""Writers killed at random moments, most of them inside an append: nothing that anybody was told of is lost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time

import psycopg
import pytest

from tests.ledger.ledger_workers import (
    PROCESSES,
    STORES,
    append_and_sequence,
    append_until_killed,
    place_of,
)

KILLS = 20
SOAK_KILLS = 400


@pytest.fixture(params=STORES)
def place(request):
    """Where the log of this test is kept."""
    return place_of(request)


class Writer:
    """A process that appends until it is killed, and says in a file of its own what it did."""

    def __init__(self, place, name):
        self.path = place.folder / f"{name}.txt"
        self.process = PROCESSES.Process(target=append_until_killed, args=(place, name, self.path))
        self.process.start()
        while not self.path.exists() or not self.path.stat().st_size:
            assert self.process.is_alive()
            time.sleep(0.001)

    def kill(self):
        """Kill it and return its receipts, and whether it was killed inside an append."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        lines = self.path.read_text().splitlines()
        receipts = [line.split() for line in lines if line != ">"]
        return {name: int(index) for name, index in receipts}, lines[-1] == ">"


def _kill_writers(place, kills):
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    receipts, inside, told = {}, 0, f"seed {seed}"
    writers = [Writer(place, f"w0n{number}") for number in range(3)]
    for number in range(kills):
        time.sleep(chance.uniform(0, 0.05))
        reported, cut = writers.pop(0).kill()
        receipts |= reported
        inside += cut
        if number < kills - 3:
            writers.append(Writer(place, f"w{number + 1}"))
    with place.open() as ledger:
        entries = [(entry.id, entry.index) for entry in ledger.read()]
        verified = ledger.verify()
    found = dict(entries)
    assert verified.size == len(entries) == len(found), told
    assert {name: found.get(name) for name in receipts} == receipts, told
    # At most one entry a kill became durable without anybody being told.
    assert len(entries) <= len(receipts) + inside, told
    assert inside >= kills // 3, f"only {inside} of {kills} kills landed inside an append: too few to show anything"


def test_kills_lose_nothing(place):
    """Three writers at a time, twenty kills, which is fewer than the soak run's: each receipt is in the log once."""
    _kill_writers(place, KILLS)


@pytest.mark.soak
def test_four_hundred_kills_lose_nothing(place):
    """Three writers at a time and four hundred kills: each receipt is in the log once, under its index."""
    _kill_writers(place, SOAK_KILLS)


def _stop_inside(server, process):
    """Stop the writer when the server says that it stands in the middle of a transaction."""
    query = """SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'
        AND application_name = 'companyos-ledger'"""
    for _ in range(100_000):
        if server.execute(query).fetchone() == (1,):
            os.kill(process.pid, signal.SIGSTOP)
            if server.execute(query).fetchone() == (1,):
                return
            os.kill(process.pid, signal.SIGCONT)
    pytest.fail("the writer was never seen inside a transaction")


def test_a_stopped_writer_is_thrown_out(postgresql_url, tmp_path, request):
    """A writer paused inside a transaction loses it, another takes over; woken, it appends again, nothing doubled."""
    request.param = "postgresql"
    place = place_of(request)
    receive, send = PROCESSES.Pipe(duplex=False)
    with place.open() as ledger, psycopg.connect(postgresql_url, autocommit=True) as server:
        process = PROCESSES.Process(target=append_and_sequence, args=(place, send))
        process.start()
        send.close()
        reported = dict(receive.recv())
        _stop_inside(server, process)
        taken_over = ledger.append("work.taken_over", {})
        os.kill(process.pid, signal.SIGCONT)
        reported |= dict(receive.recv()) | dict(receive.recv())
        process.kill()
        process.join()
        with contextlib.suppress(EOFError):
            while True:
                reported |= dict(receive.recv())
        receive.close()
        entries = {entry.id: entry.index for entry in ledger.read()}
        size = ledger.verify().size

    assert entries[taken_over.id] == taken_over.index
    assert {name: entries.get(name) for name in reported} == reported
    assert sorted(entries.values()) == list(range(size))
