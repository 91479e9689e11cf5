"""The store on a PostgreSQL server, in a schema of its own: one log a schema, so one database can hold many.

Whoever writes holds the row of the newest checkpoint. A process that wrote last does not even ask for it first: it
replaces the checkpoint it knows by the next one and adds the entries, in one statement that does nothing if another
process has written since. That is one round trip a commit. Needs sessions of its own: through a pooler, one that
pools sessions and not transactions.
"""

from __future__ import annotations

import re
import struct
import threading
import time
from contextlib import contextmanager, suppress
from functools import cache
from itertools import chain, count
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self
from urllib.parse import urlsplit

from companyos._extras import require
from companyos.errors import ConfigError
from companyos.ledger.errors import StoreBusyError, StoreFullError, StoreUnreadableError
from companyos.ledger.stores.interface import Deposit, Payload, Refusal, Row, TakenError, Tile
from companyos.ledger.stores.schema import POSTGRESQL, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import psycopg

    Statement = tuple[str, Sequence[object]]

__all__ = ("PostgresqlStore",)

_PAGE = 256
_WAIT_SECONDS = 30
_IDLE_SECONDS = 10
"""After which the server throws out a writer that stands still in the middle of a transaction."""
_RIVALS = 16
"""Commits that are not begun on a guess after another process turned out to write, too."""
_READERS = 4
"""Idle connections for reading that are kept."""
_ARRAY = struct.Struct("!5i")
_TRUE = b"\1"
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}\Z")
_LOST = {"25P03", "57P01", "57P02", "57P03", "57P05"}
"""SQLSTATEs with which the server ends a session."""
_ROW = "idx, id, source, raw, leaf, sameness"
_DEPOSIT = "id, source, raw, leaf, sameness, digest, salt, payload, retention, kept_since"
_ABSENT = (None,) * 5

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
_PAYLOADS = "payloads AS (INSERT INTO detached SELECT new.* FROM moved, unnest(%s, %s, %s, %s, %s) AS new)"
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


class _Binary(bytes):
    """A value in the server's binary form; psycopg's own way to it takes longer than the insert."""

    oid: ClassVar[int]


class _Bytes(_Binary):
    """A `bytea`."""

    oid = 17


class _Text(_Binary):
    """A `text`."""

    oid = 25


class _Bigint(_Binary):
    """A `bigint`."""

    oid = 20

    @classmethod
    def of(cls, number: int) -> Self:
        """This number."""
        return cls(number.to_bytes(8, "big", signed=True))


class _Array(_Binary):
    """An array of one dimension."""

    _of: ClassVar[int]
    _encode: ClassVar[Callable[[Any], bytes]]

    @classmethod
    def of(cls, items: Iterable[Any]) -> Self:
        """The array of these."""
        sized = [(len(item).to_bytes(4, "big"), item) for item in map(cls._encode, items)]
        return cls(b"".join((_ARRAY.pack(1, 0, cls._of, len(sized), 1), *chain.from_iterable(sized))))


class _Texts(_Array):
    oid, _of, _encode = 1009, 25, str.encode


class _Byteas(_Array):
    oid, _of, _encode = 1001, 17, bytes


class _Integers(_Array):
    oid, _of, _encode = 1007, 23, struct.Struct("!i").pack


class _Bigints(_Array):
    oid, _of, _encode = 1016, 20, struct.Struct("!q").pack


class _Doubles(_Array):
    oid, _of, _encode = 1022, 701, struct.Struct("!d").pack


_KINDS = (_Bytes, _Text, _Bigint, _Texts, _Byteas, _Integers, _Bigints, _Doubles)
_OF_ENTRY = (_Texts, _Texts, _Byteas, _Byteas, _Byteas)
_OF_TILE = (_Integers, _Bigints, _Byteas)
_OF_PAYLOAD = (_Byteas, _Byteas, _Byteas, _Texts, _Doubles)


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

    def add(self, rows: Sequence[Row], tiles: Iterable[Tile], payloads: Iterable[Payload]) -> None:
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
        deposits = [Deposit(*row[1:6], None if row[6] is None else Payload(*row[6:])) for row in found]
        self._seen.update({id(deposit): row[0] for deposit, row in zip(deposits, found, strict=True)})
        return deposits

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

    def write(self, *, swap: bool) -> tuple[tuple[str, ...], list[_Binary]] | None:
        """What adds the entries and replaces the head; with `swap`, only if the head is still the known one."""
        parts, values = [_STAY], list[_Binary]()
        if self._head is not None and swap:
            parts, values = [_SWAP], [_Bytes(self._head), _Bytes(self._known.head or b"")]
        elif self._head is not None:
            parts, values = [_MOVE], [_Bytes(self._head)]
        if len(self._rows) == 1:
            index, name, source, *blobs = self._rows[0]
            parts.append(_ENTRY)
            values += [_Bigint.of(index), _Text(name.encode()), _Text(source.encode()), *map(_Bytes, blobs)]
        elif self._rows:
            parts.append(_ENTRIES)
            values += [_Bigint.of(self._rows[0].index - 1), *_arrays(_OF_ENTRY, [row[1:] for row in self._rows])]
        if self._tiles:
            parts.append(_TILES)
            values += _arrays(_OF_TILE, self._tiles)
        if self._payloads:
            parts.append(_PAYLOADS)
            values += _arrays(_OF_PAYLOAD, self._payloads)
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
        self._psycopg: Any = require("psycopg", extra="ledger-postgres")
        self._conninfo, self._schema, self._shown = _parse(url, self._psycopg)
        self._dumpers = [_dumper(self._psycopg, kind) for kind in _KINDS]
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
        with self._writing, self._translated():
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
                self._depositor = self._connect(relaxed=True)
            leave = _LEAVE.format(schema=self._schema)
            self._depositor.execute(leave, _deposit_columns(deposits), prepare=True, binary=True)

    def deposit_with(self, connection: object, deposits: Sequence[Deposit]) -> None:
        """Leave entries in the transaction of a caller's own connection to the log's database."""
        driver = self._psycopg
        if not isinstance(connection, driver.Connection):
            raise ConfigError(
                "this log is kept in PostgreSQL and cannot join that transaction",
                got=f"{type(connection).__module__}.{type(connection).__name__}",
                expected="a psycopg connection, or an SQLAlchemy connection or session over one; not an asynchronous one",
            )
        with driver.Cursor(connection, row_factory=driver.rows.tuple_row) as cursor:
            theirs = cursor.execute(_WHERE).fetchone()
            if [theirs] != self._all(_WHERE):
                raise ConfigError(
                    "the connection is to another database than the log's",
                    got=f"{connection.info.host}/{connection.info.dbname}",
                    expected=self._shown,
                    hint="one transaction has one database: keep the log in a schema of yours",
                )
            cursor.execute(_LEAVE.format(schema=self._schema), _deposit_columns(deposits))

    def refusal(self, source: str, id: str, digest: bytes) -> str | None:  # noqa: A002 - the CloudEvents attribute is called so
        """Why a deposit was refused; None if it was not."""
        query = "SELECT reason FROM refusal WHERE source = %s AND id = %s AND digest = %s"
        found: str | None = _only(self._all(query, source, id, digest))
        return found

    def extent(self) -> tuple[int, int, int]:
        """Number of rows, smallest and largest index, whatever these are; (0, 0, 0) for an empty log."""
        ((count, first, last),) = self._all("SELECT count(*), min(idx), max(idx) FROM entry")
        return int(count), int(first or 0), int(last or 0)

    def rows(self, start: int = 0, end: int | None = None) -> Iterator[Row]:
        """Entries in order, in constant memory."""
        query = f"SELECT {_ROW} FROM entry WHERE idx >= %s AND idx < %s ORDER BY idx LIMIT {_PAGE}"  # noqa: S608 - constant
        return (Row(*found) for page in self._paged(query, start, end, _PAGE) for found in page)

    def pages(self, start: int, end: int, length: int, *, whole: bool = False) -> Iterator[list[tuple[Any, ...]]]:
        """Index and bytes of the entries [start, end) in order, up to `length` at a time; with `whole`, all columns."""
        more = ", leaf, id, source" if whole else ""
        query = f"SELECT idx, raw{more} FROM entry WHERE idx >= %s AND idx < %s ORDER BY idx LIMIT {length:d}"  # noqa: S608 - constants and a number
        return self._paged(query, start, end, length)

    def tile_extent(self) -> list[tuple[int, int, int]]:
        """Level, number of tiles and largest index of each level that has tiles."""
        return self._all("SELECT level, count(*), max(idx) FROM tile GROUP BY level ORDER BY level")

    def payload_extent(self) -> int:
        """How many detached payloads are kept."""
        return int(_only(self._all("SELECT count(*) FROM detached")))

    def of_source(self, source: str, start: int = 0) -> Iterator[Row]:
        """The entries of one source from index `start` on, in order."""
        query = f"SELECT {_ROW} FROM entry WHERE source = %s AND idx >= %s ORDER BY idx"  # noqa: S608 - constant
        return (Row(*found) for found in self._all(query, source, start))

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
        """Rewrite the table of detached payloads, so that no file of a table holds a deleted one.

        That is all that can be promised from here. The old file is given back to the file system without being
        overwritten, and the write-ahead log, its archive, base backups and replicas hold what was deleted until they
        are recycled: their retention is the administrator's to set.

        Raises:
            StoreBusyError: an old transaction still sees deleted payloads, or somebody uses the table.
        """
        deadline = time.monotonic() + _WAIT_SECONDS
        with self._writing, self._translated():
            connection = self._open_writer()
            now = _only(connection.execute("SELECT pg_current_xact_id()::text").fetchall())
            query = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                AND pid <> pg_backend_pid() AND age(backend_xmin) > age(%s::xid)"""
            while _only(connection.execute(query, (str(int(now) % (1 << 32)),)).fetchall()):
                if time.monotonic() > deadline:
                    raise StoreBusyError("an open transaction keeps deleted payloads from being removed")
                time.sleep(0.01)
            connection.execute("VACUUM (FULL, ANALYZE) detached")

    def durability(self) -> tuple[str, str]:
        """`synchronous_commit` of the writing session and `fsync` of the server, as the server reports them."""
        with self._writing, self._translated():
            query = "SELECT current_setting('synchronous_commit'), current_setting('fsync')"
            ((commit, sync),) = self._open_writer().execute(query).fetchall()
        return str(commit), str(sync)

    def _begin(self, *, wait: bool) -> _PostgresqlBatch:
        fresh = self._writer is None or self._writer.closed
        try:
            return self._take(self._open_writer(), wait=wait)
        except self._psycopg.Error as error:
            self._leave()
            if fresh or not _lost(error, self._writer):
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
            raise self._busy()
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

    def _run(self, parts: tuple[str, ...], values: Sequence[_Binary]) -> list[bytes]:
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
        """TakenError for what is to be looked up and tried again: an id is taken, or nobody knows if it was committed."""
        if isinstance(error, self._psycopg.errors.UniqueViolation):
            return TakenError()
        if _lost(error, self._writer):
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
            self._writer = self._connect()
            self._prepared = {}
        return self._writer

    def _connect(self, *, relaxed: bool = False, reading: bool = False) -> psycopg.Connection:
        if self._closed:
            raise StoreUnreadableError("this ledger is closed", hint="open it again")
        connection: psycopg.Connection = self._psycopg.connect(self._conninfo, autocommit=True)
        try:
            idle = "0" if reading else f"{_IDLE_SECONDS}s"
            values = self._schema, f"{_WAIT_SECONDS}s", idle, "on" if reading else "off", relaxed
            found = connection.execute(_SETTINGS, values).fetchall()[0][-1]
            if found != "on" and not self._readonly:
                raise StoreUnreadableError(
                    f"the server of {self._shown} does not write to its disk",
                    got=f"fsync={found}",
                    expected="fsync=on, without which a receipt is not true",
                )
        except BaseException:
            connection.close()
            raise
        for dumper in self._dumpers:
            connection.adapters.register_dumper(dumper.cls, dumper)
        return connection

    def _prepare(self, *, create: bool) -> None:
        with self._translated():
            found = self._version()
            if found is None and create:
                self._create()
                found = self._version()
        if found is None:
            raise StoreUnreadableError(
                f"no ledger in the schema {self._schema} of {self._shown}",
                hint="check the URL, or append to make one",
            )
        if found > VERSION:
            raise StoreUnreadableError(
                f"the ledger in {self._shown} was written by a newer companyos",
                got=f"schema {found}",
                expected=f"at most {VERSION}",
                hint="pip install --upgrade companyos",
            )
        if not self._readonly:
            with self._translated():
                self._open_writer()

    def _version(self) -> int | None:
        """The version of the tables; None if there are none."""
        if not _only(self._all("SELECT to_regclass(%s) IS NOT NULL", f"{self._schema}.entry")):
            return None
        if not _only(self._all("SELECT to_regclass(%s) IS NOT NULL", f"{self._schema}.schema_version")):
            raise StoreUnreadableError(f"the schema {self._schema} of {self._shown} is in use, but not by a ledger")
        return int(_only(self._all("SELECT max(version) FROM schema_version")) or 0)

    def _create(self) -> None:
        connection = self._open_writer()
        with connection.transaction():
            # Another process may be making the very same log just now.
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"companyos {self._schema}",))
            if self._version() is None:
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self._schema}".encode())
                connection.execute(POSTGRESQL.encode())

    def _paged(self, query: str, start: int, end: int | None, length: int) -> Iterator[list[Any]]:
        # Page by page: a transaction left open would keep the server from clearing away old checkpoints.
        last = (1 << 63) - 1 if end is None else end
        while start < last:
            page = self._all(query, start, last)
            if page:
                yield page
            if len(page) < length:
                return
            start = page[-1][0] + 1

    def _all(self, query: str, *parameters: object) -> list[Any]:
        with self._translated():
            while True:
                try:
                    connection, fresh = self._idle.pop(), False
                except IndexError:
                    connection, fresh = self._connect(reading=True), True
                try:
                    found = connection.execute(query, parameters, prepare=True, binary=True).fetchall()
                except self._psycopg.Error as error:
                    lost = _lost(error, connection)
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

    def _busy(self) -> StoreBusyError:
        return StoreBusyError(
            f"another process is writing the ledger in {self._shown}",
            expected=f"its end within {_WAIT_SECONDS} s",
            hint="look in pg_stat_activity for a session that holds a lock on the table head",
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._psycopg.errors.LockNotAvailable as error:
            raise self._busy() from error
        except self._psycopg.errors.DiskFull as error:
            raise StoreFullError(
                f"the ledger in {self._shown} cannot be written",
                got=error,
                expected="space on the server's disk",
                hint="make room and append again with the same ids: nothing of this append was kept",
            ) from error
        except self._psycopg.Error as error:
            raise StoreUnreadableError(
                f"cannot use the ledger in {self._shown}",
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
        if "@" in shown or urlsplit(address).netloc.count("@") > 1:
            raise ValueError
    except (driver.Error, ValueError):
        raise ConfigError(
            "not the URL of a PostgreSQL database",
            expected="postgresql://user:password@host:port/database, with special characters percent-encoded",
        ) from None
    defaults = {"connect_timeout": "10", "application_name": "companyos-ledger"}
    return driver.conninfo.make_conninfo(conninfo, **(defaults | parts)), schema, shown


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Rows as lists of their columns."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def _deposit_columns(deposits: Sequence[Deposit]) -> list[list[Any]]:
    return _columns([(*deposit[:5], *(deposit.payload or _ABSENT)) for deposit in deposits], 10)


def _arrays(kinds: Sequence[type[_Array]], rows: Sequence[tuple[Any, ...]]) -> list[_Array]:
    """Rows as one array for each column."""
    return [kind.of(column) for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)]


@cache
def _joined(parts: tuple[str, ...]) -> str:
    """The statement that these are parts of, as psycopg takes it."""
    return f"WITH {', '.join(parts)} {_OUTCOME}"


@cache
def _numbered(parts: tuple[str, ...]) -> bytes:
    """The same as the server takes it."""
    numbers = count(1)
    return re.sub("%s", lambda _: f"${next(numbers)}", _joined(parts)).encode()


def _dumper(driver: Any, kind: type[_Binary]) -> Any:
    """How psycopg sends what is in the server's form already."""
    how = {"cls": kind, "oid": kind.oid, "format": driver.pq.Format.BINARY, "dump": lambda _, value: value}
    return type(f"{kind.__name__}Dumper", (driver.adapt.Dumper,), how)


def _only(rows: list[Any]) -> Any:
    """The one value that was asked for, None if there is none."""
    return rows[0][0] if rows else None


def _lost(error: Exception, connection: psycopg.Connection | None) -> bool:
    """Whether the session is over: then nobody knows what became of what was under way."""
    state = getattr(error, "sqlstate", None)
    return connection is None or connection.closed or state in _LOST or (state or "").startswith("08")
