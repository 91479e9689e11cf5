"""The master key, one for each epoch of a key store: whoever lacks it can read nothing in a copy of the store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from companyos.ledger.errors import ErasedError
from companyos.signing.files import is_private, write_secret

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("KEY_BYTES", "Master", "derive", "read_key", "shred", "unwrap")

KEY_BYTES = 32
"""Length of every key here."""
_NONCE_BYTES = 12


class Master:
    """A master key: wraps the keys of people and of the log, and hides by what persons are looked up."""

    def __init__(self, key: bytes) -> None:
        self.id = derive(key, "companyos key store: id", 16)
        """Tells to which master key a store belongs, and nothing about the key."""
        self._wrapper = AESGCM(derive(key, "companyos key store: wrap"))
        # Deterministic, so that a column of what it hides can be searched.
        self._veil = AESSIV(derive(key, "companyos key store: lookup", 64))

    @classmethod
    def make(cls, path: Path) -> Master:
        """A new master key in a new file, readable by its owner only and safe on the disk.

        Raises:
            FileExistsError: there is one already.
        """
        key = os.urandom(KEY_BYTES)
        write_secret(path, key.hex().encode())
        return cls(key)

    @classmethod
    def read(cls, path: Path) -> Master:
        """The master key at `path`.

        Raises:
            ValueError: others may read the file, or it holds no master key.
        """
        return cls(read_key(path))

    def wrap(self, key: bytes, name: str) -> bytes:
        """`key`, readable with this master key only, and only under this name."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._wrapper.encrypt(nonce, key, name.encode())

    def unwrap(self, wrapped: bytes, name: str) -> bytes:
        """What was wrapped under this name.

        Raises:
            ErasedError: it was wrapped with another master key or under another name, or was altered.
        """
        return unwrap(self._wrapper, wrapped, name)

    def hide(self, lookup: bytes) -> bytes:
        """`lookup` as it is stored: the same for the same, and with the next master key another."""
        return self._veil.encrypt(lookup, None)

    def bare(self, hidden: bytes) -> bytes:
        """What was hidden.

        Raises:
            ErasedError: it was hidden with another master key, or was altered.
        """
        try:
            return self._veil.decrypt(hidden, None)
        except (InvalidTag, ValueError) as error:
            raise ErasedError("the master key does not open this key store", got="a lookup") from error


def read_key(path: Path) -> bytes:
    """The bytes of the master key at `path`.

    Raises:
        ValueError: others may read the file, or it holds no master key.
    """
    if not is_private(path):
        raise ValueError(f"others may read or write {path}: chmod 600 it")
    key = bytes.fromhex(path.read_text(encoding="ascii"))
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path} does not hold a master key")
    return key


def unwrap(cipher: AESGCM, wrapped: bytes, name: str) -> bytes:
    """A wrapped key.

    Raises:
        ErasedError: it was wrapped otherwise, or was altered.
    """
    try:
        return cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], name.encode())
    except (InvalidTag, ValueError) as error:
        raise ErasedError("the master key does not open this key store", got=name) from error


def derive(key: bytes, purpose: str, length: int = KEY_BYTES) -> bytes:
    """A key for one purpose only (HKDF-SHA256, RFC 5869), from which neither `key` nor its other uses follow."""
    return HKDF(SHA256(), length, None, purpose.encode()).derive(key)


def shred(path: Path) -> None:
    """Overwrite a file where it lies, so that nothing that still names or holds it can read what it held.

    Disks that write elsewhere than told (flash, copy-on-write file systems, snapshots) may keep the old bytes.
    """
    with path.open("r+b") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(0)
        file.write(os.urandom(length))
        file.flush()
        os.fsync(file.fileno())
