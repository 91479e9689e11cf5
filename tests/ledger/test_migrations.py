"""Old schemas: brought to the present one whole or not at all, and never by a reader."""

from __future__ import annotations

import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from companyos.errors import MissingExtraError
from companyos.ledger import (
    CheckpointInvalidError,
    EntryAlteredError,
    EntryMissingError,
    Ledger,
    StoreUnreadableError,
    TailDroppedError,
    TreeAlteredError,
)
from companyos.ledger.migrations import running
from companyos.ledger.stores import schema
from companyos.signing import PublicKey
from tests.ledger.old_logs import ORIGIN, contents, write_old_log
from tests.ledger.test_merkle import naive_path, naive_root

SIZE = 600
LARGE = 100_000


def _path(tmp_path_factory, name, size):
    path = tmp_path_factory.mktemp(name) / "ledger.db"
    write_old_log(path, size)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An old log of two complete tiles and an incomplete one, written once."""
    return _path(tmp_path_factory, "small", SIZE)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """An old log of 100,000 entries, written once."""
    return _path(tmp_path_factory, "large", LARGE)


def _copy(path, tmp_path):
    shutil.copytree(path.parent, tmp_path / "copy")
    return tmp_path / "copy" / path.name


@pytest.fixture
def old(small, tmp_path):
    """A copy of the small old log with its keys."""
    return _copy(small, tmp_path)


def _open(path):
    return Ledger.open(f"sqlite:///{path}", origin=ORIGIN)


def _key(path):
    return PublicKey.load(f"file:{path.with_name(path.name + '.keys') / 'ledger.pem.pub'}")


def _sql(path, *statements):
    database = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        database.execute(statement)
    database.close()


def test_an_old_log_is_brought_up_to_date(old):
    """Opened for writing, an old log gets the present tables; entries, checkpoint and payloads stay what they were."""
    before = contents(old)

    with _open(old) as ledger:
        verified = ledger.verify(deep=True)
        again = ledger.append("work.done", {"n": 7}, id="id-7")
        fresh = ledger.append("work.done", {"n": SIZE}, id="new")

    after = contents(old)
    assert (verified.size, verified.dropped_payloads) == (SIZE, 0)
    assert (again.index, fresh.index) == (7, SIZE)
    assert after["user_version"] == [(schema.VERSION,)]
    assert "node" not in after
    assert after["entry"][:SIZE] == before["entry"]
    assert after["detached"] == [(*row, "", 0.0) for row in before["detached"]]


def test_proofs_of_a_migrated_log(old):
    """Its tiles give the proofs of RFC 6962, and a checkpoint from before the migration is an anchor."""
    anchor = contents(old)["head"][0][1]

    with _open(old) as ledger:
        leaves = [ledger.raw(index) for index in range(SIZE)]
        paths = {index: list(ledger.prove(index).path) for index in (0, 255, 256, 511, 512, SIZE - 1)}

        assert ledger.head().root == naive_root(leaves)
        assert ledger.verify(against=anchor).anchored
    assert paths == {index: naive_path(index, leaves) for index in paths}


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 512])
def test_sizes_around_a_tile(tmp_path, size):
    """Logs whose last tile is empty, nearly full or just full migrate, and grow on."""
    path = tmp_path / "ledger.db"
    write_old_log(path, size)

    with _open(path) as ledger:
        ledger.append("work.done", {"n": size})

        assert ledger.verify(deep=True).size == size + 1


def test_a_large_log_takes_constant_memory(small, large, tmp_path):
    """A log of 100,000 entries migrates with no more memory than one of 600, within 8 MiB: its hashes alone are 10."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = _copy(small, tmp_path / "a"), _copy(large, tmp_path / "b")

    result = subprocess.run(
        [sys.executable, "-m", "tests.ledger.old_logs", str(one), str(other)],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert int(result.stdout) < 8 * 1024
    with _open(other) as ledger:
        assert ledger.verify().size == LARGE


def test_a_kill_inside_leaves_the_old_schema(large, tmp_path):
    """Killed while it writes, a migration leaves no trace; the next one brings the log up to date."""
    path = _copy(large, tmp_path)
    before = contents(path)
    wal = path.with_name(f"{path.name}-wal")
    program = "import sys; from companyos.ledger import Ledger; Ledger.open(sys.argv[1], origin=sys.argv[2])"
    inside = 0
    # What SQLite cannot keep in its cache it writes before the commit: then the transaction is under way.
    for threshold in (1, 200_000, 2_000_000):
        with subprocess.Popen([sys.executable, "-c", program, f"sqlite:///{path}", ORIGIN]) as process:
            while process.poll() is None and not (wal.exists() and wal.stat().st_size > threshold):
                pass
            process.send_signal(signal.SIGKILL)
        inside += process.returncode == -signal.SIGKILL
        assert contents(path) == before

    assert inside == 3
    with _open(path) as ledger:
        assert ledger.verify().size == LARGE


def test_processes_that_migrate_at_once(old):
    """Four processes that open an old log at the same time migrate it once, and all append to it."""
    program = (
        "import sys; from companyos.ledger import Ledger\n"
        "with Ledger.open(sys.argv[1], origin=sys.argv[2]) as log: print(log.append('work.done', {}).index)"
    )
    command = [sys.executable, "-c", program, f"sqlite:///{old}", ORIGIN]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    places = [int(process.communicate(timeout=60)[0]) for process in processes]

    assert sorted(places) == list(range(SIZE, SIZE + 4))
    with _open(old) as ledger:
        assert ledger.verify(deep=True).size == SIZE + 4


def test_a_reader_says_what_to_do(old):
    """Opened for reading only, an old log is refused with the way out, and not a byte of it is written."""
    before = old.read_bytes()

    with pytest.raises(StoreUnreadableError, match="older companyos") as caught:
        Ledger.open_readonly(f"sqlite:///{old}", [_key(old)], origin=ORIGIN)

    assert "companyos ledger migrate" in str(caught.value)
    assert (caught.value.got, caught.value.expected) == ("schema 1", "schema 2")
    assert before == old.read_bytes()


@pytest.mark.parametrize("readonly", [True, False])
def test_a_newer_schema_says_what_to_do(old, readonly):
    """A log of a later version is refused by readers and writers, naming both versions and the way out."""
    _sql(old, "PRAGMA user_version = 3")
    before = old.read_bytes()

    with pytest.raises(StoreUnreadableError, match="newer companyos") as caught:
        Ledger.open_readonly(f"sqlite:///{old}", [_key(old)], origin=ORIGIN) if readonly else _open(old)

    assert "pip install --upgrade companyos" in str(caught.value)
    assert (caught.value.got, caught.value.expected) == ("schema 3", "at most 2")
    assert before == old.read_bytes()


@pytest.mark.parametrize(
    ("statement", "error", "index"),
    [
        ("UPDATE entry SET leaf = zeroblob(32) WHERE idx = 4", TreeAlteredError, None),
        ("UPDATE entry SET leaf = 'text' WHERE idx = 4", TreeAlteredError, None),
        ("DELETE FROM entry WHERE idx = 300", EntryMissingError, 300),
        ("DELETE FROM entry WHERE idx >= 599", TailDroppedError, 599),
        ("DELETE FROM entry", TailDroppedError, 0),
        ("INSERT INTO entry SELECT 600, 'x', source, raw, leaf, raw FROM entry WHERE idx = 0", TreeAlteredError, 600),
        ("DELETE FROM head", TailDroppedError, None),
        ("UPDATE head SET note = 'hello'", CheckpointInvalidError, None),
        ("UPDATE head SET note = x'ff00'", CheckpointInvalidError, None),
    ],
)  # fmt: skip
def test_a_damaged_log_is_not_migrated(old, statement, error, index):
    """A log whose hashes are not those of its checkpoint is refused by the name of the damage, and left as it is."""
    _sql(old, statement)
    before = contents(old)

    with pytest.raises(error) as caught:
        _open(old)

    assert (type(caught.value), caught.value.index) == (error, index)
    assert contents(old) == before


def test_what_was_altered_before_is_found_after(old):
    """A migration reads hashes only: an entry altered beneath its hash before is found by verifying afterwards."""
    _sql(old, "UPDATE entry SET raw = replace(CAST(raw AS TEXT), '\"n\":400', '\"n\":999') WHERE idx = 400")

    with _open(old) as ledger, pytest.raises(EntryAlteredError) as caught:
        ledger.verify()

    assert caught.value.index == 400


@pytest.mark.parametrize("version", [0, 1])
def test_a_version_that_is_not_that_of_the_tables(tmp_path, version):
    """A log that claims to be older than its tables are is an error and stays as it is."""
    path = tmp_path / "ledger.db"
    with _open(path) as ledger:
        ledger.append("work.done", {})
    _sql(path, f"PRAGMA user_version = {version}")
    before = contents(path)

    with pytest.raises(StoreUnreadableError):
        _open(path)

    assert contents(path) == before


def test_a_payload_dropped_after_a_migration_is_gone(tmp_path):
    """No page of the file keeps a payload that was moved to its new table and then dropped."""
    path = tmp_path / "ledger.db"
    write_old_log(path, 40, detached=40)
    needle = contents(path)["detached"][0][1]
    with _open(path) as ledger:
        with ledger._store.batch() as batch:
            batch.drop_payloads([row[0] for row in contents(path)["detached"]])
        ledger._store.scrub()
        held = path.read_bytes() + path.with_name(f"{path.name}-wal").read_bytes()

        assert needle not in held
        assert ledger.verify(deep=True).dropped_payloads == 40


def test_what_is_missing_is_named(old, monkeypatch):
    """Without Alembic the error holds the command that installs it, and the log stays as it is."""
    before = contents(old)
    monkeypatch.setitem(sys.modules, "alembic.script", None)

    with pytest.raises(MissingExtraError, match=re.escape("companyos[ledger-migrations]")):
        _open(old)

    assert contents(old) == before


def test_a_present_log_needs_no_migrations(tmp_path):
    """Making and opening a log of the present schema imports neither SQLAlchemy nor Alembic."""
    program = (
        "import sys; from companyos.ledger import Ledger\n"
        "for _ in range(2): Ledger.open(sys.argv[1]).close()\n"
        "assert not {'sqlalchemy', 'alembic'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", program, f"sqlite:///{tmp_path / 'l.db'}"], check=True, timeout=60)


def _shape(database):
    """All that the tables promise. A part of a primary key is never null, whether its column says so or not."""
    shape = {}
    names = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    for name, sql in names.fetchall():
        columns = database.execute(
            "SELECT name, type, [notnull] OR pk, dflt_value, pk FROM pragma_table_xinfo(?)", (name,)
        )
        indexes = database.execute(
            "SELECT i.[unique], i.origin, i.partial, group_concat(x.name) FROM pragma_index_list(?) i,"
            " pragma_index_info(i.name) x GROUP BY i.seq ORDER BY 2, 4",
            (name,),
        )
        checks = re.findall(r"CHECK \((?:[^()]|\([^()]*\))*\)", sql)
        shape[name] = columns.fetchall(), indexes.fetchall(), checks, "WITHOUT ROWID" in sql
    version = database.execute("PRAGMA user_version").fetchone()
    named = database.execute("SELECT name, tbl_name FROM sqlite_master WHERE type = 'index' AND sql NOTNULL").fetchall()
    return shape, version, named


def test_new_tables_are_those_that_the_migrations_give(tmp_path):
    """The SQL by which a new log is made and the migrations from nothing give the same tables, indexes and version."""
    made = sqlite3.connect(":memory:")
    made.executescript(schema.SQLITE)
    path = tmp_path / "migrated.db"
    running.migrate("sqlite", lambda: sqlite3.connect(path, isolation_level=None))
    migrated = sqlite3.connect(path)

    assert _shape(made) == _shape(migrated)
    made.close()
    migrated.close()


def test_the_old_tables_are_those_of_the_first_migration(tmp_path):
    """The first migration gives the tables that the previous version made."""
    path = tmp_path / "old.db"
    write_old_log(path, 1)
    other = tmp_path / "migrated.db"
    running.migrate("sqlite", lambda: sqlite3.connect(other, isolation_level=None), 1)
    before, migrated = sqlite3.connect(path), sqlite3.connect(other)

    assert _shape(before) == _shape(migrated)
    before.close()
    migrated.close()


SCHEMA = "companyos_ledger"


def _on(url):
    return lambda: psycopg.connect(url, options=f"-c search_path={SCHEMA}")


@pytest.fixture
def server_log(postgresql_url):
    """Connects to an empty schema of a log on a server."""
    with psycopg.connect(postgresql_url) as database:
        database.execute(f"CREATE SCHEMA {SCHEMA}")
    return _on(postgresql_url)


def test_migrations_on_postgresql(old, server_log):
    """The same rows in tables of the first version on PostgreSQL migrate to the same tiles, payloads and checkpoint."""
    before = contents(old)
    running.migrate("postgresql", server_log, 1)
    with server_log() as database:
        for table in ("entry", "node", "detached", "head"):
            places = ", ".join(["%s"] * len(before[table][0]))
            database.cursor().executemany(f"INSERT INTO {table} VALUES ({places})", before[table])  # noqa: S608 - constants

    for _ in range(2):
        running.migrate("postgresql", server_log)
    _open(old).close()

    after = contents(old)
    with server_log() as database:
        for table in ("entry", "tile", "detached", "head", "refusal"):
            assert sorted(database.execute(f"SELECT * FROM {table}")) == after[table]  # noqa: S608 - a constant
        assert database.execute("SELECT version FROM schema_version").fetchall() == after["user_version"]
        assert database.execute("SELECT to_regclass('node')").fetchone() == (None,)


COLUMNS = """SELECT c.relname, c.reloptions, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
    a.attstorage, a.attidentity FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relkind = 'r' AND c.relnamespace = %s::regnamespace AND a.attnum > 0 ORDER BY c.relname, a.attnum"""
# By what they say: a table that was renamed and made anew leaves its constraints with other names.
CONSTRAINTS = """SELECT c.relname, pg_get_constraintdef(n.oid) FROM pg_constraint n
    JOIN pg_class c ON c.oid = n.conrelid WHERE c.relnamespace = %s::regnamespace ORDER BY 1, 2"""
INDEXES = """SELECT tablename, regexp_replace(indexdef, 'INDEX .* USING', 'INDEX USING') FROM pg_indexes
    WHERE schemaname = %s ORDER BY 1, 2"""


def test_new_tables_on_postgresql_are_those_that_the_migrations_give(server_log, postgresql):
    """On PostgreSQL, too, a new log has the tables, constraints, indexes and storage that the migrations give."""
    running.migrate("postgresql", server_log)
    other = postgresql.create_database()
    shapes = []
    with psycopg.connect(other) as database:
        database.execute(f"CREATE SCHEMA {SCHEMA}")
        database.execute(f"SET search_path TO {SCHEMA}")
        database.execute(schema.POSTGRESQL.encode())
    for connect in (server_log, _on(other)):
        with connect() as database:
            queries = (COLUMNS, CONSTRAINTS, INDEXES)
            shapes.append([database.execute(query, (SCHEMA,)).fetchall() for query in queries])
            shapes[-1].append(database.execute("SELECT * FROM head").fetchall())
    postgresql.drop_database(other)

    assert shapes[0] == shapes[1]


def test_every_version_has_its_migration():
    """There is one migration for each version of the schema, named by its number."""
    versions = Path(running.__file__).with_name("versions")

    assert [f"{number:04d}" for number in range(1, schema.VERSION + 1)] == sorted(
        path.name[:4] for path in versions.glob("0*.py")
    )
