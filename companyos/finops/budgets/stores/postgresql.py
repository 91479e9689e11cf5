"""Budgets in PostgreSQL: the rows of the levels are locked, in one order, and nothing else is."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.finops.budgets.errors import BudgetStoreError
from companyos.finops.budgets.stores.sql import SCHEMA, SqlStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from companyos.finops.budgets.interface import Charge, Event, Fence, Outcome
    from companyos.finops.budgets.stores.sql import Change

__all__ = ("PostgresBudgetStore",)

_ATTEMPTS = 20
"""Two transactions that lock each other's levels are told apart by the server; the loser tries again."""
_HEAD = (
    "SELECT extract(epoch FROM clock_timestamp())::float8, (SELECT epoch FROM budget_meta),"
    " (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM budget_numbers)"
)
_LEVELS = "SELECT key, spent, reserved FROM budget_level WHERE key = ANY(%s) ORDER BY key FOR UPDATE"


class PostgresBudgetStore(SqlStore):
    """A budget in a schema of its own, `companyos_budget_<name>`, of a PostgreSQL 13 or newer.

    At most `connections` are open at a time; a call that would need one more waits.

    Raises:
        MissingExtraError: psycopg is not installed.
        BudgetStoreError: the server does not answer.
    """

    def __init__(self, url: str, name: str, *, timeout_seconds: float = 30.0, connections: int = 8) -> None:
        self._psycopg = require("psycopg", extra="finops-budgets")
        self._url, self._schema = url, f"companyos_budget_{name}"
        self._timeout = timeout_seconds
        self._idle: list[Any] = []
        self._free = threading.BoundedSemaphore(connections)
        self._process = os.getpid()
        with self._translated(), self._connection() as connection, connection.transaction():
            # Two that make the same schema at once would see each other's half.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (self._schema,))
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self._schema}")
            if connection.execute("SELECT to_regclass('budget_numbers')").fetchone()[0] is None:
                for statement in (*SCHEMA, "CREATE SEQUENCE budget_numbers"):
                    connection.execute(statement)

    def close(self) -> None:
        """Close the connections."""
        while self._idle:
            self._idle.pop().close()

    def reserve(
        self,
        name: str,
        charges: Sequence[Charge],
        *,
        body: str,
        content: str,
        lease_seconds: float,
        fence: Fence,
    ) -> Outcome:
        """Take every charge, or none."""
        make = super().reserve
        return self._tried(
            lambda: make(name, charges, body=body, content=content, lease_seconds=lease_seconds, fence=fence)
        )

    def settle(self, name: str, actual: Sequence[Charge], *, body: str, fence: Fence) -> Outcome:
        """Put what was spent in the place of what was reserved."""
        make = super().settle
        return self._tried(lambda: make(name, actual, body=body, fence=fence))

    def refund(self, name: str, *, fence: Fence) -> Outcome:
        """Give back what was reserved."""
        make = super().refund
        return self._tried(lambda: make(name, fence=fence))

    def expire(self, *, fence: Fence) -> Outcome:
        """Give back what is reserved longer than its lease."""
        make = super().expire
        return self._tried(lambda: make(fence=fence))

    def acknowledge(self, events: Sequence[Event], *, fence: Fence) -> Outcome:
        """Those events are on the ledger."""
        make = super().acknowledge
        return self._tried(lambda: make(events, fence=fence))

    def _tried(self, action: Callable[[], Outcome]) -> Outcome:
        errors = self._psycopg.errors
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._translated(errors.DeadlockDetected, errors.UniqueViolation):
                    return action()
            except (errors.DeadlockDetected, errors.UniqueViolation) as error:
                if attempt == _ATTEMPTS:
                    raise BudgetStoreError("the store of the budget is too busy", got=error) from error
        raise AssertionError("unreachable")

    @contextmanager
    def _change(self, fence: Fence | None) -> Iterator[Change]:
        errors = self._psycopg.errors
        translated = self._translated(errors.DeadlockDetected, errors.UniqueViolation)
        with translated, self._connection() as connection, connection.transaction():
            # Shared by all who change; only who makes the store anew takes it alone.
            connection.execute("SELECT pg_advisory_xact_lock_shared(hashtext(%s))", (self._schema,))
            yield _PostgresChange(connection, fence)

    @contextmanager
    def _making(self) -> Iterator[Change]:
        with self._translated(), self._connection() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (self._schema,))
            connection.execute("ALTER SEQUENCE budget_numbers RESTART")
            yield _PostgresChange(connection, None)

    def _identity(self, change: Change) -> str:
        # A dump that is restored makes another table; so does another database.
        rows = change.execute(
            "SELECT 'budget_meta'::regclass::oid::text || ':' || d.oid::text FROM pg_database d"
            " WHERE d.datname = current_database()"
        )
        return str(rows[0][0])

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
        options = f"-c search_path={self._schema} -c statement_timeout={int(self._timeout * 1000)}"
        return self._psycopg.connect(self._url, autocommit=True, options=options, connect_timeout=10)

    @contextmanager
    def _translated(self, *passed: type[Exception]) -> Iterator[None]:
        try:
            yield
        except passed:
            raise
        except self._psycopg.Error as error:
            raise BudgetStoreError("the store of the budget cannot be used", got=error) from error


class _PostgresChange:
    """One transaction at the level READ COMMITTED: what is locked is read as it is."""

    def __init__(self, connection: Any, fence: Fence | None) -> None:
        self._connection = connection
        self.now, epoch, self.seq = connection.execute(_HEAD, prepare=True).fetchone()
        self.lost = fence is not None and (epoch != fence.epoch or self.seq < fence.seen)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(sql.replace("?", "%s"), values, prepare=True)
        return cursor.fetchall() if cursor.description else []

    def lock(self, keys: Iterable[str]) -> dict[str, tuple[int, int]]:
        rows = self._connection.execute(_LEVELS, (sorted(set(keys)),), prepare=True).fetchall()
        return {key: (spent, reserved) for key, spent, reserved in rows}

    def number(self) -> int:
        self.seq = self._connection.execute("SELECT nextval('budget_numbers')", prepare=True).fetchone()[0]
        return int(self.seq)
