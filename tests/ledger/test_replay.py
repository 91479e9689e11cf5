"""Replay on SQLite and on PostgreSQL: each entry once, in order, with the same state on both."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3

import pytest

from companyos.errors import ConfigError
from companyos.ledger import Database, EntryAlteredError, EntryMissingError, Ledger, ProjectionError, TailDroppedError
from companyos.ledger import projection as module
from tests.ledger.ledger_workers import ORIGIN, PROCESSES, Descriptor
from tests.ledger.replay_workers import Totals, totals_until_killed

COUNT = 600


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """URL of a log with some entries of three types."""
    url = f"sqlite:///{tmp_path_factory.mktemp('log') / 'ledger.db'}"
    with Ledger.open(url, origin=ORIGIN) as ledger:
        for number in range(COUNT):
            ledger.append(("work.begun", "work.done", "work.lost")[number % 3], {"n": number})
    return url


@pytest.fixture
def filled(log):
    """That log, open for reading."""
    with Ledger.open(log, origin=ORIGIN) as ledger:
        yield ledger


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service("postgresql"))])
def where(request, tmp_path):
    """URL of an empty database for projections."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql_url")
    return f"sqlite:///{tmp_path / 'projections.db'}"


@pytest.fixture
def database(where):
    """A connection to it."""
    with Database.open(where) as opened:
        yield opened


def test_the_state_is_the_same_everywhere(filled, database):
    """In one go, in steps, on either database and recomputed by somebody else: one digest after `n` entries."""
    projection = Totals(database)

    for until in (0, 1, 255, 256, 257, COUNT):
        assert until == filled.replay(projection, until=until)
        assert Totals.digest_at(filled.read, until) == projection.digest()

    assert COUNT == filled.replay(projection)
    numbers = [[kind, 200, sum(range(start, COUNT, 3))] for start, kind in ((0, "work.begun"), (2, "work.lost"))]
    assert numbers == [row[:3] for row in projection.snapshot().state["totals"] if row[0] != "work.done"]


def test_entries_share_transactions(filled, database, monkeypatch):
    """256 entries are one transaction, unless they take long; progress is told what is durable."""
    projection, told = Totals(database), []

    assert COUNT == projection.follow(filled.read, progress=told.append)
    assert [256, 512, COUNT] == told

    monkeypatch.setattr(module, "SECONDS_PER_TRANSACTION", 0.0)
    projection.reset()
    told.clear()
    projection.follow(filled.read, until=5, progress=told.append)
    assert [1, 2, 3, 4, 5, 5] == told


def test_a_second_delivery_changes_nothing(filled, database):
    """Entries that were applied are passed over, pushed or replayed; one that comes too early is a hole."""
    projection = Totals(database)
    entries = list(filled.read(0, 12))

    assert [True, True, False, False] == [projection.deliver(entries[n]) for n in (0, 1, 1, 0)]
    with pytest.raises(EntryMissingError) as caught:
        projection.deliver(entries[3])
    assert (2, 2) == (caught.value.index, projection.position)
    twice = [entry for entry in entries for _ in range(2)]
    for _ in range(2):
        assert len(entries) == projection.follow(lambda *_: iter([*twice, *entries]))

    assert Totals.digest_at(filled.read, len(entries)) == projection.digest()


class Failing(Totals):
    """Fails at one entry, by itself or by what it asks of the database, and counts how often it was asked."""

    bad: int | None = 300
    statement: tuple = ()

    def apply(self, database, entry):
        """As `Totals`, and then fail."""
        super().apply(database, entry)
        if entry.index == self.bad and self.statement:
            database.execute(*self.statement)
        elif entry.index == self.bad:
            raise KeyError("cannot apply")


@pytest.mark.parametrize(
    "statement",
    [
        (),
        ("UPDATE totals SET total = -1 WHERE type = ?", ("work.begun",)),
        ("SELECT nothing FROM nowhere",),
    ],
    ids=["raises", "constraint", "statement"],
)
def test_what_cannot_be_applied_is_named(filled, database, statement):
    """All before the bad entry is applied, nothing of it is, and the error has its index, however it came about."""
    projection = Failing(database)
    projection.statement = statement

    for _ in range(2):
        with pytest.raises(ProjectionError, match="projection totals cannot apply entry 300") as caught:
            filled.replay(projection)
        assert (300, 300) == (caught.value.index, projection.position)
        assert Totals.digest_at(filled.read, 300) == projection.digest()

    projection.bad = None
    assert COUNT == filled.replay(projection)
    assert Totals.digest_at(filled.read, COUNT) == projection.digest()


@pytest.mark.service("postgresql")
def test_a_constraint_that_is_checked_late(filled, postgresql_url):
    """What the database refuses only at the end of the transaction is traced to its entry all the same."""

    class Once(Totals):
        def prepare(self, database):
            database.execute("CREATE TABLE IF NOT EXISTS totals (n BIGINT UNIQUE DEFERRABLE INITIALLY DEFERRED)")

        def apply(self, database, entry):
            database.execute("INSERT INTO totals VALUES (?)", (entry.index % 300,))

    with Database.open(postgresql_url) as database:
        projection = Once(database)
        with pytest.raises(ProjectionError, match="cannot apply entry 300"):
            filled.replay(projection)
        assert (300, 300) == (projection.position, len(projection.snapshot().state["totals"]))


def test_an_interrupted_replay(filled, database):
    """Ctrl-C leaves what was durable, and is not taken for a failure of the entry."""

    class Interrupted(Failing):
        def apply(self, database, entry):
            try:
                super().apply(database, entry)
            except KeyError:
                raise KeyboardInterrupt from None

    projection = Interrupted(database)
    with pytest.raises(KeyboardInterrupt):
        filled.replay(projection)

    # A transaction ends after so many entries, or after some time on a slow machine.
    assert 0 < projection.position <= 300
    assert Totals.digest_at(filled.read, projection.position) == projection.digest()
    projection.bad = None
    assert COUNT == filled.replay(projection)


def test_a_full_disk_that_is_overlooked(filled, tmp_path):
    """SQLite rolls a transaction back by itself when there is no room; an `apply` that ignores it is stopped there."""

    class Careless(Totals):
        def apply(self, database, entry):
            super().apply(database, entry)
            with contextlib.suppress(sqlite3.OperationalError):
                database.execute("INSERT INTO totals VALUES (?, 0, 0, 0)", (f"{entry.index}{'x' * 3000}",))

    with Database.open(f"sqlite:///{tmp_path / 'projections.db'}") as database:
        projection = Careless(database)
        database.execute("PRAGMA max_page_count = 40")
        with pytest.raises(ProjectionError, match="ended from within") as caught:
            filled.replay(projection)
        stopped = projection.position
        assert 0 < stopped == caught.value.index
        assert sum(row[1] for row in projection.snapshot().state["totals"]) == stopped

        database.execute("PRAGMA max_page_count = 1000000")
        assert COUNT == filled.replay(projection)
        assert Careless.digest_at(filled.read, COUNT) == projection.digest()


def test_committing_is_not_for_apply(filled, database):
    """An `apply` that ends the transaction is an error."""

    class Committing(Failing):
        statement = ("COMMIT",)

    with pytest.raises(ProjectionError, match="ended from within"):
        filled.replay(Committing(database))


def test_an_entry_that_cannot_be_read(ledger, database):
    """What the log cannot give is the log's error, and all before it is applied."""
    for number in range(5):
        ledger.append("work.done", {"n": number})
    ledger._store._db.execute("UPDATE entry SET raw = x'00' WHERE idx = 3")
    projection = Totals(database)

    with pytest.raises(EntryAlteredError) as caught:
        ledger.replay(projection)

    assert (3, 3) == (caught.value.index, projection.position)


def test_what_fails_only_once_does_not_stop_a_replay(filled, database):
    """A failure that does not come again, as after a deadlock, leaves no trace."""

    class Stumbling(Failing):
        def apply(self, database, entry):
            try:
                super().apply(database, entry)
            finally:
                self.bad = None if entry.index == self.bad else self.bad

    projection = Stumbling(database)

    assert COUNT == filled.replay(projection)
    assert Totals.digest_at(filled.read, COUNT) == projection.digest()


def test_a_hole_in_the_log(filled, database):
    """What lies before the hole is applied, and the hole is named."""
    projection = Totals(database)

    with pytest.raises(EntryMissingError) as caught:
        projection.follow(lambda start, end: (e for e in filled.read(start, end) if e.index != 290))

    assert (290, 290) == (caught.value.index, projection.position)
    with pytest.raises(EntryMissingError, match="600"):
        Totals.digest_at(filled.read, COUNT + 1)


def test_a_log_that_was_set_back(ledger, filled, database):
    """A log with fewer entries than were applied is not taken for one that has nothing new."""
    ledger.append("work.done", {"n": 1})
    projection = Totals(database)
    filled.replay(projection, until=2)

    with pytest.raises(TailDroppedError, match="shorter than its projection(.|\n)*2 entries"):
        ledger.replay(projection)

    ledger.append("work.done", {"n": 1})
    assert 2 == ledger.replay(projection)


def test_reset_and_rebuild(filled, where, database):
    """A projection forgets everything and is rebuilt, even under another one that is in the middle of a replay."""
    projection, told = Totals(database), []
    with Database.open(where) as second:
        other = Totals(second)

        def reset_once(position):
            told.append(position)
            if len(told) == 2:
                other.reset()
                assert (0, {"totals": []}) == (other.position, other.snapshot().state)

        assert COUNT == projection.follow(filled.read, progress=reset_once)

    assert [256, 512, 256, 512, COUNT] == told
    assert Totals.digest_at(filled.read, COUNT) == projection.digest()


class Tableless(Totals):
    """Names no tables."""

    tables = ()


def test_reset_needs_to_know_the_tables(database):
    """What a projection made is not guessed."""
    with pytest.raises(ValueError, match="does not name its tables"):
        Tableless(database).reset()


def test_kills_in_the_middle(log, filled, where, database):
    """Replays killed again and again, two at a time: in the end every entry was applied exactly once."""
    expected = Totals.digest_at(filled.read, COUNT)
    survivor, chance = Totals(database), random.Random(5)
    inside = rounds = finished = 0
    while inside < 20 and rounds < 100:
        rounds += 1
        before, workers = survivor.position, []
        for _ in range(2):
            read, write = os.pipe()
            process = PROCESSES.Process(target=totals_until_killed, args=(log, where, Descriptor(write)))
            process.start()
            os.close(write)
            workers.append((process, read))
        for process, read in workers:
            for _ in range(chance.randrange(1, 400)):
                os.read(read, 1)
            process.kill()
            process.join()
            with os.fdopen(read, "rb") as pipe:
                inside += not pipe.read().endswith(b"!") and process.exitcode == -9
        snapshot = survivor.snapshot()
        assert before <= snapshot.position
        assert Totals.digest_at(filled.read, snapshot.position) == snapshot.digest
        if snapshot.position == COUNT:
            finished += 1
            survivor.reset()

    assert COUNT == filled.replay(survivor)
    assert expected == survivor.digest()
    assert inside >= 20, f"only {inside} kills landed inside in {rounds} rounds: too few to show anything"
    assert finished


def test_many_at_once(log, filled, where, database):
    """Processes that replay one projection at the same time share the work, and apply nothing twice."""
    survivor = Totals(database)
    read, write = os.pipe()
    workers = [PROCESSES.Process(target=totals_until_killed, args=(log, where, Descriptor(write))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read()

    assert [0] * 4 == [worker.exitcode for worker in workers]
    assert (COUNT, 4) == (told.count(b"."), told.count(b"!"))
    assert Totals.digest_at(filled.read, COUNT) == survivor.digest()


def test_marks_in_literals_are_text(database):
    """A question mark in a literal, a quoted name or a comment stands for itself, and so does a per cent sign."""
    query = """SELECT '?''?', "?", 7 % 4, ? /* ? */, '%s' FROM (SELECT 5 AS "?") AS t -- ?"""

    assert [("?'?", 5, 3, "%", "%s")] == [tuple(row) for row in database.execute(query, ("%",))]


def test_a_connection_in_use_is_refused(filled, database):
    """A replay does not commit, nor join, what somebody else has begun."""
    projection = Totals(database)
    database.execute("BEGIN")

    with pytest.raises(ProjectionError, match="transaction of its own") as caught:
        filled.replay(projection)

    database.execute("ROLLBACK")
    assert (None, COUNT) == (caught.value.index, filled.replay(projection))


def test_a_database_that_is_gone(filled, where, database, monkeypatch):
    """A lost connection is a named error; whoever connects again goes on where the last transaction ended."""
    # On a busy machine a transaction may else be over its time before it has its 256 entries.
    monkeypatch.setattr("companyos.ledger.projection.SECONDS_PER_TRANSACTION", 600)
    projection = Totals(database)

    def lose(position):
        if position == 256:
            projection._db.close()

    with pytest.raises(ProjectionError, match=r"cannot use its database(.|\n)*closed"):
        projection.follow(filled.read, progress=lose)

    with Database.open(where) as again:
        survivor = Totals(again)
        assert (256, COUNT) == (survivor.position, filled.replay(survivor))
        assert Totals.digest_at(filled.read, COUNT) == survivor.digest()


@pytest.mark.service("postgresql")
def test_a_server_that_drops_the_connection(filled, postgresql, postgresql_url):
    """PostgreSQL ends a session in the middle of a transaction: a named error, and nothing of it stays."""

    class Unlucky(Totals):
        def apply(self, database, entry):
            super().apply(database, entry)
            if entry.index == 400:
                postgresql.execute(f"SELECT pg_terminate_backend({pid}, 10000)")

    with Database.open(postgresql_url) as database:
        ((pid,),) = database.execute("SELECT pg_backend_pid()").fetchall()
        with pytest.raises(ProjectionError):
            filled.replay(Unlucky(database))
    with Database.open(postgresql_url) as again:
        survivor = Totals(again)
        # A slice is committed when it is large or has taken its time: which one was the last depends on the machine.
        assert survivor.position <= 400
        assert Totals.digest_at(filled.read, survivor.position) == survivor.digest()


@pytest.mark.service("postgresql")
def test_connections_of_a_caller(filled, postgresql_url):
    """A psycopg connection in autocommit mode will do, however it gives its rows; others are refused."""
    import psycopg
    from psycopg.rows import dict_row

    with psycopg.connect(postgresql_url, autocommit=True, row_factory=dict_row) as connection:
        projection = Totals(connection)
        assert COUNT == filled.replay(projection)
        assert Totals.digest_at(filled.read, COUNT) == projection.digest()
    with psycopg.connect(postgresql_url) as connection, pytest.raises(ValueError, match="autocommit=True"):
        Totals(connection)
    with pytest.raises(TypeError, match="not a connection of sqlite3 or psycopg: object"):
        Totals(object())


def test_rows_of_another_shape(filled):
    """A SQLite connection may give its own caller any rows."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row

    projection = Totals(connection)

    assert COUNT == filled.replay(projection)
    assert Totals.digest_at(filled.read, COUNT) == projection.digest()
    connection.close()


@pytest.mark.parametrize(
    "url",
    ["mysql://me:secret@there/x", "sqlite:x", "", "sqlite:////nowhere/at/all.db", "postgresql://me:se%secret@[/x"],
)
def test_a_database_that_cannot_be_opened(url):
    """Another kind of database, or none at all, is an error that does not repeat the password."""
    with pytest.raises(ConfigError) as caught:
        Database.open(url)

    assert "secret" not in str(caught.value)
