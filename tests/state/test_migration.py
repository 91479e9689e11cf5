"""The tables: the same by migration and by static text, refused when they are too new."""

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from companyos.state import PostgresDatabase, SqliteDatabase, StateSchemaError, migration

TABLES = ("sessions", "state_audit", "state_hash_index", "state_fabric", "state_alembic_version")


def shape(path):
    """Columns, indexes and contents of the one-row tables, as SQLite sees them, whatever the text that made them."""
    with sqlite3.connect(path) as database:
        columns = {table: database.execute(f"PRAGMA table_info({table})").fetchall() for table in TABLES}
        indexes = {
            (table, unique, tuple(row[2] for row in database.execute(f"PRAGMA index_info({name})")))
            for table in TABLES
            for _, name, unique, *_ in database.execute(f"PRAGMA index_list({table})")
        }
        grows = (
            "AUTOINCREMENT"
            in database.execute("SELECT sql FROM sqlite_master WHERE name = 'state_audit'").fetchone()[0]
        )
        rows = database.execute(
            "SELECT f.id, version_floor, length(identity), v.* FROM state_fabric f, state_alembic_version v"
        )
        rows = rows.fetchall()
        names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    database.close()
    return columns, indexes, grows, rows, names


def test_the_static_tables_are_those_of_the_migration(tmp_path):
    """A fresh SQLite file is just what Alembic would have made of it."""
    SqliteDatabase(tmp_path / "static.db").close()
    migration.upgrade(f"sqlite:///{tmp_path / 'migrated.db'}")

    assert shape(tmp_path / "migrated.db") == shape(tmp_path / "static.db")


def test_a_fresh_file_needs_no_sqlalchemy(tmp_path):
    """The embedded store starts without the libraries of the migrations."""
    code = (
        "import sys; from pathlib import Path; from companyos.state import *;"
        f"r = open_repository('sqlite:///{tmp_path / 's.db'}'); r.save('s', 1); assert r.get('s').payload == 1;"
        "print([m for m in ('sqlalchemy', 'alembic', 'psycopg', 'redis') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_the_tables_of_the_seed_are_there(postgresql_url):
    """PostgreSQL has the three tables with the columns that were asked for, at the named revision."""
    PostgresDatabase(postgresql_url).close()
    wanted = {
        "sessions": {"id", "payload", "payload_hash", "updated_at"},
        "state_audit": {"id", "session_id", "action", "timestamp"},
        "state_hash_index": {"hash", "session_id", "created_at"},
    }
    with psycopg.connect(postgresql_url) as connection:
        for table, columns in wanted.items():
            found = connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s", (table,)
            ).fetchall()
            assert columns <= {name for (name,) in found}
        revision = connection.execute("SELECT version_num FROM state_alembic_version").fetchall()
    assert revision == [("001_create_sessions_tables",)]


def test_many_open_an_empty_database_at_once(postgresql_url, tmp_path):
    """The tables are made once, whoever comes first."""
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: PostgresDatabase(postgresql_url), range(4)))
        opened += list(pool.map(lambda _: SqliteDatabase(tmp_path / "state.db"), range(4)))
    for number, database in enumerate(opened):
        assert database.write(f"k{number}", b"1", "d", 0).version == 1
        database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_newer_schema_is_refused_with_what_to_do(kind, tmp_path, request):
    """Tables of a later companyos are not touched."""
    change = "UPDATE state_alembic_version SET version_num = '999_of_the_future'"
    if kind == "sqlite":
        path = tmp_path / "state.db"
        SqliteDatabase(path).close()
        with sqlite3.connect(path) as database:
            database.execute(change)
        database.close()
        attempt = lambda: SqliteDatabase(path)  # noqa: E731 - the same shape twice
    else:
        url = request.getfixturevalue("postgresql_url")
        PostgresDatabase(url).close()
        with psycopg.connect(url) as connection:
            connection.execute(change)
        attempt = lambda: PostgresDatabase(url)  # noqa: E731 - the same shape twice
    with pytest.raises(StateSchemaError, match="pip install --upgrade companyos") as caught:
        attempt()
    assert (caught.value.got, caught.value.code) == ("999_of_the_future", "state.schema")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_migration_can_be_taken_back(kind, tmp_path, request):
    """Down to nothing and up again, on both databases."""
    url = f"sqlite:///{tmp_path / 'state.db'}" if kind == "sqlite" else request.getfixturevalue("postgresql_url")
    migration.upgrade(url)
    migration.downgrade(url, "base")
    migration.upgrade(url)
    made = SqliteDatabase(tmp_path / "state.db") if kind == "sqlite" else PostgresDatabase(url)
    assert made.write("k", b"1", "d", None).version == 1
    made.close()
