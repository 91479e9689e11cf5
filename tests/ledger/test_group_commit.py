"""Whoever appends at the same time shares a commit, and an error of one is nobody else's."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from companyos.ledger import Draft, IdReusedError, StoreUnreadableError
from tests.ledger.ledger_workers import STORES, append_many, gather, place_of


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


def _commits(receipts):
    """How many commits placed these entries: each signs a checkpoint of another size."""
    return len({receipt.size for receipt in receipts})


def test_commits_are_durable(place, ledger):
    """The session that commits says of itself that a commit is on the disk when it returns."""
    expected = ("on", "on") if place.url.startswith("postgresql") else ("wal", 2)

    assert expected == ledger._store.durability()


def test_threads_share_commits(ledger):
    """Thirty-two threads append twenty entries each in far fewer commits than entries."""
    with ThreadPoolExecutor(32) as pool:
        parts = list(pool.map(lambda _: [ledger.append("work.done", {}) for _ in range(20)], range(32)))
    receipts = [receipt for part in parts for receipt in part]

    assert sorted(receipt.index for receipt in receipts) == list(range(640))
    assert _commits(receipts) <= 640 // 3


def test_tasks_share_commits(ledger):
    """Sixty-four tasks append ten entries each in far fewer commits than entries."""

    async def append():
        return [await ledger.aappend("work.done", {}) for _ in range(10)]

    async def main():
        return await asyncio.gather(*(append() for _ in range(64)))

    receipts = [receipt for part in asyncio.run(main()) for receipt in part]

    assert sorted(receipt.index for receipt in receipts) == list(range(640))
    assert _commits(receipts) <= 640 // 6


def test_the_server_counts_few_commits(postgresql_url, tmp_path, request):
    """What the server itself counts: sixty-four tasks with ten entries each are far fewer transactions."""
    request.param = "postgresql"
    query = "SELECT pg_current_xact_id()::text::bigint"
    with place_of(request).open() as ledger, psycopg.connect(postgresql_url, autocommit=True) as server:
        ledger.append("work.begun", {})

        async def main():
            await asyncio.gather(*(ledger.aappend("work.done", {}) for _ in range(640)))

        before = server.execute(query).fetchone()[0]
        asyncio.run(main())
        after = server.execute(query).fetchone()[0]

        assert len(ledger) == 641
        assert after - before <= 640 // 6


def test_processes_share_commits(place):
    """Processes that find another one writing leave their entry to it: every entry has one place, whoever gave it."""
    parts = gather(append_many, [(place, f"p{number}", 100) for number in range(4)])

    with place.open() as ledger:
        assert sorted(index for part in parts for _, index in part) == list(range(400))
        assert ledger.verify().size == 400


def test_an_error_is_nobody_elses(ledger):
    """Of tasks that share a commit, the one whose id is taken gets the error, and the others their receipts."""
    ledger.append("work.done", {"n": 0}, id="taken")

    async def main():
        calls = [ledger.aappend("work.done", {"n": n}, id="taken" if n == 7 else None) for n in range(1, 20)]
        return await asyncio.gather(*calls, return_exceptions=True)

    found = asyncio.run(main())

    assert [n for n, one in enumerate(found, 1) if isinstance(one, IdReusedError)] == [7]
    assert sorted(one.index for one in found if not isinstance(one, IdReusedError)) == list(range(1, 19))


def test_many_are_all_or_none_among_others(ledger):
    """Of lists appended at once, the one with a taken id leaves nothing, and the others lie together in their order."""
    ledger.append("work.done", {"n": 0}, id="taken")

    async def main():
        lists = [[Draft("work.done", {"n": n}, f"{part}-{n}") for n in range(5)] for part in range(6)]
        lists[3][4] = Draft("work.done", {"n": 9}, "taken")
        return await asyncio.gather(*(ledger.aappend_many(one) for one in lists), return_exceptions=True)

    found = asyncio.run(main())

    assert isinstance(found.pop(3), IdReusedError)
    for receipts in found:
        start = receipts[0].index
        assert [receipt.index for receipt in receipts] == list(range(start, start + 5))
    assert len(ledger) == 1 + 5 * 5


def test_a_cancelled_task_harms_nobody(ledger):
    """Tasks cancelled while they wait may be logged or not; those that share their commit get their receipts."""

    async def main():
        tasks = [asyncio.create_task(ledger.aappend("work.done", {"n": n}, id=f"n{n}")) for n in range(40)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(main())

    assert all(isinstance(one, asyncio.CancelledError) for one in found[::2])
    entries = {entry.id: entry.index for entry in ledger.read()}
    assert {f"n{n}": found[n].index for n in range(1, 40, 2)}.items() <= entries.items()


def test_a_closed_loop_harms_nobody(ledger):
    """A loop that is closed while its tasks wait leaves the ledger working for others."""

    async def main():
        tasks = [asyncio.create_task(ledger.aappend("work.done", {"n": n})) for n in range(20)]
        await asyncio.sleep(0)
        return len(tasks)

    asyncio.run(main())  # cancels what is left, and closes the loop

    receipt = ledger.append("work.done", {"last": True})
    assert [entry.id for entry in ledger.read(receipt.index)] == [receipt.id]


def test_two_loops_in_two_threads(ledger):
    """Tasks of two loops in two threads share commits, and each loop's get their own receipts."""

    async def append(name):
        return await asyncio.gather(*(ledger.aappend("work.done", {}, id=f"{name}-{n}") for n in range(50)))

    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(lambda name: asyncio.run(append(name)), "ab"))

    assert [[receipt.id for receipt in part] for part in parts] == [[f"{name}-{n}" for n in range(50)] for name in "ab"]
    assert sorted(receipt.index for part in parts for receipt in part) == list(range(100))


def test_listeners_are_told_once(place):
    """Each entry is told of once, in order, whatever it was appended with."""
    told = []
    with place.open(listeners=[lambda entry: told.append(entry.index)]) as ledger:
        ledger.append("work.done", {}, id="same")
        ledger.append("work.done", {}, id="same")
        ledger.append_many(Draft("work.done", {}) for _ in range(3))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: ledger.append("work.done", {}), range(20)))

    assert sorted(told) == list(range(24))


def test_a_listener_may_append(place):
    """A listener that appends itself is no deadlock: its entry follows."""
    told = []

    def answer(entry):
        told.append(entry.type)
        if entry.type == "work.asked":
            ledger.append("work.answered", {"of": entry.index})

    async def main():
        await asyncio.gather(*(ledger.aappend("work.asked", {}) for _ in range(2)))

    with place.open(listeners=[answer]) as ledger:
        ledger.append("work.asked", {})
        asyncio.run(main())
        ledger.append("work.done", {})

    assert sorted(told) == ["work.answered"] * 3 + ["work.asked"] * 3 + ["work.done"]


def test_a_closed_ledger_refuses(place):
    """After `close`, an append says that the ledger is closed."""
    ledger = place.open()
    ledger.append("work.done", {})
    ledger.close()

    with pytest.raises(StoreUnreadableError, match="closed"):
        ledger.append("work.done", {})
