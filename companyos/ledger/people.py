"""Data subjects: a pseudonym and a key each, in a store of their own, away from the log and its backups.

A value about a person is encrypted with AES-256-GCM under that person's key. The additional data binds the log's
origin, the entry's source and id and the place of the field, so that no ciphertext can be moved elsewhere. Keys are
wrapped by a master key, which lies in a file of its own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import sqlite3
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from companyos.canonical import canonical_bytes, loads
from companyos.ledger.entry import PERSONAL
from companyos.ledger.errors import ErasedError, StoreUnreadableError
from companyos.signing.files import beside, is_private, write_secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from companyos.ports import Personal

__all__ = ("People",)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS person (
    lookup BLOB PRIMARY KEY, pseudonym TEXT NOT NULL UNIQUE, wrapped BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS secret (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID;
"""


class People:
    """The key store of data subjects.

    Raises:
        StoreUnreadableError: the store or its master key cannot be opened.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self._lock = threading.Lock()
        missing = [file for file in (path, beside(path, ".master")) if not file.exists()]
        if missing and not create:
            # A new one would make every repeated append look like other content, and people unreadable for ever.
            raise StoreUnreadableError(f"the log has entries, but {missing[0]} is missing", hint="restore it")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._master = _master_key(beside(path, ".master"))
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA secure_delete=ON")
            self._db.executescript(_SCHEMA)
        except (OSError, ValueError, sqlite3.Error) as error:
            raise StoreUnreadableError(f"cannot open the key store {path}", got=error) from error
        self._keys: dict[str, bytes] = {}

    def close(self) -> None:
        """Close the store; keys held in memory are forgotten."""
        self._keys.clear()
        self._db.close()

    def secret(self, name: str) -> bytes:
        """A 32-byte secret of the log, made on first use."""
        with self._lock, _translated():
            if name not in self._keys:
                fresh = self._wrap(os.urandom(32), name)
                self._db.execute("INSERT OR IGNORE INTO secret VALUES (?, ?)", (name, fresh))
                (wrapped,) = self._db.execute("SELECT wrapped FROM secret WHERE name = ?", (name,)).fetchone()
                self._keys[name] = self._unwrap(wrapped, name)
            return self._keys[name]

    def pseudonym(self, person: str) -> str:
        """The random name that stands for a person in the log, made on first use."""
        return self._person(person)[0]

    def seal(self, personal: Personal, context: tuple[str, ...]) -> dict[str, Any]:
        """The encrypted form of a personal value, bound to `context`: origin, source, entry id, JSON pointer."""
        pseudonym, key = self._person(personal.person)
        nonce = os.urandom(12)
        sealed = AESGCM(key).encrypt(nonce, canonical_bytes(personal.value), canonical_bytes(list(context)))
        return {PERSONAL: {"alg": "A256GCM", "ct": _b64(sealed), "iv": _b64(nonce), "sub": pseudonym}}

    def mac(self, personal: Personal) -> dict[str, Any]:
        """What stands for a personal value where sameness is judged."""
        pseudonym, key = self._person(personal.person)
        return {"sub": pseudonym, "mac": hmac.digest(key, canonical_bytes(personal.value), hashlib.sha256).hex()}

    def open(self, sealed: dict[str, str], context: tuple[str, ...]) -> Any:
        """The value inside an encrypted form.

        Raises:
            ErasedError: the person's key is gone, or the ciphertext does not belong to this place.
        """
        key = self._key(sealed["sub"])
        try:
            plain = AESGCM(key).decrypt(
                base64.b64decode(sealed["iv"]), base64.b64decode(sealed["ct"]), canonical_bytes(list(context))
            )
        except InvalidTag as error:
            raise ErasedError("a personal value cannot be decrypted here", got=sealed["sub"]) from error
        return loads(plain)

    def _person(self, person: str) -> tuple[str, bytes]:
        lookup = hmac.digest(self._master, b"person\x00" + person.encode("utf-8", "surrogatepass"), hashlib.sha256)
        with self._lock, _translated():
            row = self._db.execute("SELECT pseudonym FROM person WHERE lookup = ?", (lookup,)).fetchone()
            if row is None:
                name = f"p-{secrets.token_hex(16)}"
                wrapped = self._wrap(os.urandom(32), name)
                self._db.execute("INSERT OR IGNORE INTO person VALUES (?, ?, ?)", (lookup, name, wrapped))
                row = self._db.execute("SELECT pseudonym FROM person WHERE lookup = ?", (lookup,)).fetchone()
        return row[0], self._key(row[0])

    def _key(self, pseudonym: str) -> bytes:
        with self._lock, _translated():
            if pseudonym not in self._keys:
                row = self._db.execute("SELECT wrapped FROM person WHERE pseudonym = ?", (pseudonym,)).fetchone()
                if row is None:
                    raise ErasedError("no key for this data subject", got=pseudonym)
                self._keys[pseudonym] = self._unwrap(row[0], pseudonym)
            return self._keys[pseudonym]

    def _wrap(self, key: bytes, name: str) -> bytes:
        nonce = os.urandom(12)
        return nonce + AESGCM(self._master).encrypt(nonce, key, name.encode())

    def _unwrap(self, wrapped: bytes, name: str) -> bytes:
        try:
            return AESGCM(self._master).decrypt(wrapped[:12], wrapped[12:], name.encode())
        except InvalidTag as error:
            raise ErasedError("the master key does not open this key store", got=name) from error


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnreadableError("cannot use the key store", got=error) from error


def _master_key(path: Path) -> bytes:
    """The master key at `path`, made if missing; of two racing makers one wins."""
    if not path.exists():
        with suppress(FileExistsError):
            write_secret(path, os.urandom(32).hex().encode())
    if not is_private(path):
        raise ValueError(f"others may read or write {path}: chmod 600 it")
    key = bytes.fromhex(path.read_text(encoding="ascii"))
    if len(key) != 32:
        raise ValueError(f"{path} does not hold a master key")
    return key


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
