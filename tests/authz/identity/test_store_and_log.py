"""The store and its ledger never part: concurrent writers, kills, erasures, rebuilding, tampering."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import stat
import time

import psycopg
import pytest
import sqlalchemy as sa

from companyos.authz.identity import (
    Attribute,
    Binding,
    IdentityBehindError,
    IdentityDamagedError,
    IdentitySchemaError,
    IdentityStore,
    IdentityUnavailableError,
    Role,
    Subject,
    UnknownSubjectError,
    entries,
    migration,
)
from companyos.authz.identity.database import Database
from companyos.authz.identity.tables import tables
from companyos.errors import ConfigError, MissingExtraError
from companyos.ledger import ErasedError, PersonUnknownError
from companyos.ports import Personal
from tests.authz.identity.identity_workers import PROCESSES, die_between, put_until_killed, work

KILLS = 20
AGAIN = """
INSERT INTO attributes SELECT 'x', name, value, scope, subject_id, org_id, workspace_id, source, ttl, expires_at, 0
FROM attributes WHERE scope = 'subject'
"""


def tamper(place, statement):
    """Run SQL on the tables behind the store's back."""
    if place.url.startswith("sqlite"):
        with sqlite3.connect(place.folder / "identity.db") as database:
            database.execute(statement)
        database.close()
    else:
        with psycopg.connect(place.url, options="-c search_path=companyos_identity") as connection:
            connection.execute(statement)


def fill(store):
    """A few of everything."""
    store.put(
        Role("editor", org_id="shop"),
        Subject("u-1", org_id="shop", workspace_id="eu"),
        Subject("u-2", org_id="shop"),
        Attribute("clearance", "high", "subject", "u-1"),
        Attribute("clearance", "low", "org", "shop", ttl=3600),
        Binding("u-1", "editor"),
        Binding("u-2", "editor", "eu"),
    )
    store.put_bundle("access", "1.0.0", "dev", "sha256:" + "0" * 64, created_by="u-2")


class TestProcesses:
    def test_writers_at_once(self, place, ledger):
        """Processes that change one store wait for each other; every change is there, and the log says the same."""
        results = PROCESSES.SimpleQueue()
        workers = [PROCESSES.Process(target=work, args=(place, f"w{number}", 8, results)) for number in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

        assert [0, 0, 0] == [worker.exitcode for worker in workers]
        with IdentityStore.open(place.url, ledger) as store:
            names = {subject.id for subject in store.directory().subjects}
            assert {f"w{number}-{turn}" for number in range(3) for turn in range(8)} | {"everybody"} == names
            assert len(ledger) == store.verify()
            assert {} == store.rejected()

    def test_kills(self, place, ledger):
        """Writers killed at any moment: what was acknowledged is there, pairs are whole, store and log agree."""
        seed = random.SystemRandom().randrange(2**32)
        chance, acknowledged, inside = random.Random(seed), set(), 0
        for number in range(KILLS):
            report = place.folder / f"k{number}.txt"
            writer = PROCESSES.Process(target=put_until_killed, args=(place, f"k{number}", report))
            writer.start()
            while not report.exists() or report.read_text().count("\n") < 3:
                assert writer.is_alive()
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.03))
            os.kill(writer.pid, signal.SIGKILL)
            writer.join()
            lines = report.read_text().split()
            done = [line for line in lines if line != ">"]
            inside += lines[-1] == ">"
            acknowledged |= {f"k{number}-{turn}-{half}" for turn in done for half in "ab"}
            with IdentityStore.open(place.url, ledger) as store:
                names = {subject.id for subject in store.directory().subjects}
                assert acknowledged <= names, f"seed {seed}"
                assert {f"{name[:-1]}b" for name in names if name.endswith("a")} <= names, f"seed {seed}"
                assert len(ledger) == store.position
        with IdentityStore.open(place.url, ledger) as store:
            assert store.verify(), f"seed {seed}"
        assert inside >= KILLS // 3, f"only {inside} of {KILLS} kills landed inside a change: too few to show anything"

    def test_killed_between_log_and_tables(self, place, ledger):
        """A change that died right after its entry was logged takes effect at the next opening."""
        with IdentityStore.open(place.url, ledger) as store:
            store.put_subject("u-1")
            victim = PROCESSES.Process(target=die_between, args=(place,))
            victim.start()
            victim.join()
            assert (-signal.SIGKILL, 2) == (victim.exitcode, len(ledger))
            assert "active" == store.resolve("u-1")["status"]

            with IdentityStore.open(place.url, ledger) as next_one:
                assert "suspended" == next_one.resolve("u-1")["status"]
            assert "suspended" == store.resolve("u-1")["status"]
            assert 2 == store.verify()

    def test_a_change_first_applies_what_died(self, place, ledger):
        """Whoever changes something next applies it too, before its own."""
        with IdentityStore.open(place.url, ledger) as store:
            store.put_subject("u-1")
            victim = PROCESSES.Process(target=die_between, args=(place,))
            victim.start()
            victim.join()
            store.put_subject("u-2")

            assert "suspended" == store.resolve("u-1")["status"]


class TestRebuilding:
    def test_from_nothing(self, place, ledger, store):
        """A new database over an old log holds the same, to the last bit."""
        fill(store)
        store.suspend("u-2")
        ledger.append("orders.order.placed", {"order": 1})
        with IdentityStore.open(f"sqlite:///{place.folder / 'second.db'}", ledger) as second:
            store.catch_up()
            assert store.digest() == second.digest()
            assert store.directory() == second.directory()
            assert len(ledger) == second.position

    def test_in_place(self, store):
        """Throwing everything away and building it again changes nothing."""
        fill(store)
        before = store.digest()
        store.rebuild()

        assert before == store.digest()

    def test_an_erased_person_vanishes(self, store, ledger):
        """Attributes and roles go with the person, a bundle loses its author only, and nobody else is touched."""
        fill(store)
        store.erase("u-2", reason="asked for it")

        assert ["u-1"] == [subject.id for subject in store.directory().subjects]
        assert ["u-1"] == [binding.subject_id for binding in store.directory().bindings]
        assert [None] == [bundle.created_by for bundle in store.bundles()]
        with pytest.raises(UnknownSubjectError):
            store.resolve("u-2")
        with pytest.raises(ErasedError):
            ledger.reveal(
                next(entry for entry in ledger.read() if entry.type.endswith("binding_put") and entry.index > 5)
            )

    def test_rebuilding_after_an_erasure(self, store):
        """What can no longer be read is passed over, and the result is that of the store that saw it happen."""
        fill(store)
        store.erase("u-2", reason="asked for it")
        before = store.digest()
        store.rebuild()

        assert before == store.digest()
        assert store.verify()

    def test_an_erased_author_of_changes(self, place, ledger, store):
        """Changes that somebody made who was erased since stay."""
        with IdentityStore.open(place.url, ledger, actor="u-9") as other:
            fill(other)
        ledger.erase("u-9", reason="left")
        store.rebuild()

        assert 2 == len(store.directory().subjects)

    def test_erased_by_the_ledger_alone(self, store, ledger):
        """An erasure that only the ledger was told of reaches the store when it catches up."""
        fill(store)
        ledger.erase("u-1", reason="asked for it")
        store.catch_up()

        assert ["u-2"] == [subject.id for subject in store.directory().subjects]

    def test_named_again(self, store):
        """Somebody who was erased and comes back is somebody new."""
        fill(store)
        store.erase("u-1", reason="asked for it")
        store.put_subject("u-1")

        assert {"roles": []} == store.resolve("u-1")["attributes"]
        assert store.verify()

    def test_nobody_to_erase(self, store):
        """An unknown person is an error, and nothing happens."""
        with pytest.raises(PersonUnknownError):
            store.erase("nobody", reason="?")

    def test_a_lost_key(self, store, ledger):
        """Entries that cannot be read although nobody was erased are a refusal, and change nothing."""
        fill(store)
        before = store.digest()
        lost = next(entry.subject for entry in ledger.read() if entry.subject)
        ledger._people.bury([lost])

        with pytest.raises(IdentityBehindError, match="no erasure says why"):
            store.rebuild()
        assert before == store.digest()


class TestFollowing:
    def test_another_log(self, place, store, ledger, tmp_path):
        """A store is not opened over a log that it does not reflect; rebuilding makes it that log's."""
        fill(store)
        elsewhere = place._replace(folder=tmp_path / "elsewhere")
        elsewhere.folder.mkdir()
        with elsewhere.ledger() as other:
            with pytest.raises(IdentityBehindError, match="shorter"):
                IdentityStore.open(place.url, other)
            for number in range(len(ledger)):
                other.append("orders.order.placed", {"order": number})
            with pytest.raises(IdentityBehindError, match="is not the one"):
                IdentityStore.open(place.url, other)
            with IdentityStore.open(place.url, other, rebuild=True) as rebuilt:
                assert () == rebuilt.directory().subjects

    def test_a_store_that_went_back(self, place, store):
        """Rows of an older backup under a running store are noticed at the next resolving, and mended by opening."""
        fill(store)
        tamper(place, "UPDATE identity_store SET position = 2, last_index = 1, last_leaf = NULL")

        with pytest.raises(IdentityBehindError, match="lost state"):
            store.resolve("u-1")

    def test_a_store_without_position(self, place, store):
        """A store that lost its position refuses to change or to be read."""
        fill(store)
        tamper(place, "DELETE FROM identity_store")

        with pytest.raises(IdentityBehindError, match="lost"):
            store.resolve("u-1")
        with pytest.raises(IdentityBehindError, match="lost its position"):
            store.put_subject("u-3")
        store.rebuild()
        assert store.resolve("u-1")

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE subjects SET status = 'suspended' WHERE id = 'u-1'",
            "UPDATE attributes SET value = '\"top\"' WHERE scope = 'subject'",
            "DELETE FROM role_bindings WHERE subject_id = 'u-1'",
            "INSERT INTO roles VALUES ('root', 'admin', NULL, '', 'root')",
            "UPDATE attributes SET expires_at = NULL",
            "UPDATE policy_bundles SET checksum = 'sha256:ffffffffffffffff'",
        ],
    )
    def test_what_somebody_wrote_into_the_tables(self, place, store, statement):
        """Rows that the ledger does not know of are found by verify, and gone after a rebuild."""
        fill(store)
        before = store.digest()
        tamper(place, statement)

        with pytest.raises(IdentityDamagedError, match="differences in"):
            store.verify()
        store.rebuild()
        assert (before, True) == (store.digest(), store.verify() > 0)

    def test_a_value_that_is_no_json(self, place, store):
        """A row that cannot be read is damage, not an absent attribute."""
        fill(store)
        tamper(place, "UPDATE attributes SET value = '{' WHERE scope = 'subject'")

        with pytest.raises(IdentityDamagedError):
            store.resolve("u-1")

    @pytest.mark.parametrize(
        ("kind", "data"),
        [
            ("subject_put", {}),
            ("subject_put", {"record": 7}),
            ("subject_put", {"record": {"id": "u-7", "type": "robot"}}),
            ("subject_put", {"record": {"id": "u-7", "colour": "red"}}),
            ("subject_put", {"record": {"id": "u-7"}}),
            ("binding_put", {"record": {"subject_id": "nobody", "role_id": "editor"}, "rest": "many"}),
            ("attribute_put", {"record": {"name": "a", "value": 1, "scope": "subject", "owner": "nobody"}}),
            ("role_removed", {"record": {"id": "editor"}}),
            ("role_put", {"record": {"id": "editor-2", "name": "editor", "org_id": "shop"}}),
        ],
    )
    def test_entries_that_are_no_changes(self, store, ledger, kind, data):
        """What somebody else appended under our name and does not fit is passed over, and said; the rest goes on."""
        fill(store)
        before = store.directory()
        receipt = ledger.append(f"companyos.identity.{kind}", data, source=entries.SOURCE)
        store.put_subject("u-3")

        assert [receipt.index] == list(store.rejected())
        assert before.bindings == store.directory().bindings
        assert store.verify()

    def test_a_change_of_a_newer_companyos(self, store, ledger):
        """A kind of change that this code does not know stops it: it must not go on without."""
        store.put_subject("u-1")
        ledger.append("companyos.identity.subject_frozen", {"record": {}}, source=entries.SOURCE)

        with pytest.raises(IdentityBehindError, match="does not know"):
            store.put_subject("u-2")
        assert "active" == store.resolve("u-1")["status"]

    def test_other_sources_do_not_count(self, store, ledger):
        """An entry of our type from elsewhere is nothing to the store."""
        ledger.append("companyos.identity.role_put", {"record": {"id": "root"}}, source="plugin/x")
        store.catch_up()

        assert ((), {}) == (store.directory().roles, store.rejected())

    def test_written_by_hand(self, store, ledger):
        """A change that somebody appended past the store counts like any other, and goes with its person."""
        ledger.append(
            "companyos.identity.subject_put",
            {
                "record": Personal(
                    {"id": "u-5", "type": "user", "status": "active", "created_at": "2026-01-01T00:00:00Z"}, "u-5"
                ),
                "rest": 0,
            },
            source=entries.SOURCE,
            subject=Personal(None, "u-5"),
        )
        store.catch_up()
        there = [subject.id for subject in store.directory().subjects]
        store.erase("u-5", reason="asked for it")

        assert (["u-5"], ()) == (there, store.directory().subjects)


class TestDatabase:
    def test_tables_and_code_agree(self, place, store):
        """What the migrations make is what the code thinks there is, constraints included."""
        store.put_subject("u-1")
        url = place.url.replace("postgresql://", "postgresql+psycopg://")
        options = {} if url.startswith("sqlite") else {"options": "-c search_path=companyos_identity"}
        engine = sa.create_engine(url, connect_args=options)
        made = sa.inspect(engine)
        ours = sa.create_engine("sqlite://")
        tables().metadata.create_all(ours)
        thought = sa.inspect(ours)
        assert set(thought.get_table_names()) | {migration.VERSION_TABLE} == set(made.get_table_names())
        for table in thought.get_table_names():
            for part in (
                "columns",
                "indexes",
                "unique_constraints",
                "check_constraints",
                "foreign_keys",
                "pk_constraint",
            ):
                found = [shape(part, getattr(inspector, f"get_{part}")(table)) for inspector in (made, thought)]
                assert found[0] == found[1], f"{part} of {table}"
        engine.dispose()
        ours.dispose()

    @pytest.mark.parametrize(
        "statement",
        [
            "INSERT INTO subjects VALUES ('x', 'robot', NULL, NULL, 'active', '2026-01-01', 'x', 'p')",
            "INSERT INTO subjects VALUES ('x', 'user', NULL, NULL, 'paused', '2026-01-01', 'x', 'p')",
            "INSERT INTO attributes VALUES ('x', 'n', '1', 'org', 'u-1', NULL, NULL, 's', NULL, NULL, 0)",
            "INSERT INTO attributes VALUES ('x', 'n', '1', 'subject', 'u-1', 'o', NULL, 's', NULL, NULL, 0)",
            AGAIN,
            "INSERT INTO attributes VALUES ('x', 'n', '1', 'org', NULL, 'o', NULL, 's', 0, NULL, 0)",
            "INSERT INTO roles VALUES ('x', 'editor', 'shop', '', 'x')",
            "INSERT INTO role_bindings VALUES ('x', 'u-1', 'editor', NULL, NULL)",
            "INSERT INTO role_bindings VALUES ('x', 'u-2', 'editor', 'eu', NULL)",
            "INSERT INTO policy_bundles VALUES ('b', '1', 'live', 'c', NULL, NULL)",
            "INSERT INTO identity_store VALUES (2, NULL, 0, NULL, NULL)",
        ],
    )
    def test_constraints_hold(self, place, store, statement):
        """The database itself refuses what the model does not allow."""
        fill(store)

        with pytest.raises((sqlite3.IntegrityError, psycopg.errors.IntegrityError)):
            tamper(place, statement)

    def test_a_newer_schema(self, place, ledger, store):
        """Tables of a later companyos are refused with what to do, and not touched."""
        tamper(place, "UPDATE identity_alembic_version SET version_num = '999_of_the_future'")

        with pytest.raises(IdentitySchemaError, match="pip install --upgrade companyos") as caught:
            IdentityStore.open(place.url, ledger)
        assert ("999_of_the_future", "identity.schema") == (caught.value.got, caught.value.code)

    def test_taken_back(self, place, ledger):
        """A migration can be taken back to nothing, and made again."""
        database = Database(place.url)
        with database.writing() as connection:
            migration.migrate(connection, "downgrade", "base")
        with database.writing() as connection:
            migration.migrate(connection)
        database.close()
        with IdentityStore.open(place.url, ledger) as store:
            assert store.put_subject("u-1")

    def test_many_open_an_empty_database_at_once(self, place):
        """The tables are made once, whoever comes first, in whichever process."""
        results = PROCESSES.SimpleQueue()
        with place.ledger():
            workers = [PROCESSES.Process(target=work, args=(place, f"w{n}", 1, results)) for n in range(4)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()

        assert [0] * 4 == [worker.exitcode for worker in workers]

    @pytest.mark.parametrize("url", ["mysql://me:secret@there/x", "sqlite:x", "", "sqlite:///", "postgresql+x://h/d"])
    def test_another_kind_of_url(self, ledger, url):
        """It is refused, and its password not repeated."""
        with pytest.raises(ConfigError) as caught:
            IdentityStore.open(url, ledger)

        assert "secret" not in str(caught.value)


def shape(part, found):
    """What matters of what an inspector tells, the same for both databases."""
    if part == "columns":
        return sorted((column["name"], column["nullable"]) for column in found)
    if part == "check_constraints":
        return sorted(check["name"] for check in found)
    if part == "foreign_keys":
        return sorted(
            (key["constrained_columns"], key["referred_table"], key["options"].get("ondelete")) for key in found
        )
    if part == "pk_constraint":
        return found["constrained_columns"]
    unique = [one for one in found if not one.get("duplicates_constraint")]
    return sorted((one["name"], one["column_names"], bool(one.get("unique", True))) for one in unique)


class TestSqlite:
    """What concerns one file."""

    @pytest.fixture
    def place(self, tmp_path):
        from tests.authz.identity.identity_workers import Place

        return Place(f"sqlite:///{tmp_path / 'identity.db'}", tmp_path)

    def test_for_its_owners_eyes(self, place, store):
        """The file holds who is who: nobody else may read it."""
        store.put_subject("u-1")
        modes = {stat.S_IMODE(path.stat().st_mode) for path in place.folder.glob("identity.db*")}

        assert {0o600} == modes

    def test_nothing_of_the_erased_is_left_in_the_file(self, place, store):
        """After an erasure the bytes are gone from the file and its write-ahead log."""
        store.put_subject("vanishing-person")
        store.put_attribute("nickname", "Vanny", subject="vanishing-person")
        before = b"".join(path.read_bytes() for path in place.folder.glob("identity.db*"))
        store.erase("vanishing-person", reason="asked for it")
        after = b"".join(path.read_bytes() for path in place.folder.glob("identity.db*"))

        assert (True, True) == (b"vanishing-person" in before, b"Vanny" in before)
        assert (False, False) == (b"vanishing-person" in after, b"Vanny" in after)

    def test_removed_while_open(self, place, store):
        """A file that is gone, or another one, does not go on answering."""
        fill(store)
        (place.folder / "identity.db").unlink()
        with pytest.raises(IdentityBehindError, match="removed or replaced"):
            store.resolve("u-1")
        (place.folder / "identity.db").write_bytes(b"")
        with pytest.raises(IdentityBehindError, match="removed or replaced"):
            store.resolve("u-1")
        with pytest.raises(IdentityBehindError, match="removed or replaced"):
            store.put_subject("u-3")

    def test_deleted_and_opened_again(self, place, ledger, store):
        """A store whose file was lost is built from the log when it is next opened."""
        fill(store)
        before = store.digest()
        store.close()
        for path in place.folder.glob("identity.db*"):
            path.unlink()
        with IdentityStore.open(place.url, ledger) as again:
            assert before == again.digest()

    def test_an_older_backup(self, place, ledger, store):
        """A store restored from a backup is brought up to date when it is next opened."""
        fill(store)
        store.close()
        shutil.copy(place.folder / "identity.db", place.folder / "backup.db")
        with IdentityStore.open(place.url, ledger) as later:
            later.suspend("u-1")
        shutil.copy(place.folder / "backup.db", place.folder / "identity.db")
        with IdentityStore.open(place.url, ledger) as again:
            assert "suspended" == again.resolve("u-1")["status"]

    def test_not_in_the_ledgers_file(self, place, ledger):
        """The ledger's own file, or another application's, is refused and left alone."""
        before = (place.folder / "ledger.db").stat().st_size
        with pytest.raises(IdentitySchemaError, match="another application"):
            IdentityStore.open(f"sqlite:///{place.folder / 'ledger.db'}", ledger)

        assert before == (place.folder / "ledger.db").stat().st_size
        assert ledger.append("work.done", {})

    @pytest.mark.parametrize(
        "content", [b"not a database at all, but long enough to look at" * 100, b"SQLite format 3\0"]
    )
    def test_not_a_database(self, place, ledger, content):
        """A file that is none is an error by name."""
        (place.folder / "identity.db").write_bytes(content)

        with pytest.raises(IdentityUnavailableError):
            IdentityStore.open(place.url, ledger)

    def test_without_the_libraries(self, place, ledger, monkeypatch):
        """Without SQLAlchemy the error says what to install."""
        monkeypatch.setitem(__import__("sys").modules, "sqlalchemy", None)

        with pytest.raises(MissingExtraError, match=r"companyos\[identity\]"):
            IdentityStore.open(place.url, ledger)


@pytest.mark.service("postgresql")
class TestPostgresql:
    """What concerns a server."""

    @pytest.fixture
    def place(self, tmp_path, postgresql_url):
        from tests.authz.identity.identity_workers import Place

        return Place(postgresql_url, tmp_path)

    def test_connections_that_were_lost_are_replaced(self, store, postgresql):
        """After the server has ended all sessions, the next call answers."""
        fill(store)
        store.resolve("u-1")
        postgresql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

        assert "u-1" == store.resolve("u-1")["id"]
        assert store.suspend("u-1")

    def test_a_server_that_stands_still(self, place, ledger, postgresql):
        """A server that was stopped answers nothing: resolving gives up, and goes on once it is awake again."""
        with IdentityStore.open(place.url, ledger, timeout_seconds=0.5) as store:
            fill(store)
            store.resolve("u-1")
            ((pid,),) = store._database.rows("SELECT pg_backend_pid()", ())
            os.kill(pid, signal.SIGSTOP)
            try:
                with pytest.raises(IdentityUnavailableError, match="no answer in time"):
                    store.resolve("u-1")
            finally:
                os.kill(pid, signal.SIGCONT)
            assert "u-1" == store.resolve("u-1")["id"]

    def test_a_server_that_is_not_there(self, ledger):
        """Not a password in the text, and an error that is never an answer."""
        with pytest.raises(IdentityUnavailableError) as caught:
            IdentityStore.open("postgresql://me:secret@127.0.0.1:1/x", ledger)

        assert "secret" not in str(caught.value)

    def test_a_lock_that_somebody_holds(self, store, place, ledger):
        """Resolving goes on while somebody else is in the middle of a change."""
        fill(store)
        with psycopg.connect(place.url, options="-c search_path=companyos_identity") as connection:
            connection.execute("UPDATE identity_store SET position = position")
            assert "u-1" == store.resolve("u-1")["id"]

    def test_errors_repeat_no_values(self, place, store):
        """What SQLAlchemy and the driver say about a failed statement names no person."""
        fill(store)
        tamper(place, "ALTER TABLE subjects ADD CONSTRAINT no_ann CHECK (id <> 'ann@example.org')")

        with pytest.raises(Exception, match="does not fit") as caught:
            store.put_subject("ann@example.org")
        assert "ann@" not in str(caught.value)
