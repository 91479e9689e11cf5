"""A log on each kind of store, as whoever can reach the database sees it: SQL, copies, and no respect."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Self

import psycopg

from companyos.ledger import Ledger
from companyos.signing import PublicKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ("BACKENDS", "ORIGIN", "Log", "PostgresqlLog", "SqliteLog")

ORIGIN = "test.example/log"


class Log:
    """A log with its keys in `folder`."""

    folder: Path
    url: str

    def open(self) -> Ledger:
        """The log, with its keys."""
        return Ledger.open(
            self.url, origin=ORIGIN, key=f"file:{self.folder / 'ledger.pem'}", keystore=self.folder / "people.db"
        )

    def reader(self, key: PublicKey) -> Ledger:
        """The log for somebody who has its public key."""
        return Ledger.open_readonly(self.url, [key], origin=ORIGIN)

    def key(self) -> PublicKey:
        """The public key that lies beside the private one."""
        return PublicKey.load(f"file:{self.folder / 'ledger.pem.pub'}")

    def one(self, query: str, *parameters: object) -> Any:
        """The only value that a query gives."""
        ((value,),) = self.sql((query, *parameters))
        return value

    def sql(self, *statements: Sequence[object] | str) -> list[tuple[Any, ...]]:
        """Run statements in one transaction, each a text or a text and its parameters; the rows of the last one."""
        raise NotImplementedError

    def many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for many rows."""
        raise NotImplementedError

    def copy(self, folder: Path) -> Self:
        """A copy of the log and its keys, which must not be open."""
        raise NotImplementedError

    def drop(self) -> None:
        """Remove the log, and keep its keys."""
        raise NotImplementedError


class SqliteLog(Log):
    """A log in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "ledger.db"
        self.url = f"sqlite:///{self.path}"

    def sql(self, *statements: Sequence[object] | str) -> list[tuple[Any, ...]]:
        """Run statements in one transaction."""
        with closing(sqlite3.connect(self.path)) as database, database:
            for statement in statements:
                query, *parameters = (statement,) if isinstance(statement, str) else statement
                rows = database.execute(query, parameters).fetchall()
        return rows

    def many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for many rows."""
        with closing(sqlite3.connect(self.path)) as database, database:
            database.executemany(statement, rows)

    def copy(self, folder: Path) -> SqliteLog:
        """A copy of the files."""
        shutil.copytree(self.folder, folder)
        return SqliteLog(folder)

    def drop(self) -> None:
        """Delete the file."""
        for path in self.folder.glob("ledger.db*"):
            path.unlink()


class PostgresqlLog(Log):
    """A log in a schema of its own: to copy a database takes a hundred times as long."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self._database = database
        self._schema = f"log_{secrets.token_hex(8)}"
        self.url = f"{database}?log_schema={self._schema}"

    def sql(self, *statements: Sequence[object] | str) -> list[tuple[Any, ...]]:
        """Run statements in one transaction."""
        with self._connect() as database:
            for statement in statements:
                query, *parameters = (statement,) if isinstance(statement, str) else statement
                cursor = database.execute(query.replace("?", "%s").encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for many rows."""
        with self._connect() as database:
            database.cursor().executemany(statement.replace("?", "%s").encode(), rows)

    def copy(self, folder: Path) -> PostgresqlLog:
        """A schema with the same tables and the same rows."""
        shutil.copytree(self.folder, folder)
        other = PostgresqlLog(folder, self._database)
        tables = self.sql(("SELECT tablename FROM pg_tables WHERE schemaname = ?", self._schema))
        statements = [f"CREATE SCHEMA {other._schema}"]
        for (table,) in tables:
            statements += [
                f"CREATE TABLE {other._schema}.{table} (LIKE {table} INCLUDING ALL)",
                f"INSERT INTO {other._schema}.{table} OVERRIDING SYSTEM VALUE SELECT * FROM {table}",  # noqa: S608 - names
            ]
        self.sql(*statements)
        return other

    def drop(self) -> None:
        """Drop the schema."""
        self.sql(f"DROP SCHEMA IF EXISTS {self._schema} CASCADE")

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self._database, options=f"-c search_path={self._schema}")


BACKENDS = ("sqlite", "postgresql")
"""Kinds of store that the matrix is run on."""
