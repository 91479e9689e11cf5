"""An outbox in PostgreSQL: workers pass over what another one is claiming, and nobody waits."""

from __future__ import annotations

import os
import threading
import uuid
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.ledger.outbox.errors import OutboxForeignError, OutboxUnavailableError
from companyos.ledger.outbox.sql import SCHEMA, SqlOutbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from companyos.ledger.outbox.sql import Session

__all__ = ("PostgresOutbox",)

_NAMES = {
    "meta": "companyos_outbox.meta",
    "item": "companyos_outbox.item",
    "receipt": "companyos_outbox.receipt",
    "prefix": "",
    "serial": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    "among": "= ANY(?)",
}
_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"


class PostgresOutbox(SqlOutbox):
    """The items of one queue in the schema `companyos_outbox` of a PostgreSQL 13 or newer.

    At most `connections` are open at a time; a call that would need one more waits. Times are those of the server.

    Raises:
        MissingExtraError: psycopg is not installed.
        OutboxUnavailableError: the server does not answer.
    """

    skip_locked = " FOR UPDATE SKIP LOCKED"

    def __init__(self, url: str, queue: str, *, timeout_seconds: float = 30.0, connections: int = 4) -> None:
        super().__init__(queue)
        self._psycopg = require("psycopg", extra="ledger-postgres")
        self._url, self._timeout = url, timeout_seconds
        self._idle: list[Any] = []
        self._free = threading.BoundedSemaphore(connections)
        self._process = os.getpid()
        self._known = ""
        with self._transaction() as session:
            # Two that make the same schema at once would see each other's half.
            session.run("SELECT pg_advisory_xact_lock(hashtext('companyos_outbox'))")
            session.run("CREATE SCHEMA IF NOT EXISTS companyos_outbox")
            if session.run("SELECT to_regclass('companyos_outbox.receipt')")[0][0] is None:
                for statement in SCHEMA:
                    session.run(statement)
                session.run("INSERT INTO {meta} VALUES (1, ?)", (uuid.uuid4().hex,))
            self._known = str(session.run("SELECT identity FROM {meta}")[0][0])

    def close(self) -> None:
        """Close the connections."""
        while self._idle:
            self._idle.pop().close()

    def _identity(self) -> str:
        return self._known

    @contextmanager
    def _transaction(self, *, write: bool = True) -> Iterator[Session]:  # noqa: ARG002 - a matter of SQLite's
        with self._translated(), self._connection() as connection, connection.transaction():
            yield _PostgresSession(connection)

    @contextmanager
    def _inside(self, connection: object) -> Iterator[Session]:
        if not isinstance(connection, self._psycopg.Connection):
            raise OutboxForeignError(
                "no connection of psycopg, by which the outbox is kept", got=type(connection).__name__
            )
        with self._translated():
            session = _PostgresSession(connection)
            if session.run("SELECT to_regclass('companyos_outbox.item')")[0][0] is None:
                raise OutboxForeignError("the database of the transaction holds no outbox")
            yield session

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        if self._process != os.getpid():  # forked: the parent's connections are not ours
            self._idle, self._process = [], os.getpid()
        with self._free:
            connection = self._idle.pop() if self._idle else self._connect()
            try:
                yield connection
            finally:
                if connection.closed or connection.broken:
                    connection.close()
                else:
                    self._idle.append(connection)

    def _connect(self) -> Any:
        options = f"-c statement_timeout={int(self._timeout * 1000)}"
        return self._psycopg.connect(self._url, autocommit=True, options=options, connect_timeout=10)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._psycopg.Error as error:
            raise OutboxUnavailableError("the outbox cannot be used", got=type(error).__name__) from error


class _PostgresSession:
    """One transaction at the level READ COMMITTED, or whatever level the caller chose."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.now = float(self._fetched(_CLOCK, ())[0][0])

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._fetched(_named(sql), values)

    def pack(self, values: Sequence[Any]) -> Any:
        return list(values)

    def _fetched(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        from psycopg.rows import tuple_row

        cursor = self._connection.cursor(row_factory=tuple_row)
        cursor.execute(sql, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall() if cursor.description else []
        return rows


@cache
def _named(sql: str) -> str:
    return sql.format(**_NAMES).replace("?", "%s")
