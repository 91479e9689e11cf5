"""PostgreSQL, over psycopg 3: prepared statements, one round trip a call, a small pool of connections."""

from __future__ import annotations

import os
import select
import threading
import time
from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.state.errors import StateUnavailableError
from companyos.state.interface import Changes, Committed, Row
from companyos.state.migration import HEAD, VERSION_TABLE, check_revision, upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

__all__ = ("PostgresDatabase",)

# A snapshot contains all changes of transactions with lower numbers than the oldest one that was running: its xmin.
_READ = """
SELECT s.payload, s.payload_hash, s.version, p.position
FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS position) p LEFT JOIN sessions s ON s.id = %s
"""
# The row's lock decides between concurrent writers: its loser sees the winner's version. One statement, one commit.
_SAVE = """
WITH saved AS (
    INSERT INTO sessions AS s (id, payload, payload_hash, version, updated_at)
    VALUES (%(key)s, %(payload)s, %(hash)s, (SELECT version_floor FROM state_fabric) + 1, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET payload = excluded.payload, payload_hash = excluded.payload_hash,
    version = s.version + 1, updated_at = excluded.updated_at
    RETURNING s.version, s.updated_at
), indexed AS (
    INSERT INTO state_hash_index (hash, session_id, created_at) SELECT %(hash)s, %(key)s, updated_at FROM saved
    ON CONFLICT (session_id) DO UPDATE SET hash = excluded.hash, created_at = excluded.created_at
), audited AS (
    INSERT INTO state_audit (session_id, action, timestamp, version)
    SELECT %(key)s, 'save', updated_at, version FROM saved
)
SELECT version, pg_snapshot_xmin(pg_current_snapshot())::text::bigint FROM saved
"""
_SAVE_EXPECTED = """
WITH given (id, payload, hash, expected) AS (VALUES (%s::text, %s::text, %s::text, %s::bigint)), saved AS (
    INSERT INTO sessions AS s (id, payload, payload_hash, version, updated_at)
    SELECT g.id, g.payload, g.hash, f.version_floor + 1, clock_timestamp() FROM given g, state_fabric f
    WHERE coalesce(g.expected, 0) = 0 OR EXISTS (SELECT FROM sessions o WHERE o.id = g.id)
    ON CONFLICT (id) DO UPDATE SET payload = excluded.payload, payload_hash = excluded.payload_hash,
    version = s.version + 1, updated_at = excluded.updated_at
    WHERE (SELECT expected IS NULL OR expected = s.version OR (expected = 0 AND s.payload IS NULL) FROM given)
    RETURNING s.id, s.payload_hash, s.version, s.updated_at
), indexed AS (
    INSERT INTO state_hash_index (hash, session_id, created_at) SELECT payload_hash, id, updated_at FROM saved
    ON CONFLICT (session_id) DO UPDATE SET hash = excluded.hash, created_at = excluded.created_at
), audited AS (
    INSERT INTO state_audit (session_id, action, timestamp, version) SELECT id, 'save', updated_at, version FROM saved
)
SELECT version, pg_snapshot_xmin(pg_current_snapshot())::text::bigint FROM saved
"""
_DELETE = """
WITH given (id, expected) AS (VALUES (%s::text, %s::bigint)), saved AS (
    UPDATE sessions s
    SET payload = NULL, payload_hash = NULL, version = s.version + 1, updated_at = clock_timestamp()
    FROM given g WHERE s.id = g.id AND s.payload IS NOT NULL AND (g.expected IS NULL OR g.expected = s.version)
    RETURNING s.id, s.version, s.updated_at
), unindexed AS (
    DELETE FROM state_hash_index i USING saved WHERE i.session_id = saved.id
), audited AS (
    INSERT INTO state_audit (session_id, action, timestamp, version) SELECT id, 'delete', updated_at, version FROM saved
)
SELECT version, pg_snapshot_xmin(pg_current_snapshot())::text::bigint FROM saved
"""
_CHANGES = """
SELECT NULL, NULL, pg_snapshot_xmin(pg_current_snapshot())::text::bigint UNION ALL
(SELECT session_id, version, position FROM state_audit WHERE position >= %s ORDER BY position DESC LIMIT %s)
"""
_ROWS = """
SELECT s.id, s.payload, s.payload_hash, i.hash FROM sessions s LEFT JOIN state_hash_index i ON i.session_id = s.id
WHERE s.id > %s ORDER BY s.id LIMIT %s
"""
# The lock keeps writers out who would not see the raised floor.
_PURGE = """
WITH gone AS (DELETE FROM sessions WHERE payload IS NULL AND updated_at < %(before)s RETURNING version),
old AS (DELETE FROM state_audit WHERE timestamp < %(before)s),
raised AS (
    UPDATE state_fabric SET version_floor = greatest(version_floor, (SELECT max(version) FROM gone)) RETURNING 1
)
SELECT count(*) FROM gone
"""
_PAGE = 256
_LEAST_CONNECT_SECONDS = 2


class PostgresDatabase:
    """States in PostgreSQL 13 or newer; the URL is libpq's.

    At most `connections` are open at a time; a call that would need one more waits. A call that takes longer than
    `timeout_seconds` is given up, on the server too.

    Raises:
        MissingExtraError: psycopg is not installed.
        StateSchemaError: the tables are of a newer version.
        StateUnavailableError: the server does not answer.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 5.0, connections: int = 8) -> None:
        self._psycopg = require("psycopg", extra="state")
        self._connect = _bounded(self._psycopg.Connection).connect
        self._url = url
        self._timeout = timeout_seconds
        self._idle: list[Any] = []
        self._free = threading.BoundedSemaphore(connections)
        self._process = os.getpid()
        self._closed = False
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def read(self, key: str) -> Row:
        """The session at this moment."""
        payload, digest, version, position = self._row(_READ, (key,), again=True)
        return Row(None if payload is None else payload.encode(), digest, version or 0, position)

    def write(self, key: str, payload: bytes, digest: str, expected_version: int | None) -> Committed | None:
        """Commit a payload under the next version; None if the session has not the expected version."""
        if expected_version is None:
            found = self._row(_SAVE, {"key": key, "payload": payload.decode(), "hash": digest})
        else:
            found = self._row(_SAVE_EXPECTED, (key, payload.decode(), digest, expected_version))
        return None if found is None else Committed(*found)

    def delete(self, key: str, expected_version: int | None) -> Committed | None:
        """Commit that there is no payload, under the next version; None if there was none, or another version."""
        found = self._row(_DELETE, (key, expected_version))
        return None if found is None else Committed(*found)

    def changes(self, since: int | None, limit: int) -> Changes:
        """What was committed by transactions from number `since` on, those that ran at the last reading included."""
        (_, _, following), *found = self._rows(_CHANGES, (since or 0, limit + 1))
        found.sort(key=lambda row: -row[2])
        start = since or 0
        if len(found) > limit:
            start = found[limit][2] + 1
        versions: dict[str, int] = {}
        for key, version, _ in found[:limit]:
            versions[key] = max(version, versions.get(key, 0))
        return Changes(versions, start, following)

    def rows(self) -> Iterator[tuple[str, bytes | None, str | None, str | None]]:
        """Key, payload, digest and the digest of the index, of every session, in constant memory."""
        last = ""
        while True:
            page = self._rows(_ROWS, (last, _PAGE))
            yield from ((key, None if raw is None else raw.encode(), *rest) for key, raw, *rest in page)
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    def purge(self, older_than_seconds: float) -> int:
        """Forget sessions that were deleted that long ago, and old audit rows."""

        def act(connection: Any) -> int:
            connection.until = float("inf")
            with connection.transaction():
                connection.execute("SET LOCAL statement_timeout = 0")
                connection.execute("LOCK TABLE sessions IN SHARE ROW EXCLUSIVE MODE")
                (before,) = connection.execute(
                    "SELECT clock_timestamp() - make_interval(secs => %s)", (older_than_seconds,)
                ).fetchone()
                return int(connection.execute(_PURGE, {"before": before}).fetchone()[0])

        return int(self._with(act))

    def close(self) -> None:
        """Close the idle connections; one that is in use is closed after its call."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _row(self, query: str, parameters: tuple[Any, ...] | dict[str, str], *, again: bool = False) -> Any:
        return self._with(lambda c: c.one.execute(query, parameters, prepare=True).fetchone(), again=again)

    def _rows(self, query: str, parameters: tuple[Any, ...]) -> list[Any]:
        rows: list[Any] = self._with(lambda c: c.one.execute(query, parameters, prepare=True).fetchall(), again=True)
        return rows

    def _prepare(self) -> None:
        (there,) = self._row("SELECT to_regclass(%s) IS NOT NULL", (VERSION_TABLE,), again=True)
        revision = self._row(f"SELECT max(version_num) FROM {VERSION_TABLE}", ())[0] if there else None  # noqa: S608 - constant
        check_revision(revision, "this PostgreSQL database")
        if revision != HEAD:
            upgrade(self._url)
        self.identity = str(self._row("SELECT identity FROM state_fabric", ())[0])

    def _with(self, action: Callable[[Any], Any], *, again: bool = False) -> Any:
        """The answer of `action` on a connection; if `again`, asked once more where the connection was lost."""
        with self._free:
            try:
                return self._on_connection(action)
            except (self._psycopg.Error, OSError) as error:
                if not again or isinstance(error, _TooLateError):
                    raise self._unavailable(error) from error
            try:
                return self._on_connection(action)
            except (self._psycopg.Error, OSError) as error:
                raise self._unavailable(error) from error

    def _on_connection(self, action: Callable[[Any], Any]) -> Any:
        connection = self._taken()
        try:
            connection.until = time.monotonic() + self._timeout
            answer = action(connection)
        except BaseException:
            connection.close()
            raise
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)
        return answer

    def _taken(self) -> Any:
        if self._process != os.getpid():
            # Connections of the process that this one was forked from are not ours to use, nor to close.
            self._process, self._idle = os.getpid(), []
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            if not _readable(connection.pgconn.socket):
                return connection
            connection.close()  # the server has said goodbye while it was idle
        connection = self._connect(
            self._url,
            autocommit=True,
            connect_timeout=max(_LEAST_CONNECT_SECONDS, round(self._timeout)),
            # Planning these statements anew for each call would cost more than running them.
            options=f"-c statement_timeout={round(self._timeout * 1000)} -c plan_cache_mode=force_generic_plan",
        )
        connection.one = connection.cursor()  # kept: making one for each call would cost a sixth of it
        return connection

    def _unavailable(self, error: Exception) -> StateUnavailableError:
        return StateUnavailableError(
            "the PostgreSQL database of states does not answer",
            got=error,
            expected=f"an answer within {self._timeout:g} s",
            hint="check the server; after a write, read with consistency='strong' whether it was made",
        )


class _TooLateError(OSError):
    """No answer in time."""


def _bounded(base: Any) -> Any:
    """A connection class that gives up waiting at `until`: libpq would wait for a stopped server for ever."""

    class Bounded(base):  # type: ignore[misc] # psycopg is optional, so its classes are not known here
        until = float("inf")

        def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
            return super().wait(_within(gen, self), *arguments, **options)

    return Bounded


def _within(gen: Generator[Any, Any, Any], connection: Any) -> Generator[Any, Any, Any]:
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > connection.until:
                connection.pgconn.finish()
                raise _TooLateError("no answer in time")
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value


def _readable(descriptor: int) -> bool:
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
