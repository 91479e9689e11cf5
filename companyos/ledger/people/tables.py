"""What a key store holds, as tables; each key wrapped by the master key of the store's epoch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from companyos.ledger.errors import ErasedError, StoreUnreadableError
from companyos.ledger.people.master import KEY_BYTES, unwrap

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable

    from companyos.ledger.people.master import Master

__all__ = ("LOOKUP", "VERSION", "Content", "Erasure", "Tables", "old_content", "version_of", "write")

VERSION = 1
"""The format of the tables; format 0 was wrapped by a master key that never changed."""
LOOKUP = "people.lookup"
"""Name of the secret under which persons are looked up."""
_APPLICATION_ID = 0x434F5350  # "COSP", so that `file` and we can tell our files from others
_SCHEMA = f"""
CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL, master BLOB NOT NULL
);
CREATE TABLE person (
    lookup BLOB PRIMARY KEY, pseudonym TEXT NOT NULL UNIQUE, wrapped BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE secret (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE tombstone (pseudonym TEXT PRIMARY KEY, epoch INTEGER NOT NULL, time TEXT NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""


@dataclass(frozen=True, slots=True)
class Erasure:
    """A person who is gone from a key store."""

    pseudonym: str
    """What stands for the person in the log."""
    epoch: int
    """The first epoch of the master key under which there is no key of this person."""


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that goes from one file of a key store to the next, as bytes to write there."""

    people: Iterable[tuple[bytes, str, bytes]]
    """Lookup, pseudonym and key, each already wrapped for the next file."""
    secrets: Iterable[tuple[str, bytes]]
    """Name and key of each secret, already wrapped."""
    tombstones: Iterable[tuple[str, int, str]] = ()
    """Pseudonym, epoch and time of each erasure."""


class Tables:
    """The tables of an open key store and the master key that opens them."""

    def __init__(self, database: sqlite3.Connection, master: Master) -> None:
        self._db = database
        self._master = master

    @property
    def epoch(self) -> int:
        """The number of the master key, counted from 1."""
        return int(self._one("SELECT epoch FROM store")[0])

    def find(self, lookup: bytes) -> tuple[str, bytes] | None:
        """Pseudonym and key of the person with this lookup."""
        row = self._one("SELECT pseudonym, wrapped FROM person WHERE lookup = ?", self._master.hide(lookup))
        return None if row is None else (row[0], self._master.unwrap(row[1], row[0]))

    def name(self, lookup: bytes) -> str | None:
        """The pseudonym of the person with this lookup, whatever became of the key."""
        row = self._one("SELECT pseudonym FROM person WHERE lookup = ?", self._master.hide(lookup))
        return None if row is None else str(row[0])

    def key(self, pseudonym: str) -> bytes:
        """The key of a person.

        Raises:
            ErasedError: there is none, or it is not wrapped for this person.
        """
        row = self._one("SELECT wrapped FROM person WHERE pseudonym = ?", pseudonym)
        if row is not None:
            return self._master.unwrap(row[0], pseudonym)
        grave = self._one("SELECT time FROM tombstone WHERE pseudonym = ?", pseudonym)
        why = "no key for this data subject" if grave is None else f"this data subject was erased at {grave[0]}"
        raise ErasedError(why, got=pseudonym)

    def add(self, lookup: bytes, pseudonym: str) -> bytes:
        """A key for a new person, durable when this returns."""
        key = os.urandom(KEY_BYTES)
        row = (self._master.hide(lookup), pseudonym, self._master.wrap(key, pseudonym))
        self._db.execute("INSERT INTO person VALUES (?, ?, ?)", row)
        return key

    def secret(self, name: str) -> bytes:
        """A secret of the log, made on first use."""
        row = self._one("SELECT wrapped FROM secret WHERE name = ?", name)
        if row is not None:
            return self._master.unwrap(row[0], name)
        key = os.urandom(KEY_BYTES)
        self._db.execute("INSERT INTO secret VALUES (?, ?)", (name, self._master.wrap(key, name)))
        return key

    def living(self, pseudonyms: Iterable[str]) -> set[str]:
        """Those of the pseudonyms that have a key."""
        return {name for name in pseudonyms if self._one("SELECT 1 FROM person WHERE pseudonym = ?", name) is not None}

    def bury(self, pseudonyms: Iterable[str]) -> None:
        """Remember as erased those who have no key."""
        epoch = self.epoch
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            _bury(self._db, pseudonyms, epoch)

    def buried(self) -> set[str]:
        """The pseudonyms of everybody who was erased."""
        return {name for (name,) in self._db.execute("SELECT pseudonym FROM tombstone")}

    def erasures(self) -> tuple[Erasure, ...]:
        """Everybody who was erased, in the order of epochs."""
        found = self._db.execute("SELECT pseudonym, epoch FROM tombstone ORDER BY epoch, pseudonym").fetchall()
        return tuple(Erasure(*row) for row in found)

    def content(self, master: Master, without: Collection[str]) -> Content:
        """All of it for a file under the next master key, except the keys of those `without`."""
        people = self._db.execute("SELECT lookup, pseudonym, wrapped FROM person")
        secrets = self._db.execute("SELECT name, wrapped FROM secret")
        return Content(
            (
                (self._veil(lookup, master), name, self._rewrap(wrapped, name, master))
                for lookup, name, wrapped in people
                if name not in without
            ),
            ((name, self._rewrap(wrapped, name, master)) for name, wrapped in secrets),
            self._db.execute("SELECT pseudonym, epoch, time FROM tombstone"),
        )

    def _rewrap(self, wrapped: bytes, name: str, master: Master) -> bytes:
        try:
            return master.wrap(self._master.unwrap(wrapped, name), name)
        except ErasedError:
            # It opened for nobody before and will open for nobody after; one damaged key must not forbid erasures.
            return wrapped

    def _veil(self, hidden: bytes, master: Master) -> bytes:
        try:
            return master.hide(self._master.bare(hidden))
        except ErasedError:
            return hidden

    def _one(self, query: str, *parameters: object) -> Any:
        # fetchall: a statement not read to its end would keep its lock on the file
        return next(iter(self._db.execute(query, parameters).fetchall()), None)


def version_of(database: sqlite3.Connection) -> int | None:
    """The format of the tables in a database; None if there are none.

    Raises:
        StoreUnreadableError: it is not a key store, or one of a newer format.
    """
    ((version,),) = database.execute("PRAGMA user_version").fetchall()
    ((application,),) = database.execute("PRAGMA application_id").fetchall()
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return None
    if not (application == _APPLICATION_ID or (version == application == 0 and tables == {"person", "secret"})):
        raise StoreUnreadableError("the file is a database, but not a key store", got=hex(application))
    if version > VERSION:
        raise StoreUnreadableError(
            "the key store was written by a newer companyos",
            got=f"format {version}",
            expected=f"at most {VERSION}",
            hint="pip install --upgrade companyos",
        )
    return int(version)


def old_content(database: sqlite3.Connection, key: bytes, master: Master) -> Content:
    """What a store of format 0 holds, whose master key is `key`, for a file under a master key of this format.

    Raises:
        StoreUnreadableError: it is not its master key.
    """
    cipher = AESGCM(key)

    def rewrap(wrapped: bytes, name: str) -> bytes:
        return master.wrap(unwrap(cipher, wrapped, name), name)

    rows = database.execute("SELECT lookup, pseudonym, wrapped FROM person").fetchall()
    try:
        people = [(master.hide(lookup), name, rewrap(wrapped, name)) for lookup, name, wrapped in rows]
        secrets = [(name, rewrap(wrapped, name)) for name, wrapped in database.execute("SELECT * FROM secret")]
    except ErasedError as error:
        raise StoreUnreadableError("a key in a store of an old format cannot be read", got=error.got) from error
    if people:
        # Persons were looked up under the master key itself, and who they are is written nowhere: only with that key
        # can they be found again. So it lives on, and an erasure does not reach copies made in format 0.
        secrets.append((LOOKUP, master.wrap(key, LOOKUP)))
    return Content(people, secrets)


def write(database: sqlite3.Connection, master: Master, epoch: int, content: Content, buried: Iterable[str]) -> None:
    """Fill an empty database; all of it is committed or nothing."""
    database.executescript(f"BEGIN;{_SCHEMA}")
    database.execute("INSERT INTO store VALUES (1, ?, ?)", (epoch, master.id))
    database.executemany("INSERT INTO person VALUES (?, ?, ?)", content.people)
    database.executemany("INSERT INTO secret VALUES (?, ?)", content.secrets)
    database.executemany("INSERT INTO tombstone VALUES (?, ?, ?)", content.tombstones)
    _bury(database, buried, epoch)
    database.execute("COMMIT")


def _bury(database: sqlite3.Connection, pseudonyms: Iterable[str], epoch: int) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    rows = [(name, epoch, now) for name in pseudonyms]
    database.executemany("INSERT OR IGNORE INTO tombstone VALUES (?, ?, ?)", rows)
