"""Many writers make one log: no gaps, no doubles, each writer's own entries in their order."""

from __future__ import annotations

import threading

import pytest

from companyos.ledger import Ledger
from tests.ledger.ledger_workers import ORIGIN, STORES, append_many, append_same, gather, place_of


@pytest.fixture(params=STORES)
def place(request):
    """Where the log of this test is kept."""
    return place_of(request)


def _write_at_once(place, processes, count):
    parts = gather(append_many, [(place, f"p{number}", count) for number in range(processes)])
    placed = {index: name for part in parts for name, index in part}
    with place.open() as ledger:
        assert sorted(placed) == list(range(processes * count))
        assert {entry.index: entry.id for entry in ledger.read()} == placed
        assert ledger.verify().size == processes * count
    for part in parts:
        assert [index for _, index in part] == sorted(index for _, index in part)


def test_processes_make_one_gapless_log(place):
    """Four processes with 150 entries each, which is less than the soak run's: every index once, the log verifies."""
    _write_at_once(place, 4, 150)


@pytest.mark.soak
def test_eight_processes_of_five_thousand(place):
    """Eight processes with 5,000 entries each: none lost, doubled or reordered."""
    _write_at_once(place, 8, 5000)


def test_processes_that_append_the_same(place):
    """Four processes that append the same fifty entries all get the same fifty places."""
    places = gather(append_same, [(place, 50) for _ in range(4)])

    assert all(part == places[0] for part in places)
    assert sorted(places[0]) == list(range(50))
    with place.open() as ledger:
        assert ledger.verify().size == 50


def test_threads_of_one_ledger(place):
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

    with place.open() as ledger:
        ledger.append("work.begun", {})
        watcher = threading.Thread(target=watch)
        writers = [threading.Thread(target=write, args=(f"t{number}",)) for number in range(8)]
        for thread in (watcher, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        watcher.join()

        assert failures == []
        assert sorted(receipt.index for receipt in receipts) == list(range(1, 321))
        assert sizes == sorted(sizes)
        assert ledger.verify().size == 321


def test_readers_see_only_what_is_committed(place):
    """While an append is under way, no other thread sees its entry, neither by reading nor by verifying."""
    seen = []
    with place.open() as ledger:
        ledger.append("work.done", {"n": 0})

        def look():
            with Ledger.open_readonly(place.url, [ledger.verifier.key], origin=ORIGIN) as other:
                seen.extend((len(list(other.read())), other.verify().size))

        with ledger._store.batch() as batch:
            batch.set_cosigned(b"not committed yet")
            reader = threading.Thread(target=look)
            reader.start()
            reader.join()

    assert seen == [1, 1]


@pytest.mark.parametrize("attempt", range(3))
def test_racing_creation(place, attempt):
    """Processes that open a log that is not there yet make one log, with one key, together."""
    parts = gather(append_many, [(place, f"p{number}", 3) for number in range(6)])

    assert sorted(index for part in parts for _, index in part) == list(range(18))
    with place.open() as ledger:
        assert ledger.verify().size == 18
