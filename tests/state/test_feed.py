"""The lease: what a client knows of the writes of others."""

import threading

import psycopg
import pytest

from companyos.state import MemoryCache, PostgresDatabase, StateRepository, StateUnavailableError, feed
from companyos.state.entry import Entry
from companyos.state.flight import Flights

SAVE_LATE = """
WITH saved AS (UPDATE sessions SET version = version + 1 WHERE id = %s RETURNING id, version)
INSERT INTO state_audit (session_id, action, timestamp, version) SELECT id, 'save', now(), version FROM saved
"""


class Clock:
    """Time that passes when told."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def entry_of(database, key):
    """What a reader would put into a cache now."""
    row = database.read(key)
    return Entry(row.version, row.position, row.payload, b"", None)


def test_an_entry_is_believed_until_somebody_writes(database):
    """Until the lease is renewed an old entry may be shown; then it may not, and a new one may."""
    clock = Clock()
    client = feed.Feed(database, clock, 2.0)
    database.write("k", b"1", "d", None)
    assert not client.valid(0)
    assert client.renew()
    old = entry_of(database, "k")
    database.write("k", b"2", "d", None)
    assert client.believes("k", old)
    assert client.valid(1.99)

    clock.now = 2.0
    assert not client.valid(2.0)
    assert client.renew()
    assert not client.renew()
    assert not client.believes("k", old)
    assert client.believes("k", entry_of(database, "k"))


def test_what_a_client_was_shown_it_is_never_shown_older(database):
    """Without any renewal, a version that was seen is a floor."""
    client = feed.Feed(database, Clock(), 2.0)
    database.write("k", b"1", "d", None)
    client.renew()
    old = entry_of(database, "k")
    client.saw("k", 5)
    client.saw("k", 3)
    assert not client.believes("k", old)


@pytest.mark.service("postgresql")
def test_a_transaction_that_commits_late_is_not_missed(postgresql_url):
    """Its number is lower than that of others that a client has seen already; the next reading has it all the same."""
    database, clock = PostgresDatabase(postgresql_url), Clock()
    client = feed.Feed(database, clock, 2.0)
    for key in ("late", "early"):
        database.write(key, b"1", "d", None)
    with psycopg.connect(postgresql_url) as connection:
        connection.execute(SAVE_LATE, ("late",))
        database.write("early", b"2", "d", None)
        client.renew()
        old = entry_of(database, "late")
        assert client.believes("late", old)
        connection.commit()
    clock.now = 2.0
    client.renew()
    assert not client.believes("late", old)
    assert client.believes("late", entry_of(database, "late"))
    database.close()


def test_a_client_that_knows_too_much_starts_anew(database, monkeypatch):
    """With too many floors it reads the newest changes only, and believes no entry from before them."""
    monkeypatch.setattr(feed, "_MOST", 20)
    monkeypatch.setattr(feed, "_AT_ONCE", 10)
    clock = Clock()
    client = feed.Feed(database, clock, 2.0)
    database.write("first", b"1", "d", None)
    client.renew()
    old = entry_of(database, "first")
    for number in range(25):
        client.saw(f"k{number}", database.write(f"k{number}", b"1", "d", None).version)
    database.write("first", b"2", "d", None)
    for number in range(12):
        database.write(f"l{number}", b"1", "d", None)

    clock.now = 2.0
    client.renew()

    assert len(client._floors) <= 10
    assert not client.believes("first", old)
    assert client.believes("l11", entry_of(database, "l11"))
    assert client.believes("first", entry_of(database, "first"))


def test_a_new_client_believes_what_it_knows_enough_about(database, cache):
    """A second process starts warm: entries from before its start are used, if the feed since then was read."""
    with StateRepository(cache, database) as first:
        first.save("s", 1)
        second = StateRepository(cache, database)
        assert second.get("s").source == "cache"


def test_callers_who_waited_for_a_renewal_in_vain_do_not_try_one_by_one(tmp_path):
    """When the database hangs, all who wait for the lease hear of it together."""
    asked, go_on = [], threading.Event()

    class Hangs:
        identity = "x"

        def changes(self, *_):
            asked.append(1)
            go_on.wait(10)
            raise StateUnavailableError("hangs")

    client, failed = feed.Feed(Hangs(), _real(), 2.0), []

    def renew():
        with pytest.raises(StateUnavailableError):
            client.renew()
        failed.append(1)

    threads = [threading.Thread(target=renew) for _ in range(5)]
    for thread in threads:
        thread.start()
    while client._renewing.locked() is False:
        pass
    threading.Timer(1.0, go_on.set).start()
    for thread in threads:
        thread.join()
    assert (len(failed), len(asked)) == (5, 1)


def _real():
    from companyos.state.repository import SystemClock

    return SystemClock()


def test_a_flight_is_shared_only_by_those_who_came_before_it_began():
    """Who finds a call under way gets the next one's answer, together with all who wait; an error is everybody's."""
    flights, calls = Flights(), []
    begun, go_on = threading.Event(), threading.Event()

    def first():
        begun.set()
        go_on.wait(10)
        return "first"

    def second():
        calls.append(1)
        raise ValueError("second")

    answers = []

    def join():
        with pytest.raises(ValueError, match="second"):
            flights.do("k", second)
        answers.append("failed")

    leader = threading.Thread(target=lambda: answers.append(flights.do("k", first)))
    leader.start()
    begun.wait(10)
    joiners = [threading.Thread(target=join) for _ in range(6)]
    for joiner in joiners:
        joiner.start()
    assert flights.do("other", lambda: 7) == (7, True)
    while len(flights._waiting) == 0:
        pass
    go_on.set()
    for thread in (leader, *joiners):
        thread.join()
    assert answers.count("failed") == 6
    assert ("first", True) in answers
    assert 1 <= len(calls) <= 6
    assert (flights._running, flights._waiting) == ({}, {})


def test_memory_has_a_limit():
    """The in-process cache forgets what was not used for longest."""
    cache = MemoryCache(size=3)
    for key in "abc":
        cache.put(key, b"1", 60)
    cache.get("a")
    cache.put("d", b"1", 60)
    assert [cache.get(key) for key in "abcd"] == [b"1", None, b"1", b"1"]
