"""The database of a projection: the same statements, with `?` for values, on SQLite and on PostgreSQL."""

from __future__ import annotations

import re
import sqlite3
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, Self

from companyos._extras import require
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

__all__ = ("Cursor", "Database")

_EXTRA = "ledger-postgres"
_WAIT_SECONDS = 30
_SETUP_LOCK = 0x434F5350  # "COSP"; CREATE TABLE IF NOT EXISTS by two at once fails in PostgreSQL, so one waits
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|[?%]", re.DOTALL)


class Cursor(Protocol):
    """The rows that a statement gives, each a tuple."""

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, None after the last."""
        ...

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        ...

    def __iter__(self) -> Iterator[tuple[Any, ...]]: ...


class Database:
    """A connection to SQLite, or to PostgreSQL by psycopg 3, that runs statements which both understand.

    Give it a connection that begins no transactions by itself (`isolation_level=None`, `autocommit=True`), or call
    `Database.open`. Values are marked by `?`. Keep to what both databases know: `TEXT` and `BIGINT` columns,
    `INSERT … ON CONFLICT (…) DO UPDATE`; no order of text, which is not the same everywhere. It translates nothing
    but the marks.

    Raises:
        ValueError: the connection begins transactions by itself.
        TypeError: it is a connection to something else.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.postgresql = not isinstance(connection, sqlite3.Connection)
        """Whether it is PostgreSQL."""
        self.errors: tuple[type[Exception], ...] = (sqlite3.Error,)
        """What the driver raises."""
        if self.postgresql:
            psycopg = require("psycopg", extra=_EXTRA)
            if not isinstance(connection, psycopg.Connection):
                raise TypeError(f"not a connection of sqlite3 or psycopg: {type(connection).__name__}")
            if not connection.autocommit:
                raise ValueError("a projection needs a connection in autocommit mode: autocommit=True")
            self.errors = (psycopg.Error,)
            self._rows = psycopg.rows.tuple_row
        elif connection.isolation_level is not None:
            raise ValueError("a projection needs a connection in autocommit mode: isolation_level=None")

    @classmethod
    def open(cls, url: str) -> Database:
        """Connect to `sqlite:///relative.db`, `sqlite:////absolute.db` (made if need be) or `postgresql://…`.

        `sqlite://` is a database of nobody else's, gone once closed.

        Raises:
            ConfigError: it is neither, or cannot be opened.
            MissingExtraError: psycopg is needed, and not installed.
        """
        if url.startswith(("postgresql://", "postgres://")):
            return cls(_postgresql(url))
        if url == "sqlite://" or url.startswith("sqlite:///"):
            return cls(_sqlite(url))
        raise ConfigError("not a database URL", got=_scheme(url), expected="sqlite:///FILE or postgresql://…")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Cursor:
        """Run one statement; a `?` outside of literals stands for the next of `parameters`.

        In a `pipeline`, an error in a statement whose rows nobody reads can surface later.
        """
        if self.postgresql:
            cursor: Cursor = self._connection.cursor(row_factory=self._rows).execute(_percent(statement), parameters)
            return cursor
        plain = self._connection.cursor()
        plain.row_factory = None
        found: Cursor = plain.execute(statement, parameters)
        return found

    def writing(self) -> AbstractContextManager[None]:
        """A transaction that may write, committed when left normally and without a trace when left by an exception."""
        # What a statement locks, the next ones read as it then is.
        return self._transaction(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE" if self.postgresql else "BEGIN IMMEDIATE"
        )

    def reading(self) -> AbstractContextManager[None]:
        """A transaction in which all statements see the same state."""
        return self._transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if self.postgresql else "BEGIN")

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """A transaction that makes or drops tables, which nobody else does meanwhile."""
        with self.writing():
            if self.postgresql:
                self.execute("SELECT pg_advisory_xact_lock(?)", (_SETUP_LOCK,))
            yield

    @contextmanager
    def pipeline(self) -> Iterator[None]:
        """Within a transaction: statements that need not wait for each other's answers, where the database can that."""
        with self._connection.pipeline() if self.postgresql else nullcontext():
            yield
        self.require_transaction()

    def require_transaction(self) -> None:
        """Raise one of `errors` if none is open any more; SQLite ends one by itself, as when the disk is full."""
        if not self._busy():
            raise self.errors[0]("the transaction was ended from within")

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        if self._busy():
            raise self.errors[0]("the connection is in a transaction of its own")
        self.execute(begin)
        try:
            yield
            self.require_transaction()
            self.execute("COMMIT")
        except BaseException:
            if self._busy():
                self.execute("ROLLBACK")
            raise

    def _busy(self) -> bool:
        if self.postgresql:
            return self._connection.info.transaction_status.name not in {"IDLE", "UNKNOWN"}  # unknown once closed
        return bool(self._connection.in_transaction)


def _sqlite(url: str) -> sqlite3.Connection:
    # The empty name is SQLite's for a temporary file: unlike memory, it can be larger than the machine's.
    path = url.removeprefix("sqlite://").removeprefix("/")
    try:
        return sqlite3.connect(path, isolation_level=None, timeout=_WAIT_SECONDS)
    except sqlite3.Error as error:
        raise ConfigError(f"cannot open the database {path}", got=error) from error


def _postgresql(url: str) -> Any:
    psycopg = require("psycopg", extra=_EXTRA)
    try:
        return psycopg.connect(url, autocommit=True)
    except psycopg.OperationalError as error:
        raise ConfigError("cannot connect to PostgreSQL", got=error) from error
    except psycopg.ProgrammingError:
        # Its text repeats what it could not read: perhaps the password.
        raise ConfigError("not a URL of PostgreSQL", got=_scheme(url), expected="postgresql://…") from None


def _scheme(url: str) -> str:
    """As much of a URL as can be shown: never its password."""
    return f"{url.partition(':')[0]}:…"


@lru_cache(maxsize=256)
def _percent(statement: str) -> str:
    """The statement with psycopg's marks."""

    def mark(token: re.Match[str]) -> str:
        return "%s" if token[0] == "?" else token[0].replace("%", "%%")

    return _TOKEN.sub(mark, statement)
