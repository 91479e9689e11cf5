"""The files of a key store: one process at a time, a database and its master key that change as a pair.

Why a copy of the store made before an erasure opens nothing afterwards: every epoch has a master key of its own, and
the master key of the past is overwritten. Nothing is deleted from a database, whose pages, journals and copies may
keep deleted rows; a fresh one is written without them and takes the place of the old one.

Why a crash cannot part the pair: the database says by which master key it is wrapped (`store.master`), and both keys
lie on the disk until the new database has its name. That rename is the moment of the erasure:

1. `NAME.master.next`, the next master key, is durable. The store is as before; the key opens nothing yet.
2. `NAME.next`, the next database, is durable. The store is as before.
3. `NAME.next` is renamed to `NAME`. The erased are gone from it; their old rows are in copies only, and these still
   open with `NAME.master`, so that the erasure must not be reported yet.
4. `NAME.master` is overwritten, then `NAME.master.next` is renamed to it. Nothing is left that opens a copy.

Whoever next opens the store, under the lock, takes the key that the database names: before 3 the next key is
discarded, after 3 step 4 is done again.

Journals are found by name. With the name given to another file, SQLite in a process that has the old one open could
play back or delete the journal of the new one; therefore nobody reads or writes without the lock, and under the lock
looks first whether the name still means the same file.
"""

from __future__ import annotations

import glob
import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from companyos.errors import UserError
from companyos.ledger.errors import StoreUnreadableError
from companyos.ledger.people.master import Master, read_key, shred
from companyos.ledger.people.tables import Content, Tables, old_content, version_of, write
from companyos.signing.files import beside, fsync_directory

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

__all__ = ("Vault",)

_WAIT = 30
_RESTORE = "restore the key store and its master key from one and the same moment"


class Vault:
    """An open key store at a path.

    Raises:
        StoreUnreadableError: the store or its master key is missing (unless `create`) or cannot be used.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        # Absolute: it is looked at for as long as the store is open, wherever the process goes.
        self._path = path = path.absolute()
        self._master_path = beside(path, ".master")
        self._next = beside(path, ".next")
        self._next_master = beside(self._master_path, ".next")
        self._db: sqlite3.Connection | None = None
        self._stamp: tuple[int, int] | None = None
        self._closed = False
        self.generation = 0
        """Changes whenever what was read before may be out of date."""
        if not create:
            self._demand(path, self._master_path)
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._locked():
                self._prepare(create=create)
                self._open()

    def close(self) -> None:
        """Close the store for good."""
        self._closed = True
        self._release()

    def stale(self) -> bool:
        """Whether the file was replaced since it was opened; the old one is held open, so its number is not reused."""
        try:
            found = self._path.stat()
        except OSError as error:
            raise self._unusable(error) from error
        return (found.st_dev, found.st_ino) != self._stamp

    @contextmanager
    def tables(self) -> Iterator[Tables]:
        """The tables as they are now, for one user at a time among all threads' and processes' stores."""
        with self._translated(), self._locked():
            yield self._current()

    def rotate(self, buried: Collection[str]) -> int:
        """Begin a new epoch without the keys of `buried`, and return its number once no copy opens any more.

        The caller is inside `tables`, and whatever it got there is of no use afterwards.
        """
        # Opened anew: if somebody switched to WAL mode meanwhile, that is undone before the file goes.
        self._open()
        tables = self._current()
        epoch = tables.epoch + 1
        master = Master.make(self._next_master)
        self._switch(master, epoch, tables.content(master, buried), buried)
        self._open()
        return epoch

    def _current(self) -> Tables:
        if self._closed:
            raise StoreUnreadableError("the key store is closed")
        # A backup copied over the open file has the same number, and another master key.
        if self._db is None or self.stale() or _master_id(self._db) != self._master.id:
            self._open()
        assert self._db is not None  # noqa: S101 - for the type checker: _open has set it
        return Tables(self._db, self._master)

    def _prepare(self, *, create: bool) -> None:
        """Make a store that is not there, and bring one of an old format into this one."""
        if create and (not self._path.exists() or not self._path.stat().st_size):
            self._make()
        self._demand(self._path, self._master_path)
        with closing(self._connect(self._path)) as database:
            if version_of(database) == 0:
                self._clear()
                key = read_key(self._master_path)
                master = Master.make(self._next_master)
                self._switch(master, 1, old_content(database, key, master), ())

    def _make(self) -> None:
        self._discard(self._next)
        if not self._master_path.exists():
            Master.make(self._master_path)
        self._write(Master.read(self._master_path), 1, Content((), ()), ())
        self._put()

    def _open(self) -> None:
        self._release()
        self._demand(self._path, self._master_path)
        database = self._connect(self._path)
        try:
            self._master = self._settle(self._wanted(database))
            found = self._path.stat()
        except BaseException:
            database.close()
            raise
        self._db = database
        self._stamp = (found.st_dev, found.st_ino)
        self.generation += 1

    def _wanted(self, database: sqlite3.Connection) -> bytes:
        if version_of(database) is None:
            raise StoreUnreadableError(f"the key store {self._path} is empty", hint=_RESTORE)
        return _master_id(database)

    def _settle(self, wanted: bytes) -> Master:
        """The master key of the database, after finishing or undoing a switch that was cut short."""
        heir = self._next_master.exists()
        try:
            master = Master.read(self._master_path)
        except ValueError:
            if not heir:
                raise
        else:
            if master.id == wanted:
                self._clear()
                return master
        if heir and (master := Master.read(self._next_master)).id == wanted:
            self._crown()
            return master
        raise StoreUnreadableError(f"{self._master_path} is not the master key of {self._path}", hint=_RESTORE)

    def _switch(self, master: Master, epoch: int, content: Content, buried: Collection[str]) -> None:
        try:
            self._write(master, epoch, content, buried)
        except BaseException:
            self._release()
            self._clear()
            raise
        self._release()
        self._put()
        self._crown()

    def _write(self, master: Master, epoch: int, content: Content, buried: Collection[str]) -> None:
        os.close(os.open(self._next, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        # No journal: until it is renamed the file may break at any moment, and a journal would keep its name.
        with closing(sqlite3.connect(self._next, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode=OFF")
            database.execute("PRAGMA synchronous=FULL")
            write(database, master, epoch, content, buried)

    def _put(self) -> None:
        """Give the next database its name."""
        # A process killed while naming a person leaves a journal that SQLite neither plays back nor removes, and
        # beside a store that somebody deleted may lie one that it would play back.
        self._discard(*(beside(self._path, suffix) for suffix in ("-journal", "-wal", "-shm")))
        self._next.replace(self._path)
        fsync_directory(self._path.parent)

    def _crown(self) -> None:
        """Destroy the master key of the past; the next one takes its name."""
        shred(self._master_path)
        self._next_master.replace(self._master_path)
        fsync_directory(self._path.parent)

    def _clear(self) -> None:
        """Remove what a switch leaves behind that did not come to its rename."""
        if self._next_master.exists():
            shred(self._next_master)
        self._discard(self._next_master, self._next)

    def _discard(self, *leftovers: Path) -> None:
        drafts = self._path.parent.glob(f"{glob.escape(self._master_path.name)}*.draft")
        for file in (*leftovers, *drafts):
            file.unlink(missing_ok=True)

    def _connect(self, path: Path) -> sqlite3.Connection:
        database = sqlite3.connect(path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        try:
            # Not WAL: what is left of the old file's log would be taken for the new file's. SQLite refuses while
            # somebody else has the file open in WAL mode.
            database.execute("PRAGMA journal_mode=DELETE")
            # EXTRA: a journal that comes back after a power failure would undo a key that entries were written with.
            database.execute("PRAGMA synchronous=EXTRA")
        except BaseException:
            database.close()
            raise
        return database

    def _release(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _demand(self, *files: Path) -> None:
        for file in files:
            if not file.exists():
                # A new one would make every repeated append look like other content, and people unreadable for ever.
                raise StoreUnreadableError(f"there is a key store or a log, but {file} is missing", hint=_RESTORE)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        import fcntl  # not on every system

        # Opened each time: a lock belongs to the open file, which a forked process would share.
        descriptor = os.open(beside(self._path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except (OSError, ValueError, sqlite3.Error) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> StoreUnreadableError:
        verb = "use" if self.generation else "open"
        return StoreUnreadableError(f"cannot {verb} the key store {self._path}", got=error)


def _master_id(database: sqlite3.Connection) -> bytes:
    ((found,),) = database.execute("SELECT master FROM store").fetchall()
    return bytes(found)
