"""The database of an identity store: one SQLite file, or a schema of its own in PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.authz.identity.bounded import bounded
from companyos.authz.identity.errors import IdentityBehindError, IdentitySchemaError, IdentityUnavailableError
from companyos.authz.identity.migration import HEAD, check_revision, migrate, revision_of
from companyos.authz.identity.records import moment
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

__all__ = ("SCHEMA", "Database")

SCHEMA = "companyos_identity"
"""The schema in PostgreSQL."""
_APPLICATION_ID = 0x434F5349  # "COSI": whose SQLite file it is
_SETUP_LOCK = 0x434F5349
_WRITE_SECONDS = 30
_READERS = 16  # connections that read at a time


class Database:
    """A database with the identity tables in it, made or migrated; any number of threads may use it.

    Raises:
        ConfigError: the URL is none of SQLite or PostgreSQL.
        MissingExtraError: SQLAlchemy is not installed.
        IdentitySchemaError: the tables are of a newer version, or the file is another application's.
        IdentityUnavailableError: it does not answer.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 5.0) -> None:
        self._sa = require("sqlalchemy", extra="identity")
        self._timeout = timeout_seconds
        self.postgresql = url.startswith(("postgresql://", "postgres://"))
        """Whether it is PostgreSQL."""
        self._path = None if self.postgresql else _path_of(url)
        self._stamp: tuple[int, int] | None = None
        self._holder: sqlite3.Connection | None = None
        self._idle: list[Any] = []
        self._free = threading.BoundedSemaphore(_READERS)
        with self.translated():
            if self._path is not None:
                _make_file(self._path)
            self._engine = self._make_engine(url, _WRITE_SECONDS)
            level = {"isolation_level": "AUTOCOMMIT"} if self.postgresql else {}
            self._readers = self._make_engine(url, timeout_seconds, **level)
            try:
                self._prepare()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close all connections."""
        self._drop()
        self._readers.dispose()
        self._engine.dispose()
        if self._holder is not None:
            self._holder.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Any]:
        """A transaction that may write; others who want to wait until it is over."""
        self._require_same_file()
        with self.translated(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[Any]:
        """A transaction in which all statements see the same state."""
        self._require_same_file()
        options = {"isolation_level": "REPEATABLE READ"} if self.postgresql else {"companyos_deferred": True}
        with self.translated(), self._engine.connect().execution_options(**options) as connection:
            yield connection

    def rows(self, statement: str, parameters: Mapping[str, Any] | Sequence[Any]) -> list[tuple[Any, ...]]:
        """The rows that one statement of the driver's own dialect gives, without SQLAlchemy's part of the cost.

        A connection that was lost while it was idle is replaced once.
        """
        self._require_same_file()
        try:
            return self._fetched(statement, parameters)
        except (self._sa.exc.OperationalError, sqlite3.OperationalError, *self._lost):
            self._drop()
        except Exception:
            # Everything else goes on, as an error of this room.
            with self.translated():
                raise
        with self.translated():
            return self._fetched(statement, parameters)

    @property
    def integrity_error(self) -> type[Exception]:
        """What SQLAlchemy raises for a constraint that does not hold."""
        found: type[Exception] = self._sa.exc.IntegrityError
        return found

    def time(self, at: datetime) -> Any:
        """A time as `rows` compares it."""
        return at if self.postgresql else moment(at)

    def scrub(self) -> None:
        """Leave nothing in SQLite's write-ahead log of what was deleted; deleted rows are overwritten anyway."""
        if not self.postgresql:
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)", ())

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """What SQLAlchemy and the drivers raise, as an error of ours that repeats no values."""
        known: tuple[type[Exception], ...] = (OSError, sqlite3.Error, self._sa.exc.SQLAlchemyError)
        try:
            yield
        except (*known, *self._lost) as error:
            cause = getattr(error, "orig", None) or error
            first = str(cause).partition("\n")[0]
            raise IdentityUnavailableError(
                "the identity store does not answer",
                got=f"{type(cause).__name__}: {first}",
                hint="check the database; after a change, look whether it was made",
            ) from error

    @property
    def _lost(self) -> tuple[type[Exception], ...]:
        if self.postgresql:
            return (require("psycopg", extra="identity").Error,)
        return ()

    def _fetched(self, statement: str, parameters: Any) -> list[tuple[Any, ...]]:
        with self._free:
            connection = self._taken()
            try:
                cursor = connection.cursor()
                found: list[tuple[Any, ...]] = cursor.execute(statement, parameters).fetchall()
                cursor.close()
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)
        return found

    def _taken(self) -> Any:
        """A connection of the driver's own: checking one out of SQLAlchemy's pool costs as much as the statement."""
        try:
            return self._idle.pop()
        except IndexError:
            made = self._readers.raw_connection()
            connection = made.dbapi_connection
            made.detach()
            if self.postgresql:
                # Planning the statement anew for each call would cost more than running it.
                connection.execute("SET plan_cache_mode = force_generic_plan")
                connection.prepare_threshold = 0
            return connection

    def _drop(self) -> None:
        """Close the connections that wait to be used."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                return
            connection.close()

    def _make_engine(self, url: str, seconds: float, **options: Any) -> Any:
        """An engine whose calls take at most so many seconds; parameters do not come into the text of its errors."""
        sa = self._sa
        options |= {"hide_parameters": True, "poolclass": sa.pool.NullPool}
        if self._path is not None:
            arguments: dict[str, Any] = {"timeout": seconds, "check_same_thread": False}
            target = sa.URL.create("sqlite", database=str(self._path))
            engine = sa.create_engine(target, connect_args=arguments, **options)
            sa.event.listen(engine, "connect", _configure_sqlite)
            sa.event.listen(engine, "begin", _begin_sqlite)
            return engine
        target = sa.make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg")
        engine = sa.create_engine(target, connect_args=self._options(target, seconds), **options)
        # The server gives up first, if it is there to do so.
        kind = bounded(seconds + 1)
        sa.event.listen(engine, "do_connect", lambda _dialect, _record, given, named: kind.connect(*given, **named))
        return engine

    def _options(self, target: Any, seconds: float) -> dict[str, Any]:
        milliseconds = round(seconds * 1000)
        given = target.query.get("options", "")
        ours = f"-c search_path={SCHEMA} -c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
        return {
            "options": f"{given} {ours}".strip(),
            "connect_timeout": max(2, round(self._timeout)),
            "tcp_user_timeout": milliseconds,
        }

    def _prepare(self) -> None:
        with self._engine.begin() as connection:
            self._claim(connection)
            revision = revision_of(connection)
            check_revision(revision, f"{self._path or 'this PostgreSQL database'}")
            if revision != HEAD:
                migrate(connection)
        if self._path is not None:
            # Held open, so that the number of the file is not given to another one.
            self._holder = sqlite3.connect(self._path, check_same_thread=False)
            self._stamp = _stamp_of(self._path)

    def _claim(self, connection: Any) -> None:
        """Make sure that the tables go where nobody else's are, and that nobody else makes them meanwhile."""
        if self.postgresql:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SETUP_LOCK})")
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            return
        owner = connection.exec_driver_sql("PRAGMA application_id").scalar()
        empty = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 0
        if owner != _APPLICATION_ID and not empty:
            raise IdentitySchemaError(
                f"{self._path} is another application's database", hint="give the identity store a file of its own"
            )
        connection.exec_driver_sql(f"PRAGMA application_id={_APPLICATION_ID}")

    def _require_same_file(self) -> None:
        """A SQLite file that was removed while it is open goes on answering, with what is true no more."""
        if self._path is None:
            return
        try:
            found: tuple[int, int] | None = _stamp_of(self._path)
        except OSError:
            found = None
        if found != self._stamp:
            raise IdentityBehindError(
                f"{self._path} was removed or replaced while it was open",
                hint="open the identity store again: it is brought up to date from the ledger",
            )


def _path_of(url: str) -> Path:
    scheme, separator, rest = url.partition(":///")
    if scheme != "sqlite" or not separator or not rest:
        shown = f"{url.partition(':')[0]}:…"  # no more of it: it may hold a password
        raise ConfigError("no URL of an identity store", got=shown, expected="sqlite:///FILE or postgresql://HOST/NAME")
    return Path(rest).absolute()


def _make_file(path: Path) -> None:
    """An empty file, if there is none: it will hold who is who, for its owner's eyes, whatever the process's mask."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Closed before it has its name: closing a file drops all locks that this process has on it, SQLite's among them.
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink()


def _stamp_of(path: Path) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116 - half the cost of Path.stat, and it is done for each read
    return found.st_dev, found.st_ino


def _configure_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where `_begin_sqlite` says
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Any) -> None:
    deferred = connection.get_execution_options().get("companyos_deferred")
    connection.exec_driver_sql("BEGIN" if deferred else "BEGIN IMMEDIATE")
