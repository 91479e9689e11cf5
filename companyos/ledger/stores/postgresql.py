"""The store on a PostgreSQL server, in a schema of its own: one log a schema, so one database can hold many.

Whoever writes holds the row of the newest checkpoint. A process that wrote last does not even ask for it first: it
replaces the checkpoint it knows by the next one and adds the entries, in one statement that does nothing if another
process has written since. That is one round trip a commit. Needs sessions of its own: through a pooler, one that
pools sessions and not transactions.
"""

from __future__ import annotations

import re
import threading
import time
from contextlib import closing, contextmanager, suppress
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from companyos.errors import ConfigError
from companyos.ledger.errors import StoreBusyError, StoreUnreadableError
from companyos.ledger.stores.interface import Deposit, Payload, Refusal, Row, TakenError, Tile
from companyos.ledger.stores.schema import POSTGRESQL, VERSION
from companyos.ledger.stores.server import WAIT_SECONDS, Server
from companyos.ledger.stores.wire import Bigint, Bigints, Byteas, Bytes, Doubles, Integers, Text, Texts, arrays

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import psycopg

    from companyos.ledger.stores.wire import Binary

    Statement = tuple[str, Sequence[object]]

__all__ = ("PostgresqlStore",)

_PAGE = 1024
_RIVALS = 16
"""Commits that are not begun on a guess after another process turned out to write, too."""
_READERS = 4
"""Idle connections for reading that are kept."""
_TRUE = b"\1"
_ROW = "idx, id, source, raw, leaf, sameness"
_DEPOSIT = "id, source, raw, leaf, sameness, digest, salt, payload, retention, kept_since"
_ABSENT = (None,) * 5

_TAKE_IF_FREE = "SELECT note FROM head WHERE one = 1 FOR UPDATE SKIP LOCKED"
_TAKE = "SELECT note FROM head WHERE one = 1 FOR UPDATE"
# Asked after the row is held, because a statement sees what was committed when it began.
_STATE = """SELECT coalesce((SELECT max(idx) + 1 FROM entry), 0), EXISTS (SELECT FROM inbox),
    (SELECT note FROM head WHERE one = 1)"""
_SWAP = "moved AS (UPDATE head SET note = %s WHERE one = 1 AND note = %s RETURNING 1)"
_MOVE = "moved AS (INSERT INTO head VALUES (1, %s) ON CONFLICT (one) DO UPDATE SET note = excluded.note RETURNING 1)"
_STAY = "moved AS (SELECT 1)"
_ENTRY = "entries AS (INSERT INTO entry SELECT %s, %s, %s, %s, %s, %s FROM moved)"
_ENTRIES = """entries AS (INSERT INTO entry SELECT %s + place, id, source, raw, leaf, sameness
    FROM moved, unnest(%s, %s, %s, %s, %s) WITH ORDINALITY AS new (id, source, raw, leaf, sameness, place))"""
_TILES = """tiles AS (INSERT INTO tile SELECT new.* FROM moved, unnest(%s, %s, %s) AS new
    ON CONFLICT (level, idx) DO UPDATE SET hashes = excluded.hashes)"""
_PAYLOADS = """payloads AS (INSERT INTO detached SELECT new.* FROM moved, unnest(%s, %s, %s, %s, %s) AS new
    ON CONFLICT (hash) DO NOTHING)"""
_OUTCOME = "SELECT EXISTS (SELECT FROM moved), EXISTS (SELECT FROM inbox)"
_FIND = f"""SELECT found.* FROM unnest(%s::text[], %s::text[]) AS key (source, id), LATERAL (
    SELECT {_ROW} FROM entry WHERE entry.source = key.source AND entry.id = key.id LIMIT 1) AS found"""  # noqa: S608 - constant
_LEAVE = """INSERT INTO {schema}.inbox (id, source, raw, leaf, sameness, digest, salt, payload, retention, kept_since)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::bytea[], %s::bytea[], %s::bytea[],
        %s::bytea[], %s::bytea[], %s::bytea[], %s::text[], %s::float8[])"""
_REFUSE = """INSERT INTO refusal SELECT * FROM unnest(%s::text[], %s::text[], %s::bytea[], %s::text[])
    ON CONFLICT (source, id, digest) DO UPDATE SET reason = excluded.reason"""
# Which server this is and which of its databases, whatever name or proxy it was reached by.
_WHERE = """SELECT pg_postmaster_start_time(), oid FROM pg_database WHERE datname = current_database()"""


_OF_ENTRY = (Texts, Texts, Byteas, Byteas, Byteas)
_OF_TILE = (Integers, Bigints, Byteas)
_OF_PAYLOAD = (Byteas, Byteas, Byteas, Texts, Doubles)


class _Reads:
    """The queries that a store and its write transaction share."""

    def _all(self, query: str, *parameters: object) -> list[Any]:
        raise NotImplementedError

    def head(self) -> bytes | None:
        """The newest signed checkpoint, None for a log nobody has written to."""
        return _only(self._all("SELECT note FROM head WHERE one = 1")) or None

    def size(self) -> int:
        """One more than the largest index that is there."""
        return int(_only(self._all("SELECT coalesce(max(idx) + 1, 0) FROM entry")))

    def raw(self, index: int) -> bytes | None:
        """The canonical bytes of an entry; None if it is not there."""
        found: bytes | None = _only(self._all("SELECT raw FROM entry WHERE idx = %s", index))
        return found

    def leaves(self, start: int, end: int) -> list[bytes]:
        """The leaf hashes of the entries [start, end), as far as they are there."""
        found = self._all("SELECT idx, leaf FROM entry WHERE idx >= %s AND idx < %s ORDER BY idx", start, end)
        # Up to the first hole: what lies behind it is not where it was.
        return [leaf for place, (index, leaf) in enumerate(found, start) if index == place]

    def tile(self, level: int, index: int) -> bytes | None:
        """The hashes of a tile; None if it is not stored."""
        found: bytes | None = _only(self._all("SELECT hashes FROM tile WHERE level = %s AND idx = %s", level, index))
        return found

    def find(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Row]:
        """The entries with these (source, id)."""
        wanted = list(keys)
        rows = (Row(*found) for found in self._all(_FIND, *_columns(wanted, 2)))
        return {(row.source, row.id): row for row in rows}


class _Known(NamedTuple):
    """How this process left the log, or found it."""

    head: bytes | None
    """The newest checkpoint."""
    size: int
    """Number of entries."""
    deposits: bool
    """Whether there may be some."""


class _PostgresqlBatch(_Reads):
    """A write transaction: what is written is kept here and sent at its end, together with the commit."""

    def __init__(self, connection: psycopg.Connection, known: _Known) -> None:
        self._connection = connection
        self._known = known
        self._seen: dict[int, int] = {}
        self._waiting: list[Deposit] = []
        self._rows: Sequence[Row] = ()
        self._tiles: list[Tile] = []
        self._payloads: list[Payload] = []
        self._head: bytes | None = None
        self.others: list[Statement] = []

    def head(self) -> bytes | None:
        """The newest signed checkpoint, None for a log nobody has written to."""
        return self._known.head

    def size(self) -> int:
        """One more than the largest index that is there."""
        return self._known.size

    def add(self, rows: Sequence[Row], tiles: Sequence[Tile], payloads: Sequence[Payload]) -> None:
        """Add entries at the end, with the tiles that grew and what is kept beside the log."""
        self._rows = [*self._rows, *rows] if self._rows else rows
        self._tiles += tiles
        self._payloads += payloads

    def set_head(self, note: bytes) -> None:
        """Replace the signed checkpoint of the log's present state."""
        self._head = note

    def set_cosigned(self, note: bytes) -> None:
        """Keep the newest checkpoint that witnesses cosigned."""
        query = "INSERT INTO head VALUES (2, %s) ON CONFLICT (one) DO UPDATE SET note = excluded.note"
        self.others.append((query, (note,)))

    def waiting(self, limit: int) -> list[Deposit]:
        """The oldest deposits that wait for their place."""
        if not self._known.deposits:
            return []
        found = self._all(f"SELECT seq, {_DEPOSIT} FROM inbox ORDER BY seq LIMIT %s", limit)  # noqa: S608 - constant
        self._waiting = [_deposit(row[1:]) for row in found]
        self._seen = {id(deposit): row[0] for deposit, row in zip(self._waiting, found, strict=True)}
        return self._waiting

    def taken(self, deposits: Sequence[Deposit], refusals: Sequence[Refusal]) -> None:
        """Deposits that need not wait any longer, and why some of them were refused."""
        numbers = [self._seen[id(deposit)] for deposit in deposits]
        self.others.append(("DELETE FROM inbox WHERE seq = ANY (%s::bigint[])", (numbers,)))
        if refusals:
            newest = {(refusal.source, refusal.id, refusal.digest): refusal for refusal in refusals}
            self.others.append((_REFUSE, _columns(list(newest.values()), 4)))

    def drop_payloads(self, commits: Sequence[bytes]) -> None:
        """Delete detached payloads and their salts."""
        self.others.append(("DELETE FROM detached WHERE hash = ANY (%s::bytea[])", (list(commits),)))

    def write(self, *, swap: bool) -> tuple[tuple[str, ...], list[Binary]] | None:
        """What adds the entries and replaces the head; with `swap`, only if the head is still the known one."""
        parts = [_STAY]
        values: list[Binary] = []
        if self._head is not None and swap:
            parts, values = [_SWAP], [Bytes(self._head), Bytes(self._known.head or b"")]
        elif self._head is not None:
            parts, values = [_MOVE], [Bytes(self._head)]
        if len(self._rows) == 1:
            index, name, source, *blobs = self._rows[0]
            parts.append(_ENTRY)
            values += [Bigint.of(index), Text(name.encode()), Text(source.encode()), *map(Bytes, blobs)]
        elif self._rows:
            parts.append(_ENTRIES)
            values += [Bigint.of(self._rows[0].index - 1), *arrays(_OF_ENTRY, [row[1:] for row in self._rows])]
        if self._tiles:
            parts.append(_TILES)
            values += arrays(_OF_TILE, self._tiles)
        if self._payloads:
            parts.append(_PAYLOADS)
            values += arrays(_OF_PAYLOAD, self._payloads)
        return (tuple(parts), values) if values else None

    @property
    def headless(self) -> bool:
        """Whether there is nothing to replace the known head by."""
        return self._head is None or self._known.head is None

    def outcome(self, *, deposits: bool) -> _Known:
        """How the log is left by this transaction."""
        return _Known(self._head or self._known.head, self._known.size + len(self._rows), deposits)

    def _all(self, query: str, *parameters: object) -> list[Any]:
        return self._connection.execute(query, parameters, prepare=True, binary=True).fetchall()


class PostgresqlStore(_Reads):
    """A log in one schema of a PostgreSQL database; any number of threads, processes and machines may have it open.

    The schema is `companyos_ledger`, or what the URL says in its parameter `log_schema`.

    Raises:
        ConfigError: it is not the URL of a database.
        MissingExtraError: psycopg is not installed.
        StoreUnreadableError: the server does not answer, or does not let us in; there is no log (with `create=False`);
            the log is of a newer version; or the server runs with `fsync=off`, so that no receipt would be true.
    """

    def __init__(self, url: str, *, create: bool = True, readonly: bool = False) -> None:
        self._server = Server(url)
        self._psycopg = self._server.driver
        self._readonly = readonly
        self._writing = threading.Lock()
        self._aside = threading.Lock()
        self._closed = False
        self._writer: psycopg.Connection | None = None
        self._prepared: dict[tuple[str, ...], bytes] = {}
        self._depositor: psycopg.Connection | None = None
        self._idle: list[psycopg.Connection] = []
        self._known: _Known | None = None
        self._rivals = 0
        try:
            self._prepare(create=create and not readonly)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections."""
        self._closed = True
        with self._writing, self._aside:
            for connection in (self._writer, self._depositor):
                if connection is not None:
                    connection.close()
            while self._idle:
                self._idle.pop().close()

    @contextmanager
    def batch(self, *, wait: bool = True, guess: bool = False) -> Iterator[_PostgresqlBatch]:
        """A write transaction."""
        if self._readonly:
            raise StoreUnreadableError("this ledger is open for reading only", hint="open it with Ledger.open")
        with self._writing, self._server.translated():
            known, self._known = self._known, None
            if guess and known is not None and not known.deposits and self._writer is not None:
                batch = _PostgresqlBatch(self._writer, known)
                yield batch
                self._swap(batch)
                return
            batch = self._begin(wait=wait)
            try:
                yield batch
                self._commit(batch)
            finally:
                self._leave()

    def deposit(self, deposits: Sequence[Deposit]) -> None:
        """Leave entries for whoever writes next."""
        # Nothing is lost by an error: whoever deposits then waits for their own turn to write.
        with self._aside, suppress(self._psycopg.Error, StoreUnreadableError):
            if self._depositor is None or self._depositor.closed:
                self._depositor = self._open(relaxed=True)
            leave = _LEAVE.format(schema=self._server.schema)
            self._depositor.execute(leave, _deposit_columns(deposits), prepare=True, binary=True)

    def deposit_with(self, connection: object, deposits: Sequence[Deposit]) -> None:
        """Leave entries in the transaction of a caller's own connection to the log's database."""
        driver = self._psycopg
        if not isinstance(connection, driver.Connection):
            raise ConfigError(
                "this log is kept in PostgreSQL and cannot join that transaction",
                got=f"{type(connection).__module__}.{type(connection).__name__}",
                expected="a psycopg connection, or an SQLAlchemy connection or session over one; nothing asynchronous",
            )
        with driver.Cursor(connection, row_factory=driver.rows.tuple_row) as cursor:
            theirs = cursor.execute(_WHERE).fetchone()
            if [theirs] != self._all(_WHERE):
                raise ConfigError(
                    "the connection is to another database than the log's",
                    got=f"{connection.info.host}/{connection.info.dbname}",
                    expected=self._server.shown,
                    hint="one transaction has one database: keep the log in a schema of yours",
                )
            cursor.execute(_LEAVE.format(schema=self._server.schema), _deposit_columns(deposits))

    def refusal(self, source: str, id: str, digest: bytes) -> str | None:  # noqa: A002 - the CloudEvents attribute is called so
        """Why a deposit was not given a place, empty if it is logged already; None if it was given one, or waits."""
        query = "SELECT reason FROM refusal WHERE source = %s AND id = %s AND digest = %s"
        found: str | None = _only(self._all(query, source, id, digest))
        return found

    def extent(self) -> tuple[int, int, int]:
        """Number of rows, smallest and largest index, whatever these are; (0, 0, 0) for an empty log."""
        ((count, first, last),) = self._all("SELECT count(*), min(idx), max(idx) FROM entry")
        return int(count), int(first or 0), int(last or 0)

    def rows(self, start: int = 0, end: int | None = None) -> Iterator[Row]:
        """Entries in order, in constant memory."""
        query = f"SELECT {_ROW} FROM entry WHERE idx >= %s AND idx < %s ORDER BY idx LIMIT {_PAGE}"  # noqa: S608 - constants
        last = (1 << 63) - 1 if end is None else end
        # Page by page: a transaction left open would keep the server from clearing away old checkpoints.
        while page := self._all(query, start, last):
            yield from map(Row._make, page)
            start = page[-1][0] + 1

    def raws(self, start: int, end: int) -> list[bytes]:
        """The bytes of those of the entries [start, end) that are there, in order."""
        found = self._all("SELECT raw FROM entry WHERE idx >= %s AND idx < %s ORDER BY idx", start, end)
        return [raw for (raw,) in found]

    def columns(self, start: int, end: int) -> list[tuple[str, str, bytes, bytes]]:
        """Id, source, bytes and leaf hash, just as stored, of those of the entries [start, end) that are there."""
        query = "SELECT id, source, raw, leaf FROM entry WHERE idx >= %s AND idx < %s ORDER BY idx"
        return self._all(query, start, end)

    def first_missing(self, start: int) -> int:
        """The first index from `start` on that is not there."""
        query = "SELECT idx FROM entry WHERE idx >= %s ORDER BY idx LIMIT 4096"
        while found := self._all(query, start):
            place = next((at for at, (index,) in enumerate(found, start) if index != at), None)
            if place is not None:
                return place
            start += len(found)
        return start

    def tile_extent(self) -> list[tuple[int, int, int]]:
        """Level, number of tiles and largest index of each level that has tiles."""
        return self._all("SELECT level, count(*), max(idx) FROM tile GROUP BY level ORDER BY level")

    def payload_extent(self) -> int:
        """How many detached payloads are kept."""
        return int(_only(self._all("SELECT count(*) FROM detached")))

    def of_source(self, source: str) -> Iterator[Row]:
        """The entries of one source, in order."""
        query = f"SELECT {_ROW} FROM entry WHERE source = %s ORDER BY idx"  # noqa: S608 - constant
        return (Row(*found) for found in self._all(query, source))

    def payload(self, commit: bytes) -> tuple[bytes, bytes] | None:
        """Salt and payload of a commitment; None once dropped."""
        found = self._all("SELECT salt, payload FROM detached WHERE hash = %s", commit)
        return found[0] if found else None

    def payloads(self, retention: str, before: float) -> Iterator[bytes]:
        """Commitments of the payloads of a retention class that were appended before a time."""
        query = "SELECT hash FROM detached WHERE retention = %s AND kept_since < %s ORDER BY kept_since, hash"
        return (commit for (commit,) in self._all(query, retention, float(before)))

    def cosigned(self) -> bytes | None:
        """The newest checkpoint that witnesses cosigned."""
        found: bytes | None = _only(self._all("SELECT note FROM head WHERE one = 2"))
        return found

    def scrub(self) -> None:
        """Rewrite the tables of detached payloads and of deposits, so that no file of a table holds a deleted one.

        That is all that can be promised from here. The old file is given back to the file system without being
        overwritten, and the write-ahead log, its archive, base backups and replicas hold what was deleted until they
        are recycled: their retention is the administrator's to set.

        Raises:
            StoreBusyError: an old transaction still sees deleted payloads, or somebody uses the table.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        with self._writing, self._server.translated(), closing(self._open(relaxed=True)) as connection:
            now = _only(connection.execute("SELECT pg_current_xact_id()::text").fetchall())
            query = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                AND pid <> pg_backend_pid() AND age(backend_xmin) > age(%s::xid)"""
            while _only(connection.execute(query, (str(int(now) % (1 << 32)),)).fetchall()):
                if time.monotonic() > deadline:
                    raise StoreBusyError("an open transaction keeps deleted payloads from being removed")
                time.sleep(0.01)
            connection.execute("VACUUM (FULL, ANALYZE) detached, inbox")

    def durability(self) -> tuple[str, str]:
        """`synchronous_commit` of the writing session and `fsync` of the server, as the server reports them."""
        with self._writing, self._server.translated():
            query = "SELECT current_setting('synchronous_commit'), current_setting('fsync')"
            ((commit, sync),) = self._open_writer().execute(query).fetchall()
        return str(commit), str(sync)

    def _begin(self, *, wait: bool) -> _PostgresqlBatch:
        fresh = self._writer is None or self._writer.closed
        try:
            return self._take(self._open_writer(), wait=wait)
        except self._psycopg.Error as error:
            self._leave()
            if fresh or not self._server.lost(error, self._writer):
                raise
        # The session died while it was idle, as when the server was restarted: nothing was begun.
        self._drop_writer()
        return self._take(self._open_writer(), wait=wait)

    def _take(self, connection: psycopg.Connection, *, wait: bool) -> _PostgresqlBatch:
        with connection.pipeline():
            connection.execute("BEGIN", prepare=True)
            took = connection.execute(_TAKE if wait else _TAKE_IF_FREE, prepare=True, binary=True)
            state = connection.execute(_STATE, prepare=True, binary=True)
        ((size, deposits, note),) = state.fetchall()
        # Somebody may have deleted the row that is the lock: then the index decides, which must stay without gaps.
        if not took.fetchall() and note is not None:
            self._leave()
            raise self._server.busy()
        return _PostgresqlBatch(connection, _Known(note or None, size, deposits))

    def _commit(self, batch: _PostgresqlBatch) -> None:
        connection = self._open_writer()
        write = batch.write(swap=False)
        statements = [*batch.others, *([(_joined(write[0]), write[1])] if write else [])]
        if not statements:
            return
        try:
            with connection.pipeline():
                for query, values in statements:
                    last = connection.execute(query, values, prepare=True, binary=True)
                done = connection.execute("COMMIT", prepare=True)
        except self._psycopg.Error as error:
            raise self._again(error) from error
        if done.statusmessage != "COMMIT":
            raise StoreUnreadableError("the server did not commit", got=done.statusmessage)
        if self._rivals:
            self._rivals -= 1
        elif write:
            self._known = batch.outcome(deposits=bool(last.fetchall()[0][1]))

    def _swap(self, batch: _PostgresqlBatch) -> None:
        write = batch.write(swap=True)
        if write is None and not batch.others:
            return
        # Only entries with their head can be written so; for the rest, let the caller begin again for real.
        if write is None or batch.others or batch.headless:
            raise TakenError
        try:
            moved, deposits = self._run(*write)
        except self._psycopg.Error as error:
            raise self._again(error) from error
        if moved != _TRUE:
            self._rivals = _RIVALS
            raise TakenError
        self._known = batch.outcome(deposits=deposits == _TRUE)

    def _run(self, parts: tuple[str, ...], values: Sequence[Binary]) -> list[bytes]:
        """The row that a statement gives, by one blocking call: of an append alone, psycopg's cursor is a third."""
        driver, wire = self._psycopg, self._open_writer().pgconn
        name = self._prepared.get(parts)
        if name is None:
            name = f"companyos_{len(self._prepared)}".encode()
            done = wire.prepare(name, _numbered(parts), [value.oid for value in values])
            if done.status != driver.pq.ExecStatus.COMMAND_OK:
                raise driver.errors.error_from_result(done)
            self._prepared[parts] = name
        done = wire.exec_prepared(name, values, [driver.pq.Format.BINARY] * len(values), driver.pq.Format.BINARY)
        if done.status != driver.pq.ExecStatus.TUPLES_OK:
            raise driver.errors.error_from_result(done)
        return [done.get_value(0, column) or b"" for column in range(done.nfields)]

    def _again(self, error: Exception) -> Exception:
        """TakenError for what is to be looked up and tried again: an id is taken, or nobody knows."""
        if isinstance(error, self._psycopg.errors.UniqueViolation):
            return TakenError()
        if self._server.lost(error, self._writer):
            self._drop_writer()
            return TakenError()
        return error

    def _leave(self) -> None:
        """Roll back what was not committed."""
        writer = self._writer
        if writer is None or writer.closed:
            return
        if writer.pgconn.transaction_status != self._psycopg.pq.TransactionStatus.IDLE:
            # Past psycopg, which would forget every prepared statement.
            done = writer.pgconn.exec_(b"ROLLBACK")
            if done.status != self._psycopg.pq.ExecStatus.COMMAND_OK:
                self._drop_writer()

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open_writer(self) -> psycopg.Connection:
        if self._writer is None or self._writer.closed:
            self._writer = self._open()
            self._prepared = {}
        return self._writer

    def _open(self, *, relaxed: bool = False, reading: bool = False) -> psycopg.Connection:
        if self._closed:
            raise StoreUnreadableError("this ledger is closed", hint="open it again")
        return self._server.connect(relaxed=relaxed, reading=reading)

    def _prepare(self, *, create: bool) -> None:
        with self._server.translated():
            found = self._version()
            if found is None and create:
                self._create()
                found = self._version()
        if found is None:
            raise StoreUnreadableError(
                f"no ledger in the schema {self._server.schema} of {self._server.shown}",
                hint="check the URL, or append to make one",
            )
        if found > VERSION:
            raise StoreUnreadableError(
                f"the ledger in {self._server.shown} was written by a newer companyos",
                got=f"schema {found}",
                expected=f"at most {VERSION}",
                hint="pip install --upgrade companyos",
            )
        if not self._readonly:
            with self._server.translated():
                self._open_writer()

    def _version(self) -> int | None:
        """The version of the tables; None if there are none."""
        if not _only(self._all("SELECT to_regclass(%s) IS NOT NULL", f"{self._server.schema}.entry")):
            return None
        if not _only(self._all("SELECT to_regclass(%s) IS NOT NULL", f"{self._server.schema}.schema_version")):
            raise StoreUnreadableError(
                f"the schema {self._server.schema} of {self._server.shown} is in use, but not by a ledger"
            )
        return int(_only(self._all("SELECT max(version) FROM schema_version")) or 0)

    def _create(self) -> None:
        connection = self._open_writer()
        with connection.transaction():
            # Another process may be making the very same log just now.
            connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"companyos {self._server.schema}",)
            )
            if self._version() is None:
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self._server.schema}".encode())
                connection.execute(POSTGRESQL.encode())
                connection.execute("INSERT INTO schema_version VALUES (%s)", (VERSION,))

    def _all(self, query: str, *parameters: object) -> list[Any]:
        with self._server.translated():
            while True:
                try:
                    connection, fresh = self._idle.pop(), False
                except IndexError:
                    connection, fresh = self._open(reading=True), True
                try:
                    found = connection.execute(query, parameters, prepare=True, binary=True).fetchall()
                except self._psycopg.Error as error:
                    lost = self._server.lost(error, connection)
                    connection.close()
                    if fresh or not lost:
                        raise
                except BaseException:
                    connection.close()
                    raise
                else:
                    self._keep(connection)
                    return found

    def _keep(self, connection: psycopg.Connection) -> None:
        if self._closed or len(self._idle) >= _READERS:
            connection.close()
        else:
            self._idle.append(connection)


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Rows as lists of their columns."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def _deposit(row: tuple[Any, ...]) -> Deposit:
    name, source, raw, leaf, sameness = row[:5]
    return Deposit(name, source, raw, leaf, sameness, None if row[5] is None else Payload(*row[5:]))


def _deposit_columns(deposits: Sequence[Deposit]) -> list[list[Any]]:
    return _columns([(*deposit[:5], *(deposit.payload or _ABSENT)) for deposit in deposits], 10)


@cache
def _joined(parts: tuple[str, ...]) -> str:
    """The statement that these are parts of, as psycopg takes it."""
    return f"WITH {', '.join(parts)} {_OUTCOME}"


@cache
def _numbered(parts: tuple[str, ...]) -> bytes:
    """The same as the server takes it."""
    numbers = count(1)
    return re.sub("%s", lambda _: f"${next(numbers)}", _joined(parts)).encode()


def _only(rows: list[Any]) -> Any:
    """The one value that was asked for, None if there is none."""
    return rows[0][0] if rows else None
