"""Projections: each entry applied once, whatever is killed, and the same state whenever it is rebuilt."""

from __future__ import annotations

import os
import random
import sqlite3

import pytest

from companyos.ledger import EntryMissingError, ProjectionError
from tests.ledger.ledger_workers import PROCESSES, Count, Descriptor, replay_until_killed

COUNT = 400


def _open(path=":memory:"):
    return sqlite3.connect(path, isolation_level=None, timeout=30)


@pytest.fixture
def filled(ledger):
    """A log with some entries of two types."""
    for number in range(20):
        ledger.append("work.done" if number % 2 else "work.begun", {"n": number})
    return ledger


def test_replay(filled):
    """A projection follows the log from where it is, and knows its place."""
    with sqlite3.connect(":memory:", isolation_level=None) as database:
        projection = Count(database)
        assert projection.position == 0
        assert filled.replay(projection) == 20
        assert projection.state(database) == [["work.begun", 10, 90], ["work.done", 10, 100]]

        filled.append("work.done", {"n": 5})

        assert filled.replay(projection) == 21
        assert filled.replay(projection) == 21
        assert projection.state(database) == [["work.begun", 10, 90], ["work.done", 11, 105]]
    database.close()


def test_state_after_n_entries_has_one_digest(filled):
    """The digest after `n` entries is the same in one go, in steps, and rebuilt from nothing."""
    first, second = _open(), _open()
    digests = []
    projection = Count(first)
    for until in range(21):
        assert filled.replay(projection, until=until) == until
        digests.append(projection.digest())
    for until in (0, 7, 20):
        rebuilt = _open()
        other = Count(rebuilt)
        filled.replay(other, until=until)
        assert other.digest() == digests[until]
        rebuilt.close()

    assert len(set(digests)) == 21
    assert filled.replay(projection, until=3) == 20
    first.close()
    second.close()


class Failing(Count):
    """Fails at one entry."""

    name = "failing"
    bad = 7

    def apply(self, database, entry):
        """As `Count`, and then fail."""
        super().apply(database, entry)
        if entry.index == self.bad:
            raise RuntimeError("cannot apply")


def test_failure_leaves_no_trace_of_the_entry(filled):
    """When an entry cannot be applied, nothing of it stays, and the position names it."""
    database = _open()
    projection = Failing(database)

    with pytest.raises(ProjectionError, match="cannot apply entry 7") as caught:
        filled.replay(projection)

    assert caught.value.index == 7
    assert projection.position == 7
    assert sum(row[1] for row in projection.state(database)) == 7
    projection.bad = None
    assert filled.replay(projection) == 20
    assert sum(row[1] for row in projection.state(database)) == 20
    database.close()


def test_two_projections_share_a_database(filled):
    """Each projection has its own place."""
    database = _open()
    first, second = Count(database), Failing(database)
    second.bad = None

    filled.replay(first, until=4)

    assert (first.position, second.position) == (4, 0)
    database.close()


def test_hole_in_the_log(filled):
    """A log that skips an entry stops the projection at the hole, by index."""
    database = _open()
    projection = Count(database)
    entries = [entry for entry in filled.read() if entry.index != 4]

    with pytest.raises(EntryMissingError) as caught:
        projection.follow(lambda start, end: (entry for entry in entries if entry.index >= start))

    assert (caught.value.index, projection.position) == (4, 4)
    database.close()


def test_autocommit_is_demanded():
    """A connection that begins transactions by itself is refused."""
    database = sqlite3.connect(":memory:")
    with pytest.raises(ValueError, match="isolation_level=None"):
        Count(database)
    database.close()


def test_kills_in_the_middle(url, ledger, tmp_path):
    """Replays killed again and again, two at a time: in the end every entry was applied exactly once."""
    for number in range(COUNT):
        ledger.append("work.done", {"n": number})
    path = str(tmp_path / "count.db")
    chance = random.Random(4)
    inside, positions = 0, []
    for _ in range(12):
        workers = []
        for _ in range(2):
            read, write = os.pipe()
            process = PROCESSES.Process(target=replay_until_killed, args=(url, path, Descriptor(write)))
            process.start()
            os.close(write)
            workers.append((process, read))
        for process, read in workers:
            for _ in range(chance.randrange(1, 16)):
                os.read(read, 1)
            process.kill()
            process.join()
            with os.fdopen(read, "rb") as pipe:
                inside += not pipe.read().endswith(b"!")
        database = _open(path)
        positions.append(Count(database).position)
        database.close()

    database, fresh = _open(path), _open()
    survivor, rebuilt = Count(database), Count(fresh)
    ledger.replay(survivor)
    ledger.replay(rebuilt)

    assert survivor.state(database) == [["work.done", COUNT, sum(range(COUNT))]]
    assert survivor.digest() == rebuilt.digest()
    assert positions == sorted(positions)
    assert inside >= 12, f"only {inside} kills landed inside a replay: too few to show anything"
    database.close()
    fresh.close()


def test_dropped_payloads_do_not_stop_a_replay(filled, tmp_path):
    """An entry whose payload was dropped is applied with no data."""
    filled.append("work.done", {"n": 1000}, detach=True)
    filled._store._db.execute("DELETE FROM detached")
    database = _open()
    projection = Count(database)

    assert filled.replay(projection) == 21
    assert projection.state(database) == [["work.begun", 10, 90], ["work.done", 11, 100]]
    database.close()
