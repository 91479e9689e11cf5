"""A PostgreSQL server as a log needs it: how it is reached, what its sessions are set to, and what its errors mean."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from companyos._extras import require
from companyos.errors import ConfigError
from companyos.ledger.errors import StoreBusyError, StoreFullError, StoreUnreadableError
from companyos.ledger.stores.wire import KINDS, dumper

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

__all__ = ("IDLE_SECONDS", "TRANSACTION_SECONDS", "WAIT_SECONDS", "Server")

WAIT_SECONDS = 30
"""For how long a writer waits for another one."""
IDLE_SECONDS = 10
"""After which the server throws out a writer that stands still in the middle of a transaction."""
TRANSACTION_SECONDS = 20
"""After which the server throws out a writer whatever it does; less than others wait for it."""
_LOST = {"25P03", "25P04", "57P01", "57P02", "57P03", "57P05"}
"""SQLSTATEs with which the server ends a session."""
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}\Z")
# Every table is read by an index only: a plan made while it was small must not scan it once it is large.
_SETTINGS = """SELECT set_config('search_path', %s, false), set_config('enable_seqscan', 'off', false),
    set_config('plan_cache_mode', 'force_generic_plan', false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('lock_timeout', %s, false), set_config('idle_in_transaction_session_timeout', %s, false),
    set_config('default_transaction_read_only', %s, false),
    set_config('synchronous_commit',
        CASE WHEN %s THEN 'off' WHEN current_setting('synchronous_commit') = 'remote_apply' THEN 'remote_apply'
        ELSE 'on' END, false),
    current_setting('fsync')"""
# PostgreSQL 17 and newer: a writer that is paused between two messages of one pipeline is not idle.
_LIMIT = "SELECT set_config(name, %s, false) FROM pg_settings WHERE name = 'transaction_timeout'"


class Server:
    """A database at a URL, and in it the schema of a log: `companyos_ledger`, or the URL's parameter `log_schema`.

    Raises:
        ConfigError: it is not the URL of a database.
        MissingExtraError: psycopg is not installed.
    """

    def __init__(self, url: str) -> None:
        self.driver: Any = require("psycopg", extra="ledger-postgres")
        """psycopg."""
        self._conninfo, self.schema, self.shown = _parse(url, self.driver)
        self._dumpers = [dumper(self.driver, kind) for kind in KINDS]

    def connect(self, *, relaxed: bool = False, reading: bool = False) -> psycopg.Connection:
        """A session in autocommit mode; with `relaxed`, its commits are not waited for until they are on the disk.

        Raises:
            psycopg.Error: the server does not answer, or does not let us in.
            StoreUnreadableError: it does not write to its disk, so that no receipt would be true.
        """
        connection: psycopg.Connection = self.driver.connect(self._conninfo, autocommit=True)
        try:
            idle = "0" if reading else f"{IDLE_SECONDS}s"
            values = self.schema, f"{WAIT_SECONDS}s", idle, "on" if reading else "off", relaxed
            found = connection.execute(_SETTINGS, values).fetchall()[0][-1]
            if not reading:
                self._check_durable(found)
            if not reading and not relaxed:
                connection.execute(_LIMIT, (f"{TRANSACTION_SECONDS}s",))
        except BaseException:
            connection.close()
            raise
        for known in self._dumpers:
            connection.adapters.register_dumper(known.cls, known)
        return connection

    def _check_durable(self, fsync: str) -> None:
        if fsync != "on":
            raise StoreUnreadableError(
                f"the server of {self.shown} does not write to its disk",
                got=f"fsync={fsync}",
                expected="fsync=on, without which a receipt is not true",
            )

    def lost(self, error: Exception, connection: psycopg.Connection | None) -> bool:
        """Whether the session is over: then nobody knows what became of what was under way."""
        state = getattr(error, "sqlstate", None) or ""
        return connection is None or connection.closed or state in _LOST or state.startswith("08")

    def busy(self) -> StoreBusyError:
        """The error for a log that another process is writing."""
        return StoreBusyError(
            f"another process is writing the ledger in {self.shown}",
            expected=f"its end within {WAIT_SECONDS} s",
            hint="look in pg_stat_activity for a session that holds a lock on the table head",
        )

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise the errors of psycopg as those of a store; no message holds a password."""
        try:
            yield
        except self.driver.errors.LockNotAvailable as error:
            raise self.busy() from error
        except self.driver.errors.DiskFull as error:
            raise StoreFullError(
                f"the ledger in {self.shown} cannot be written",
                got=error,
                expected="space on the server's disk",
                hint="make room and append again with the same ids: nothing of this append was kept",
            ) from error
        except self.driver.Error as error:
            raise StoreUnreadableError(
                f"cannot use the ledger in {self.shown}",
                got=error,
                expected="a PostgreSQL server that answers, and the rights to read and write the log's tables",
                hint="check the server and the URL; nothing has to be opened again once it answers",
            ) from error


def _parse(url: str, driver: Any) -> tuple[str, str, str]:
    """What libpq is given, the schema of the log, and what may be shown of it: never a password, not even in parts."""
    address, _, query = url.partition("?")
    ours = [part for part in query.split("&") if part.startswith("log_schema=")]
    schema = ours[-1].partition("=")[2] if ours else "companyos_ledger"
    if not _SCHEMA.match(schema) or schema.startswith("pg_"):
        raise ConfigError(
            "not a name for the schema of a log",
            got=schema,
            expected="log_schema= with lower-case letters, digits and _, at most 63, not beginning with pg_",
        )
    rest = "&".join(part for part in query.split("&") if part not in ours)
    conninfo = f"{address}?{rest}" if rest else address
    try:
        parts = driver.conninfo.conninfo_to_dict(conninfo)
        shown = f"{parts.get('host', '')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
        clean = "@" not in shown and urlsplit(address).netloc.count("@") < 2
    except (driver.Error, ValueError):
        clean = False
    if not clean:
        raise ConfigError(
            "not the URL of a PostgreSQL database",
            expected="postgresql://user:password@host:port/database, with special characters percent-encoded",
        )
    defaults = {"connect_timeout": "10", "application_name": "companyos-ledger"}
    return driver.conninfo.make_conninfo(conninfo, **(defaults | parts)), schema, shown
