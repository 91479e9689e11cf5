"""Outboxes keep their contract, on SQLite and on PostgreSQL."""

import sqlite3
from contextlib import closing, contextmanager

import pytest

from companyos.errors import ConfigError
from companyos.ledger.outbox import Draft, OutboxForeignError, OutboxUnavailableError, open_outbox
from companyos.testing import OutboxContract


class TestSqlite(OutboxContract):
    """The file store keeps the contract."""

    def make_url(self, tmp_path):
        return f"sqlite:///{tmp_path / 'app.db'}"

    def make_outbox(self, url):
        return open_outbox(url, "notify")

    @contextmanager
    def connect(self, url):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            yield connection

    @contextmanager
    def elsewhere(self, tmp_path):
        open_outbox(f"sqlite:///{tmp_path / 'other.db'}", "notify").close()
        with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
            yield connection

    def test_through_a_session_of_sqlalchemy(self, outbox, url):
        """The session's own transaction: an order and its message, or neither."""
        sqlalchemy = pytest.importorskip("sqlalchemy")
        from sqlalchemy.orm import Session

        engine = sqlalchemy.create_engine(url)
        with Session(engine) as session:
            session.execute(sqlalchemy.text("CREATE TABLE orders (id TEXT)"))
            session.execute(sqlalchemy.text("INSERT INTO orders VALUES ('o-1')"))
            outbox.add([Draft("m-1", "lane", "body")], connection=session)
            session.rollback()
            assert outbox.find("m-1") == []
            outbox.add([Draft("m-1", "lane", "body")], connection=session)
            session.commit()
        engine.dispose()
        assert len(outbox.find("m-1")) == 1

    def test_a_database_without_outbox_is_refused(self, outbox, tmp_path):
        """The transaction of some other database altogether."""
        with (
            closing(sqlite3.connect(tmp_path / "bare.db")) as bare,
            pytest.raises(OutboxForeignError, match="no outbox"),
        ):
            outbox.add([Draft("a", "lane", "body")], connection=bare)


class TestPostgresql(OutboxContract):
    """The server store keeps the contract."""

    @pytest.fixture(autouse=True)
    def _server(self, postgresql, postgresql_url):
        self._url, self._postgresql = postgresql_url, postgresql

    def make_url(self, tmp_path):
        return self._url

    def make_outbox(self, url):
        return open_outbox(url, "notify")

    @contextmanager
    def connect(self, url):
        import psycopg

        with closing(psycopg.connect(url)) as connection:
            yield connection

    @contextmanager
    def elsewhere(self, tmp_path):
        url = self._postgresql.create_database()
        open_outbox(url, "notify").close()
        with self.connect(url) as connection:
            yield connection
        self._postgresql.drop_database(url)


@pytest.mark.parametrize("url", ["redis://x", "sqlite://", "notify.db", "sqlite:/x"])
def test_other_urls_are_refused(url):
    """Which URLs there are is said."""
    with pytest.raises(ConfigError, match="URL of an outbox"):
        open_outbox(url, "notify")


def test_a_queue_has_a_small_name(tmp_path):
    """It becomes part of every row."""
    with pytest.raises(ConfigError, match="queue"):
        open_outbox(f"sqlite:///{tmp_path}/x.db", "No Name")


def test_a_file_that_is_no_database_is_named(tmp_path):
    """A damaged file is not an empty outbox."""
    (tmp_path / "x.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(OutboxUnavailableError):
        open_outbox(f"sqlite:///{tmp_path}/x.db", "notify")
