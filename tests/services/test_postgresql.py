"""PostgreSQL as tests get it: durable, restartable, alone, and gone afterwards."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.services import PostgreSQL, available

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.service("postgresql")


@pytest.fixture
def own() -> Iterator[PostgreSQL]:
    """A server that the test may kill."""
    server = PostgreSQL(available("postgresql"))
    yield server
    server.stop()


def test_what_was_committed_survives_kill_and_restart(own):
    """After `kill -9` and a restart, committed rows are there and an open transaction's are not."""
    with psycopg.connect(own.url) as connection:
        connection.execute("CREATE TABLE kept (n integer)")
        connection.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
        connection.commit()
        connection.execute("INSERT INTO kept VALUES (-1)")
        before = own.process.pid
        own.kill()
        connection.close()

    own.restart()

    assert own.execute("SELECT count(*), min(n), max(n) FROM kept") == [(1000, 1, 1000)]
    assert own.process.pid != before


def test_the_server_is_durable(postgresql):
    """Nothing that makes writes durable was turned off to be faster."""
    names = ("fsync", "synchronous_commit", "full_page_writes")

    assert dict.fromkeys(names, "on") == {name: postgresql.execute(f"SHOW {name}")[0][0] for name in names}


def test_two_tests_have_two_databases(postgresql, postgresql_url):
    """What one test writes, another does not see."""
    other = postgresql.create_database()
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE mine (n integer)")

    with psycopg.connect(other) as connection:
        seen = connection.execute("SELECT to_regclass('mine')").fetchone()
    postgresql.drop_database(other)

    assert (None,) == seen


def test_a_wrong_password_is_refused(postgresql):
    """Other users of the machine cannot look in."""
    stranger = postgresql.url.replace(postgresql._password, "guess")

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(stranger)


def test_stop_leaves_nothing(own):
    """Stopping ends every process and removes the folder."""
    folder, pid = own.process.folder, own.process.pid
    assert folder.is_dir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    own.stop()

    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        __import__("os").killpg(pid, 0)
