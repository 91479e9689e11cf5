"""A log on a PostgreSQL server: what is its own, and what becomes of it when the server is not there."""

from __future__ import annotations

import threading
from contextlib import suppress

import psycopg
import pytest

from companyos.errors import ConfigError
from companyos.ledger import Draft, Ledger, StoreUnreadableError, TailDroppedError
from companyos.ledger.url import open_store
from tests.ledger.ledger_workers import ORIGIN, Place, append_many, gather
from tests.services import PostgreSQL, available

pytestmark = pytest.mark.service("postgresql")

SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'companyos-ledger'"


@pytest.fixture
def place(postgresql_url, tmp_path):
    """Where the log of this test is kept."""
    return Place(postgresql_url, tmp_path)


@pytest.fixture
def admin(postgresql_url):
    """A connection to the same database that is not the log's."""
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def own():
    """A server that the test may stop."""
    server = PostgreSQL(available("postgresql"))
    yield server
    server.stop()


def test_a_log_for_each_tenant(place):
    """Two schemas of one database are two logs, and neither sees the other's entries."""
    first, second = (Place(f"{place.url}?log_schema={name}", place.folder) for name in ("tenant_a", "tenant_b"))
    with first.open() as one, second.open() as other:
        one.append("work.done", {}, id="a")
        other.append_many([Draft("work.done", {}, "b"), Draft("work.done", {}, "c")])

        assert [entry.id for entry in one.read()] == ["a"]
        assert [entry.id for entry in other.read()] == ["b", "c"]
        assert (one.verify().size, other.verify().size) == (1, 2)


@pytest.mark.parametrize("name", ["", "Upper", "a-b", "a b", 'a"b', "a;drop", "1a", "pg_mine", "a" * 64])
def test_names_of_schemas(place, name):
    """What is not a plain lower-case name is refused as the schema of a log."""
    with pytest.raises(ConfigError, match="schema"):
        open_store(f"{place.url}?log_schema={name}")


def test_commits_are_waited_for_whatever_the_default(place, admin):
    """Where the database's default is not to wait for the disk, the session that commits entries does."""
    database = place.url.rpartition("/")[2]
    admin.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")

    with place.open() as ledger:
        ledger.append("work.done", {})
        assert ledger._store.durability() == ("on", "on")


def test_a_server_without_fsync_is_refused(own, tmp_path):
    """A server that does not write to its disk can be read from, but no entry is given to it."""
    place = Place(own.create_database(), tmp_path)
    with place.open() as ledger:
        ledger.append("work.done", {})
        key = ledger.verifier.key
    own.execute("ALTER SYSTEM SET fsync = off")
    own.restart()

    with pytest.raises(StoreUnreadableError, match="fsync=off"):
        place.open()
    with Ledger.open_readonly(place.url, [key], origin=ORIGIN) as reader:
        assert reader.verify().size == 1


def test_a_server_that_is_down(own, tmp_path):
    """While the server is down, appends and reads say so; once it is back, the same ledger goes on."""
    place = Place(own.create_database(), tmp_path)
    with place.open() as ledger:
        first = ledger.append("work.done", {"n": 1}, id="first")
        own.kill()
        for action in (lambda: ledger.append("work.done", {"n": 2}, id="second"), lambda: list(ledger.read())):
            with pytest.raises(StoreUnreadableError, match="check the server") as caught:
                action()
            assert own._password not in str(caught.value)
        own.restart()

        second = ledger.append("work.done", {"n": 2}, id="second")
        assert ledger.append("work.done", {"n": 1}, id="first").index == first.index
        assert [(entry.id, entry.index) for entry in ledger.read()] == [("first", 0), ("second", second.index)]
        ledger.verify()


def test_sessions_that_the_server_ends(place, admin):
    """Sessions ended at any moment, a dozen of them at work: every append gives its receipt, and nothing is doubled."""
    done = threading.Event()
    ended = {"active": 0, "other": 0}

    def end_sessions():
        while not done.wait(0.02):
            sessions = f"{SESSIONS.replace('pid', 'pid, state')} AND datname = current_database()"
            for pid, state in admin.execute(sessions).fetchall():
                (gone,) = admin.execute("SELECT pg_terminate_backend(%s)", (pid,)).fetchone()
                ended["active" if state == "active" and gone else "other"] += 1

    told = []
    with place.open(listeners=[told.append]) as ledger:
        thread = threading.Thread(target=end_sessions)
        thread.start()
        receipts, untold = [], set()
        try:
            number = 0
            while ended["active"] < 12 and number < 3000:
                drafts = [Draft("work.done", {"n": n, "pad": "x" * 500}, f"{number}-{n}") for n in range(50)]
                while True:
                    # Three sessions in a row may be ended: then the same ids again, and nobody is told.
                    with suppress(StoreUnreadableError):
                        receipts += ledger.append_many(drafts)
                        break
                    untold.update(draft.id for draft in drafts)
                number += 1
        finally:
            done.set()
            thread.join()
        entries = [(entry.id, entry.index) for entry in ledger.read()]

        assert ended["active"] >= 12, f"only {ended} sessions were ended at work: too few to show anything"
        assert entries == [(receipt.id, receipt.index) for receipt in receipts]
        heard = [(entry.id, entry.index) for entry in told if entry.id not in untold]
        assert heard == [(name, index) for name, index in entries if name not in untold]
        assert ledger.verify().size == 50 * number


def test_passwords_are_never_shown(postgresql, place):
    """A wrong password, a password that is not percent-encoded, an unknown host: no message repeats it."""
    host = f"127.0.0.1:{postgresql.port}"
    urls = [
        f"postgresql://postgres:s3cret@{host}/postgres",
        f"postgresql://postgres:s3c@ret@{host}/postgres",
        f"postgresql://postgres:s3c/ret@{host}/postgres",
        "postgresql://postgres:s3cret@127.0.0.1:1/postgres",
        f"postgresql://postgres:s3cret@{host}/postgres?unknown=1",
        f"postgresql://postgres:s3cret@{host}x/postgres",
    ]
    for url in urls:
        with pytest.raises((ConfigError, StoreUnreadableError)) as caught:
            open_store(url)
        assert not [part for part in ("s3cret", "s3c", "ret@") if part in str(caught.value)]


def test_what_is_not_there(place):
    """Reading where no log is says so and makes none."""
    for _ in range(2):
        with pytest.raises(StoreUnreadableError, match="no ledger"):
            open_store(place.url, create=False)
        with pytest.raises(StoreUnreadableError, match="no ledger"):
            open_store(place.url, readonly=True)


def test_what_is_not_a_log(place, admin):
    """A schema that holds something else is left alone."""
    admin.execute("CREATE SCHEMA theirs; CREATE TABLE theirs.entry (n integer)")

    with pytest.raises(StoreUnreadableError, match="not by a ledger"):
        open_store(f"{place.url}?log_schema=theirs")


def test_a_newer_schema_is_refused(place, admin):
    """A log written by a newer version is refused with what to do."""
    with place.open() as ledger:
        ledger.append("work.done", {})
    admin.execute("UPDATE companyos_ledger.schema_version SET version = 99")

    with pytest.raises(StoreUnreadableError, match="pip install --upgrade"):
        place.open()


def test_a_store_for_reading_writes_nothing(place):
    """A log that is open for reading refuses to write, and its sessions cannot."""
    with place.open() as ledger:
        ledger.append("work.done", {})
        key = ledger.verifier.key
    with Ledger.open_readonly(place.url, [key], origin=ORIGIN) as reader:
        with pytest.raises(StoreUnreadableError, match="reading only"):
            reader.append("work.done", {})
        with pytest.raises(StoreUnreadableError, match="read-only"):
            reader._store._all("DELETE FROM entry RETURNING idx")
        assert reader.verify().size == 1


@pytest.mark.parametrize("guessed", [True, False])
def test_a_removed_checkpoint_is_named(place, admin, guessed):
    """With the newest checkpoint removed, which is also the writers' lock, an append is refused by name."""
    with place.open() as ledger:
        ledger.append("work.done", {})
        if guessed:
            ledger.append("work.done", {})
        admin.execute("DELETE FROM companyos_ledger.head")

        with pytest.raises(TailDroppedError):
            ledger.append("work.done", {})


def test_a_writer_that_stands_still_holds_up_only_who_waits(place, admin):
    """While a session holds the log's lock, reads go on; an append waits for it and then has its place."""
    with place.open() as ledger:
        ledger.append("work.done", {})
        receipts = []
        with admin.transaction():
            admin.execute("SELECT FROM companyos_ledger.head WHERE one = 1 FOR UPDATE")
            thread = threading.Thread(target=lambda: receipts.append(ledger.append("work.done", {})))
            thread.start()
            assert ledger.verify().size == 1
        thread.join()

        assert [receipt.index for receipt in receipts] == [1]


def test_old_snapshots_do_not_break_writing(place, admin):
    """While somebody keeps a transaction open for long, appends go on and verify."""
    with place.open() as ledger:
        ledger.append("work.done", {})
        with admin.transaction():
            admin.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            admin.execute("SELECT 1")
            parts = gather(append_many, [(place, f"p{number}", 50) for number in range(2)])
        assert sorted(index for part in parts for _, index in part) == list(range(1, 101))
        assert ledger.verify().size == 101


def test_closing_leaves_no_session(place, admin):
    """After `close`, the server has no session of the log."""
    with place.open() as ledger:
        ledger.append("work.done", {})
        assert admin.execute(f"{SESSIONS} AND datname = current_database()").fetchall()
    for _ in range(1000):
        if not admin.execute(f"{SESSIONS} AND datname = current_database()").fetchall():
            return
    pytest.fail("sessions are left")
