"""Brings the tables of an old log to the present schema, with Alembic, in one transaction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.ledger.stores.schema import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("migrate",)

_EXTRA = "ledger-migrations"
_ENGINES = {"sqlite": "sqlite://", "postgresql": "postgresql+psycopg://"}


def migrate(dialect: str, connect: Callable[[], Any], version: int | None = None) -> None:
    """Bring a log to schema `version` (default: the newest) on a connection of its driver that `connect` makes.

    On PostgreSQL the connection looks for tables in the schema of the log, and nowhere else.

    All of it happens in one transaction that no writer can enter: who is killed in the middle leaves the old schema,
    and of two processes that come at once the second finds nothing to do. Entries and checkpoints are not touched. The
    version is kept where a store reads it without SQLAlchemy: in `user_version` of a SQLite file, in the table
    `schema_version` of PostgreSQL. A log without tables is of version 0. Signatures are not checked.

    Raises:
        MissingExtraError: Alembic or SQLAlchemy is not installed.
        LedgerDamagedError: the entries are not those that were signed; nothing was changed.
    """
    alchemy = require("sqlalchemy", extra=_EXTRA)
    engine = alchemy.create_engine(_ENGINES[dialect], creator=connect, poolclass=alchemy.pool.NullPool)
    alchemy.event.listen(engine, "begin", _begin)
    try:
        with engine.begin() as connection:
            _upgrade(connection, VERSION if version is None else version)
    except alchemy.exc.DBAPIError as error:
        # A store knows the errors of its driver.
        raise error.orig or error from error
    finally:
        engine.dispose()


def _upgrade(connection: Any, version: int) -> None:
    scripts = require("alembic.script", extra=_EXTRA).ScriptDirectory(Path(__file__).parent)
    context = require("alembic.runtime.migration", extra=_EXTRA).MigrationContext.configure(connection)
    operations = require("alembic.operations", extra=_EXTRA).Operations
    present = _version(connection)
    if present >= version:
        return
    steps = list(scripts.iterate_revisions(_name(version), _name(present) if present else "base"))
    with operations.context(context):
        for step in reversed(steps):
            step.module.upgrade()
    _set_version(connection, version)


def _begin(connection: Any) -> None:
    if connection.dialect.name == "sqlite":
        # What moves to another table must not stay where it was: it may be dropped later, for good.
        connection.exec_driver_sql("PRAGMA secure_delete=ON")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL)")
        connection.exec_driver_sql("LOCK TABLE schema_version")


def _version(connection: Any) -> int:
    query = "PRAGMA user_version" if connection.dialect.name == "sqlite" else "SELECT max(version) FROM schema_version"
    return connection.exec_driver_sql(query).scalar() or 0


def _set_version(connection: Any, version: int) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA user_version = {version:d}")
    else:
        connection.exec_driver_sql("DELETE FROM schema_version")
        connection.exec_driver_sql(f"INSERT INTO schema_version VALUES ({version:d})")  # noqa: S608 - a number


def _name(version: int) -> str:
    return f"{version:04d}"
