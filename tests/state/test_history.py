"""The checker of histories: it finds what is planted, and agrees with the obvious method."""

import json
import random
import sqlite3
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companyos.state import MemoryCache
from tests.state.history import Operation, check, disorder, resolve, search

INFINITE = float("inf")


def save(value, version, begun, ended, client=1):
    return Operation(client, "save", "k", begun, ended, value, version)


def read(value, version, begun, ended, client=2, kind="cached", **more):
    return Operation(client, kind, "k", begun, ended, value, version, **more)


CLEAN = [
    save("a", 1, 0, 1),
    read("a", 1, 0.5, 0.6, kind="strong"),
    read(None, None, 0.1, 0.2),
    save("b", 2, 2, 3),
    read("a", 1, 2.1, 2.2),
    read("b", 2, 2.3, 2.4, client=3),
    read("b", 2, 3.5, 3.6),
    Operation(1, "delete", "k", 4, 5, None, 3),
    read(None, None, 5.5, 5.6, kind="strong"),
    save("lost", None, 6, INFINITE),
    save("late", None, 6, INFINITE),
    read("late", 5, 7, 7.1, kind="strong", client=3),
]
PLANTED = {
    "a strong read of an overwritten value": (read("a", 1, 3.5, 3.6, kind="strong", client=4), "which had version 2"),
    "a strong read of what was not yet written": (read("b", 2, 1.5, 1.6, kind="strong", client=4), "after"),
    "a strong read of nothing before the delete": (read(None, None, 3.5, 3.6, kind="strong", client=4), "version 3"),
    "a cached read beyond the lease": (read("a", 1, 3.5, 3.6, client=4), "but 2 was there before"),
    "a client that goes back": (read("a", 1, 2.5, 2.6, client=3), "went back from version 2 to 1"),
    "a degraded client that goes back": (read("a", 1, 2.5, 2.6, client=3, degraded=True), "went back"),
    "a value that nobody wrote": (read("x", 2, 3.5, 3.6, client=4), "was not written so"),
    "a value under a wrong version": (read("a", 2, 3.5, 3.6, client=4), "was not written so"),
    "a cached read of nothing long before the delete": (read(None, None, 3.9, 3.95, client=4), "but 2 was there"),
    "two writes with one version": (save("c", 5, 8, 9), "which had version 5"),
}


def test_a_history_that_keeps_the_contracts_passes():
    """Concurrent, unanswered and deleted writes are no violations."""
    assert check(CLEAN, 0.2) == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_found(name):
    """Each kind of violation is found, and named."""
    planted, text = PLANTED[name]
    found = check([*CLEAN, planted], 0.2)
    assert any(text in one for one in found), found


def test_within_its_lease_a_cached_read_may_be_old():
    """With caches that are not shared, a write may be missed for a lease; with a shared one, not after its answer."""
    history = [save("a", 1, 0, 1), save("b", 2, 2, 3), read("a", 1, 3.5, 3.6)]
    assert check(history, 1.0, shared_cache=False) == []
    assert ["after its acknowledgement" in one for one in check(history, 1.0)] == [True]
    assert len(check(history, 0.2, shared_cache=False)) == 1


def test_a_degraded_read_has_no_lease():
    """What a client was shown while the database was away is only held against itself."""
    history = [save("a", 1, 0, 1), save("b", 2, 2, 3), read("a", 1, 9, 9.1, degraded=True)]
    assert check(history, 0.2) == []


@st.composite
def histories(draw):
    """Small histories of strong operations by three clients over one key, some of them impossible."""
    chance = draw(st.randoms(use_true_random=False))
    version, operations, clocks = 0, [], [0, 0, 0]
    values = {0: None}
    for number in range(draw(st.integers(1, 7))):
        client = chance.randrange(3)
        begun = clocks[client] + chance.randrange(1, 4)
        clocks[client] = ended = begun + chance.randrange(1, 6)
        kind = chance.choice(["save", "strong", "strong", "delete"])
        if kind == "strong":
            shown = chance.randrange(version + 1)
            value = values[shown]
            operations.append(read(value, shown if value else None, begun, ended, client, "strong"))
        else:
            version += 1
            values[version] = f"v{number}" if kind == "save" else None
            operations.append(Operation(client, kind, "k", begun, ended, values[version], version))
    return operations


@settings(max_examples=400, deadline=None)
@given(histories())
def test_the_fast_method_finds_what_the_obvious_one_finds(history):
    """Whatever no order at all can explain, the order of versions does not explain either."""
    resolved, gone = resolve(history)
    if not list(disorder(resolved, gone)):
        assert search(resolved)
    if not search(resolved):
        assert list(disorder(resolved, gone))


class Naive:
    """The first sketch of a repository: it writes the cache before the commit, and warms it with what it read once."""

    def __init__(self, path, cache):
        self.cache = cache
        self.database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, payload TEXT, version INTEGER)"
        )
        self.between = lambda: None

    def save(self, key, value, version):
        self.cache.put(key, json.dumps([value, version]).encode(), 3600)
        self.between()
        self.database.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)", (key, value, version))

    def get(self, key):
        cached = self.cache.get(key)
        if cached:
            return tuple(json.loads(cached))
        row = self.database.execute("SELECT payload, version FROM sessions WHERE id = ?", (key,)).fetchone()
        self.between()
        if row:
            self.cache.put(key, json.dumps(row).encode(), 3600)
        return row

    def strong(self, key):
        return self.database.execute("SELECT payload, version FROM sessions WHERE id = ?", (key,)).fetchone()


class Recorder:
    """Runs operations and notes when they began and ended."""

    def __init__(self):
        self.operations = []

    def run(self, client, kind, action, value=None, version=None):
        begun = time.monotonic()
        try:
            shown = action()
            ended = time.monotonic()
        except sqlite3.Error:
            shown, ended = None, INFINITE
        if kind in {"strong", "cached"}:
            value, version = shown or (None, None)
        self.operations.append(Operation(client, kind, "k", begun, ended, value, version))


def test_the_first_race_of_the_sketch_is_found(tmp_path):
    """A write whose commit fails stays in the cache: readers are shown what was never written, and then it is gone."""
    cache, recorder = MemoryCache(), Recorder()
    one = Naive(tmp_path / "naive.db", cache)
    recorder.run(1, "save", lambda: one.save("k", "a", 1), "a", 1)

    def disk_full():
        raise sqlite3.OperationalError("database or disk is full")

    one.between = disk_full
    recorder.run(1, "save", lambda: one.save("k", "b", 2), "b")
    recorder.run(2, "cached", lambda: one.get("k"))
    recorder.run(2, "strong", lambda: one.strong("k"))

    found = check(recorder.operations, 2.0)
    assert any("went back from version 2 to 1" in text for text in found), found


def test_the_second_race_of_the_sketch_is_found(tmp_path):
    """A slow reader warms the cache with what was overwritten meanwhile, and everybody reads that for an hour."""
    cache, recorder = MemoryCache(), Recorder()
    writer, reader = Naive(tmp_path / "naive.db", cache), Naive(tmp_path / "naive.db", cache)
    recorder.run(1, "save", lambda: writer.save("k", "a", 1), "a", 1)
    cache.swap("k", cache.get("k"), None, 0)  # evicted
    has_read, may_go_on = threading.Event(), threading.Event()

    def pause():
        has_read.set()
        may_go_on.wait(10)

    reader.between = pause
    slow = threading.Thread(target=recorder.run, args=(2, "cached", lambda: reader.get("k")))
    slow.start()
    has_read.wait(10)
    recorder.run(1, "save", lambda: writer.save("k", "b", 2), "b", 2)
    may_go_on.set()
    slow.join()
    recorder.run(3, "cached", lambda: writer.get("k"))

    later = [
        replace(one, begun=one.begun + 10, ended=one.ended + 10) if one.client == 3 else one
        for one in recorder.operations
    ]
    assert any("read version 1, but 2 was there before" in text for text in check(later, 2.0, shared_cache=False))
    assert any("after its acknowledgement" in text for text in check(recorder.operations, 2.0))


def test_random_concurrency_on_the_sketch_is_caught(tmp_path):
    """Threads on the sketch, without any help from the test, break the contracts, and the checker sees it."""
    cache, recorder = MemoryCache(), Recorder()
    lock, versions = threading.Lock(), iter(range(1, 10_000))
    path = tmp_path / "naive.db"

    def work(client):
        repository, chance = Naive(path, cache), random.Random(client)
        repository.between = lambda: time.sleep(chance.random() * 0.004)
        for number in range(60):
            if chance.random() < 0.3:
                with lock:  # versions of its own it has none: writes in turn, so that their order is known
                    version = next(versions)
                    value = f"{client}-{number}"
                    recorder.run(client, "save", lambda v=value, n=version: repository.save("k", v, n), value, version)
            else:
                recorder.run(client, "cached", lambda: repository.get("k"))
            if chance.random() < 0.1 and (raw := cache.get("k")):
                cache.swap("k", raw, None, 0)

    threads = [threading.Thread(target=work, args=(client,)) for client in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert check(recorder.operations, 0.0)
