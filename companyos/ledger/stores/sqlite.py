"""The embedded store: one SQLite file in WAL mode, `synchronous=FULL`, so that a commit is on the disk."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.errors import ConfigError
from companyos.ledger.errors import StoreBusyError, StoreFullError, StoreTamperedError, StoreUnreadableError
from companyos.ledger.stores.deposits import DepositFile, deposit_into
from companyos.ledger.stores.interface import Deposit, Payload, Refusal, Row, TakenError, Tile
from companyos.ledger.stores.schema import SQLITE, VERSION
from companyos.signing.files import beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ("SqliteStore",)

_APPLICATION_ID = 0x434F534C  # "COSL", so that `file` and we can tell our files from others
# SQLite keeps the type it was given: what somebody edited into text must come back as the bytes it is.
_ROW = "idx, id, source, CAST(raw AS BLOB), CAST(leaf AS BLOB), CAST(sameness AS BLOB)"
# What every transaction asks first, in one go.
_STATE = """SELECT (SELECT CAST(note AS BLOB) FROM head WHERE one = 1), (SELECT max(idx) FROM entry),
    EXISTS (SELECT 1 FROM inbox_file)"""
_SET_HEAD = "INSERT INTO head VALUES (?, ?) ON CONFLICT (one) DO UPDATE SET note = excluded.note"
_PAGE = 1024
_WAIT_SECONDS = 30
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE}


class _Reads:
    """The queries that a store and its write transaction share."""

    _db: sqlite3.Connection

    def _all(self, query: str, *parameters: object) -> list[Any]:
        raise NotImplementedError

    def head(self) -> bytes | None:
        """The newest signed checkpoint, None for a log nobody has written to."""
        found: bytes | None = _only(self._all("SELECT CAST(note AS BLOB) FROM head WHERE one = 1"))
        return found

    def size(self) -> int:
        """One more than the largest index that is there."""
        last = _only(self._all("SELECT max(idx) FROM entry"))
        return 0 if last is None else int(last) + 1

    def raw(self, index: int) -> bytes | None:
        """The canonical bytes of an entry; None if it is not there."""
        found: bytes | None = _only(self._all("SELECT CAST(raw AS BLOB) FROM entry WHERE idx = ?", index))
        return found

    def leaves(self, start: int, end: int) -> list[bytes]:
        """The leaf hashes of the entries [start, end), as far as they are there."""
        query = "SELECT idx, CAST(leaf AS BLOB) FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx"
        found = self._all(query, start, end)
        # Up to the first hole: what lies behind it is not where it was.
        return [leaf for place, (index, leaf) in enumerate(found, start) if index == place]

    def tile(self, level: int, index: int) -> bytes | None:
        """The hashes of a tile; None if it is not stored."""
        found: bytes | None = _only(
            self._all("SELECT CAST(hashes AS BLOB) FROM tile WHERE level = ? AND idx = ?", level, index)
        )
        return found

    def find(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Row]:
        """The entries with these (source, id)."""
        query = f"SELECT {_ROW} FROM entry WHERE source = ? AND id = ?"  # noqa: S608 - constant
        rows = (Row(*found) for key in keys for found in self._all(query, *key))
        return {(row.source, row.id): row for row in rows}


class _SqliteBatch(_Reads):
    """A write transaction."""

    def __init__(self, database: sqlite3.Connection, inboxes: Callable[[bool], Sequence[DepositFile]]) -> None:
        self._db = database
        ((self._head, self._size, self._foreign),) = self._all(_STATE)
        self._inboxes = inboxes
        self._seen: dict[int, tuple[DepositFile, int]] = {}
        self._waiting: list[Deposit] = []
        self.done: list[tuple[DepositFile, int]] = []

    def add(self, rows: Sequence[Row], tiles: Sequence[Tile], payloads: Sequence[Payload]) -> None:
        """Add entries at the end, with the tiles that grew and what is kept beside the log."""
        try:
            self._db.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", map(tuple, rows))
        except sqlite3.IntegrityError as error:
            raise TakenError from error
        if tiles:
            self._db.executemany("INSERT OR REPLACE INTO tile VALUES (?, ?, ?)", tiles)
        if payloads:
            self._db.executemany("INSERT OR IGNORE INTO detached VALUES (?, ?, ?, ?, ?)", payloads)

    def head(self) -> bytes | None:
        """The newest signed checkpoint, None for a log nobody has written to."""
        found: bytes | None = self._head
        return found

    def size(self) -> int:
        """One more than the largest index that is there."""
        return 0 if self._size is None else int(self._size) + 1

    def set_head(self, note: bytes) -> None:
        """Replace the signed checkpoint of the log's present state."""
        self._db.execute(_SET_HEAD, (1, note))

    def set_cosigned(self, note: bytes) -> None:
        """Keep the newest checkpoint that witnesses cosigned."""
        self._db.execute(_SET_HEAD, (2, note))

    def waiting(self, limit: int) -> list[Deposit]:
        """The oldest deposits that wait for their place."""
        for inbox in self._inboxes(bool(self._foreign)):
            for number, deposit in inbox.waiting(limit - len(self._waiting)):
                self._seen[id(deposit)] = inbox, number
                self._waiting.append(deposit)
        return self._waiting

    def taken(self, deposits: Sequence[Deposit], refusals: Sequence[Refusal]) -> None:
        """Deposits that need not wait any longer, and why some of them were refused."""
        self.done += [self._seen[id(deposit)] for deposit in deposits]
        self._db.executemany("INSERT OR REPLACE INTO refusal VALUES (?, ?, ?, ?)", refusals)

    def drop_payloads(self, commits: Sequence[bytes]) -> None:
        """Delete detached payloads and their salts, and overwrite them where they lay."""
        self._db.executemany("DELETE FROM detached WHERE hash = ?", [(commit,) for commit in commits])

    def watch(self, path: str) -> None:
        """Look for deposits in this file from now on."""
        self._db.execute("INSERT OR IGNORE INTO inbox_file VALUES (?)", (path,))

    def _all(self, query: str, *parameters: object) -> list[Any]:
        return self._db.execute(query, parameters).fetchall()


class SqliteStore(_Reads):
    """A log in one SQLite file; any number of threads and processes may have it open.

    Raises:
        StoreUnreadableError: there is no such file (with `create=False`), it is not a ledger, it is of a newer
            version, or it cannot be opened for lack of rights.
    """

    def __init__(self, path: Path, *, create: bool = True, readonly: bool = False) -> None:
        self._path = path
        self._readonly = readonly
        self._lock = threading.RLock()
        self._writing = threading.Lock()
        self._files: _Files | None = None
        self._foreign: dict[str, DepositFile] = {}
        self._beside = DepositFile(beside(path, ".inbox"), "", ours=True)
        if not path.exists() and (readonly or not create):
            raise StoreUnreadableError(f"no ledger at {path}", hint="check the URL, or append to make one")
        try:
            if not readonly:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = self._connect()
            self._writer = self._db
        except (OSError, sqlite3.Error) as error:
            raise _unreadable(path, error) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self.close()
            raise _unreadable(path, error) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with self._writing, self._lock:
            if self._files is not None:
                self._files.close()
            for inbox in (self._beside, *self._foreign.values()):
                inbox.close()
            self._writer.close()
            self._db.close()

    @contextmanager
    def batch(self, *, wait: bool = True, guess: bool = False) -> Iterator[_SqliteBatch]:  # noqa: ARG002 - looking is free
        """A write transaction."""
        if self._readonly:
            raise StoreUnreadableError("this ledger is open for reading only", hint="open it with Ledger.open")
        with self._writing, self._translated():
            self._begin(wait=wait)
            try:
                batch = _SqliteBatch(self._writer, self._inboxes)
                yield batch
                if self._files is not None:
                    self._files.check()
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
        for inbox in {inbox for inbox, _ in batch.done}:
            inbox.forget([number for other, number in batch.done if other is inbox])

    def deposit(self, deposits: Sequence[Deposit]) -> None:
        """Leave entries for whoever writes next."""
        try:
            self._beside.add(deposits)
        except sqlite3.Error:
            # Nothing is lost: whoever deposits then waits for their own turn to write.
            return

    def deposit_with(self, connection: object, deposits: Sequence[Deposit]) -> None:
        """Leave entries in the transaction of a caller's own connection, to another file than the log's."""
        if not isinstance(connection, sqlite3.Connection):
            raise ConfigError(
                "this log is kept in SQLite and cannot join that transaction",
                got=type(connection).__name__,
                expected="a sqlite3 connection, or an SQLAlchemy connection or session over one",
            )
        path = next((row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main"), "")
        if not path or Path(path).resolve() == self._path.resolve():
            raise ConfigError(
                "the connection is to memory or to the log's own file",
                got=path or "memory",
                expected="a database file of your own",
                hint="SQLite lets one transaction write a file at a time: yours would hold up every other append",
            )
        self._register(str(Path(path).resolve()))
        deposit_into(connection, str(self._path.resolve()), deposits)

    def refusal(self, source: str, id: str, digest: bytes) -> str | None:  # noqa: A002 - the CloudEvents attribute is called so
        """Why a deposit was not given a place, empty if it is logged already; None if it was given one, or waits."""
        query = "SELECT reason FROM refusal WHERE source = ? AND id = ? AND digest = ?"
        found: str | None = _only(self._all(query, source, id, digest))
        return found

    def extent(self) -> tuple[int, int, int]:
        """Number of rows, smallest and largest index, whatever these are; (0, 0, 0) for an empty log."""
        ((count, first, last),) = self._all("SELECT count(*), min(idx), max(idx) FROM entry")
        return int(count), int(first or 0), int(last or 0)

    def rows(self, start: int = 0, end: int | None = None) -> Iterator[Row]:
        """Entries in order, in constant memory."""
        query = f"SELECT {_ROW} FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx LIMIT {_PAGE}"  # noqa: S608 - constant
        last = (1 << 63) - 1 if end is None else end
        # Page by page: a cursor left open would pin an old snapshot and keep the write-ahead log from being emptied.
        while page := self._all(query, start, last):
            yield from map(Row._make, page)
            start = page[-1][0] + 1

    def raws(self, start: int, end: int) -> list[bytes]:
        """The bytes of those of the entries [start, end) that are there, in order."""
        found = self._all("SELECT raw FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx", start, end)
        raws = list(chain.from_iterable(found))
        if {*map(type, raws)} <= {bytes}:
            return raws
        # What somebody edited into text comes back as the bytes it is.
        return [raw if type(raw) is bytes else str(raw).encode() for raw in raws]

    def columns(self, start: int, end: int) -> list[tuple[str, str, bytes, bytes]]:
        """Id, source, bytes and leaf hash, just as stored, of those of the entries [start, end) that are there."""
        query = "SELECT id, source, raw, leaf FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx"
        return self._all(query, start, end)

    def first_missing(self, start: int) -> int:
        """The first index from `start` on that is not there."""
        query = "SELECT idx FROM entry WHERE idx >= ? ORDER BY idx LIMIT 4096"
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
        query = f"SELECT {_ROW} FROM entry WHERE source = ? ORDER BY idx"  # noqa: S608 - constant
        return (Row(*found) for found in self._all(query, source))

    def payload(self, commit: bytes) -> tuple[bytes, bytes] | None:
        """Salt and payload of a commitment; None once dropped."""
        found = self._all("SELECT CAST(salt AS BLOB), CAST(payload AS BLOB) FROM detached WHERE hash = ?", commit)
        return found[0] if found else None

    def payloads(self, retention: str, before: float) -> Iterator[bytes]:
        """Commitments of the payloads of a retention class that were appended before a time."""
        query = "SELECT hash FROM detached WHERE retention = ? AND kept_since < ? ORDER BY kept_since, hash"
        return (bytes(commit) for (commit,) in self._all(query, retention, before))

    def cosigned(self) -> bytes | None:
        """The newest checkpoint that witnesses cosigned."""
        found: bytes | None = _only(self._all("SELECT CAST(note AS BLOB) FROM head WHERE one = 2"))
        return found

    def scrub(self) -> None:
        """Leave no copy of what was deleted in the write-ahead log; deleted rows are overwritten where they lay."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            with self._writing, self._translated():
                busy = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if not busy and self._beside.scrub():
                return
            time.sleep(0.01)
        raise StoreBusyError("somebody reads the log, so that its write-ahead log could not be emptied")

    def durability(self) -> tuple[str, int]:
        """`journal_mode` and `synchronous` of the writing connection, as the database reports them; 2 is FULL."""
        mode, level = (self._writer.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous"))
        return str(mode), int(level)

    def _begin(self, *, wait: bool) -> None:
        deadline = time.monotonic() + _WAIT_SECONDS
        pause = 0.0002
        while True:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not _busy(error):
                    raise
                if not wait or time.monotonic() > deadline:
                    raise StoreBusyError(
                        f"another process is writing the ledger {self._path}",
                        expected=f"its end within {_WAIT_SECONDS} s",
                        hint="look for a process that was stopped in the middle of an append",
                    ) from error
                # SQLite's own waiting sleeps for up to 100 ms at a time, which is hundreds of commits.
                time.sleep(pause)
                pause = min(pause * 1.5, 0.002)
            else:
                return

    def _inboxes(self, foreign: bool) -> Sequence[DepositFile]:
        for (path,) in self._writer.execute("SELECT path FROM inbox_file").fetchall() if foreign else ():
            if path not in self._foreign:
                self._foreign[path] = DepositFile(Path(path), str(self._path.resolve()), ours=False)
        return (self._beside, *self._foreign.values())

    def _register(self, path: str) -> None:
        """Remember, durably and before the caller commits, where their deposits are to be looked for."""
        if path not in self._foreign:
            with self.batch() as batch:
                batch.watch(path)
            self._foreign[path] = DepositFile(Path(path), str(self._path.resolve()), ours=False)

    def _connect(self) -> sqlite3.Connection:
        mode = "ro" if self._readonly else "rwc"
        immutable = "&immutable=1" if _untouchable(self._path, self._readonly) else ""
        return sqlite3.connect(
            f"{self._path.resolve().as_uri()}?mode={mode}{immutable}",
            uri=True,
            timeout=_WAIT_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )

    def _prepare(self) -> None:
        # One transaction: another process may be making the very same log just now.
        self._db.execute("BEGIN")
        tables = _only(self._all("SELECT count(*) FROM sqlite_master"))
        version = _only(self._all("PRAGMA user_version"))
        application = _only(self._all("PRAGMA application_id"))
        self._db.execute("COMMIT")
        if tables and application != _APPLICATION_ID:
            raise StoreUnreadableError(f"{self._path} is a database, but not a ledger", got=hex(application))
        if version > VERSION:
            raise StoreUnreadableError(
                f"{self._path} was written by a newer companyos",
                got=f"schema {version}",
                expected=f"at most {VERSION}",
                hint="pip install --upgrade companyos",
            )
        if self._readonly:
            self._check_readable(tables, version)
            return
        _patiently(lambda: self._db.execute("PRAGMA journal_mode=WAL"))
        if not tables:
            self._db.executescript(f"BEGIN IMMEDIATE;{SQLITE}PRAGMA application_id={_APPLICATION_ID};COMMIT;")
        elif version < VERSION:
            from companyos.ledger.migrations.running import migrate

            migrate("sqlite", self._connect)
        # Reads have a connection of their own, so that they neither wait for a commit nor see what is not committed.
        self._writer = self._connect()
        for setting in ("synchronous=FULL", "secure_delete=ON", "busy_timeout=0"):
            self._writer.execute(f"PRAGMA {setting}")
        self._files = _Files(self._path)

    def _check_readable(self, tables: int, version: int) -> None:
        if not tables:
            raise StoreUnreadableError(f"{self._path} is empty", hint="check the URL")
        if version < VERSION:
            raise StoreUnreadableError(
                f"{self._path} was written by an older companyos",
                got=f"schema {version}",
                expected=f"schema {VERSION}",
                hint="companyos ledger migrate, or open it once with Ledger.open, brings it up to date",
            )

    def _all(self, query: str, *parameters: object) -> list[Any]:
        with self._lock, self._translated():
            return self._db.execute(query, parameters).fetchall()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _unreadable(self._path, error) from error


class _Files:
    """The database and its write-ahead log as they were when opened; another file in their place would lose commits."""

    def __init__(self, path: Path) -> None:
        self._paths = str(path.resolve()), str(beside(path, "-wal").resolve())
        # Held open so that its link count can be read, and its inode not be given to another file. Not the database
        # itself: closing any descriptor of it would release SQLite's locks.
        self._wal = os.open(self._paths[1], os.O_RDONLY)
        self._known = [self._identity(file) for file in self._paths]

    def close(self) -> None:
        """Let go of the write-ahead log."""
        if self._wal >= 0:
            os.close(self._wal)
            self._wal = -1

    def check(self) -> None:
        """Raise unless both are still the files that were opened.

        Raises:
            StoreTamperedError: one was removed or replaced.
        """
        linked = os.fstat(self._wal).st_nlink
        for path, known in zip(self._paths, self._known, strict=True):
            if not linked or self._identity(path) != known:
                raise StoreTamperedError(
                    f"{path} was removed or replaced while the ledger was open",
                    expected="the file that was opened",
                    hint="stop every process that has it open, then verify against a checkpoint kept elsewhere",
                )

    @staticmethod
    def _identity(path: str) -> tuple[int, int] | None:
        try:
            found = os.stat(path)  # noqa: PTH116 - on every commit, and several times faster
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _only(rows: list[Any]) -> Any:
    """The one value that was asked for, None if there is none."""
    return rows[0][0] if rows else None


def _busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _patiently(action: Callable[[], object]) -> None:
    """Repeat what SQLite refuses at once, without its own waiting, while another process changes the journal mode."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            action()
        except sqlite3.OperationalError as error:
            if not _busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _unreadable(path: Path, error: Exception) -> StoreUnreadableError:
    if getattr(error, "sqlite_errorcode", 0) in _FULL:
        return StoreFullError(
            f"the ledger {path} cannot be written",
            got=error,
            expected="space on the disk, and no limit on the size of files",
            hint="make room and append again with the same ids: nothing of this append was kept",
        )
    return StoreUnreadableError(
        f"cannot use the ledger {path}",
        got=error,
        expected="a ledger database in a directory that may be written",
        hint="check the path and the rights, or restore the file",
    )


def _untouchable(path: Path, readonly: bool) -> bool:
    """Whether a log can only be read where it lies: no writer is at work, and none could be."""
    return readonly and not beside(path, "-wal").exists() and not os.access(path.parent, os.W_OK)
