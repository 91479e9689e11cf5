"""Many writers: no gaps, no doubles, and nothing lost to a kill."""

from __future__ import annotations

import os
import random
import signal
import threading
import time

import pytest

from companyos.ledger import Ledger
from tests.ledger.ledger_workers import ORIGIN, PROCESSES, Descriptor, append_many, append_same, append_until_killed

KILLS = 32


def _gather(target, calls):
    results = PROCESSES.SimpleQueue()
    workers = [PROCESSES.Process(target=target, args=(*call, results)) for call in calls]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert [worker.exitcode for worker in workers] == [0] * len(workers)
    return [results.get() for _ in workers]


def test_processes_make_one_gapless_log(url):
    """Four processes with two hundred entries each: every index once, every receipt right, the log verifies."""
    receipts = _gather(append_many, [(url, f"p{number}", 200) for number in range(4)])

    placed = {index: name for part in receipts for name, index in part}
    with Ledger.open(url, origin=ORIGIN) as ledger:
        assert sorted(placed) == list(range(800))
        assert {entry.index: entry.id for entry in ledger.read()} == placed
        assert ledger.verify().size == 800
    for part in receipts:
        assert [index for _, index in part] == sorted(index for _, index in part)


def test_processes_that_append_the_same(url):
    """Four processes that append the same fifty entries all get the same fifty places."""
    places = _gather(append_same, [(url, 50) for _ in range(4)])

    assert all(part == places[0] for part in places)
    assert sorted(places[0]) == list(range(50))
    with Ledger.open(url, origin=ORIGIN) as ledger:
        assert ledger.verify().size == 50


def test_threads_of_one_ledger(ledger):
    """Eight threads share one ledger, while a ninth reads and verifies all the time."""
    receipts, sizes, failures = [], [], []
    done = threading.Event()

    def write(name):
        try:
            receipts.extend(ledger.append("work.done", {"n": n}, id=f"{name}-{n}") for n in range(40))
        except Exception as error:  # noqa: BLE001 - reported by the main thread
            failures.append(error)

    def watch():
        try:
            while not done.is_set():
                sizes.append(ledger.verify().size)
                assert [entry.index for entry in ledger.read(0, sizes[-1])] == list(range(sizes[-1]))
        except Exception as error:  # noqa: BLE001 - reported by the main thread
            failures.append(error)

    watcher = threading.Thread(target=watch)
    writers = [threading.Thread(target=write, args=(f"t{number}",)) for number in range(8)]
    for thread in (watcher, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    watcher.join()

    assert failures == []
    assert sorted(receipt.index for receipt in receipts) == list(range(320))
    assert sizes == sorted(sizes)
    assert ledger.verify().size == 320


def test_readers_see_only_what_is_committed(url, ledger):
    """While an append is under way, no other thread sees its entry, neither by reading nor by verifying."""
    ledger.append("work.done", {"n": 0})
    seen = []

    def look():
        with Ledger.open_readonly(url, [ledger.verifier.key], origin=ORIGIN) as other:
            seen.extend((len(list(other.read())), other.verify().size))

    with ledger._store.batch() as batch:
        batch.set_cosigned(b"not committed yet")
        reader = threading.Thread(target=look)
        reader.start()
        reader.join()

    assert seen == [1, 1]


class Writer:
    """A process that appends until it is killed, and tells on a pipe what it did."""

    def __init__(self, url, name):
        self.read, write = os.pipe()
        self.process = PROCESSES.Process(target=append_until_killed, args=(url, name, Descriptor(write)))
        self.process.start()
        os.close(write)
        self.lines = [os.read(self.read, 2)]

    def kill(self):
        """Kill it and return its reports, and whether it was killed inside an append."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        with os.fdopen(self.read, "rb") as pipe:
            lines = (self.lines[0] + pipe.read()).decode().splitlines()
        receipts = [line.split() for line in lines if line != ">"]
        return {name: int(index) for name, index in receipts}, lines[-1] == ">"


def test_kills_lose_nothing(url):
    """Writers killed at random moments, most inside an append: the log verifies, every receipt is where it said."""
    chance = random.Random(8)
    receipts, inside = {}, 0
    for round_number in range(KILLS // 2):
        writers = [Writer(url, f"r{round_number}w{number}") for number in range(2)]
        time.sleep(chance.uniform(0, 0.08))
        for writer in writers:
            reported, cut = writer.kill()
            receipts |= reported
            inside += cut
        with Ledger.open(url, origin=ORIGIN) as ledger:
            verified = ledger.verify()
            assert verified.dropped_payloads == 0
    with Ledger.open(url, origin=ORIGIN) as ledger:
        entries = {entry.id: entry.index for entry in ledger.read()}
        size = ledger.verify().size

    assert {name: entries.get(name) for name in receipts} == receipts
    assert sorted(entries.values()) == list(range(size))
    # At most one entry a kill became durable without anybody being told.
    assert len(receipts) <= size <= len(receipts) + inside
    assert inside >= KILLS // 3, f"only {inside} of {KILLS} kills landed inside an append: too few to show anything"


@pytest.mark.parametrize("attempt", range(4))
def test_racing_creation(tmp_path, attempt):
    """Processes that open a log that is not there yet make one log, with one key, together."""
    url = f"sqlite:///{tmp_path / 'new' / 'ledger.db'}"

    receipts = _gather(append_many, [(url, f"p{number}", 3) for number in range(6)])

    assert sorted(index for part in receipts for _, index in part) == list(range(18))
    with Ledger.open(url, origin=ORIGIN) as ledger:
        assert ledger.verify().size == 18
