"""The bytes of a cache: entries, fences and tokens, and the rule by which a writer settles what is there.

An entry is `E`, version, position, SHA-256 of the payload, a seal, the payload. The seal is over key and head, so that
a head that was altered, or an entry of another key, is noticed; the digest is over the payload, checked on every read.
A fence `F` says that a write is under way, and carries the newest version known to have been committed meanwhile. A
token `T` says that a reader is reading the database, to fill in what it finds.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from companyos.canonical import loads

__all__ = ("DamagedEntryError", "Entry", "decode", "encode", "fence", "is_marker", "is_token", "settle", "token")

_ENTRY, _FENCE, _TOKEN = b"E", b"F", b"T"
_DIGITS = 20
VERSION_AT = slice(1, 1 + _DIGITS)
"""Where entries and fences have their version, in decimal digits, so that a script on a server can compare it."""
_HEAD = 1 + 2 * _DIGITS + 32
_SEAL = 16
_FENCE_SIZE = 1 + _DIGITS + 32


class DamagedEntryError(ValueError):
    """Bytes of a cache are not an entry of this key."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a cache holds of a session."""

    version: int
    """The version of the state."""
    position: int
    """All changes at lower positions are contained in it."""
    payload: bytes
    """The canonical payload; empty if there was no state."""
    sha256: bytes
    """SHA-256 of the payload, 32 bytes."""
    value: Any
    """The JSON value of the payload; None if there was no state."""


def encode(key: str, version: int, position: int, payload: bytes | None) -> bytes:
    """The bytes of an entry; without payload they say that there is no state."""
    body = payload or b""
    head = b"E%020d%020d" % (version, position) + hashlib.sha256(body).digest()
    return head + _seal(key, head) + body


def decode(key: str, raw: bytes) -> Entry:
    """The entry of `key` in `raw`, everything checked.

    Raises:
        DamagedEntryError: it is something else.
    """
    head, body = raw[:_HEAD], raw[_HEAD + _SEAL :]
    if raw[_HEAD : _HEAD + _SEAL] != _seal(key, head):
        raise DamagedEntryError("head or key")
    sha256 = hashlib.sha256(body).digest()
    if not head.endswith(sha256):
        raise DamagedEntryError("payload")
    try:
        numbers = int(head[VERSION_AT]), int(head[1 + _DIGITS : 1 + 2 * _DIGITS])
        return Entry(*numbers, body, sha256, loads(body) if body else None)
    except ValueError as error:  # the seal holds: somebody has made it so
        raise DamagedEntryError("no version, or no JSON") from error


def fence() -> bytes:
    """A new fence, unlike any other."""
    return b"F%020d%s" % (0, secrets.token_hex(16).encode())


def token() -> bytes:
    """A new token, unlike any other."""
    return b"T" + secrets.token_hex(16).encode()


def is_marker(raw: bytes) -> bool:
    """Whether it is a fence or a token, in the place of which a reader puts nothing."""
    return raw[:1] in {_FENCE, _TOKEN} and len(raw) <= _FENCE_SIZE


def is_token(raw: bytes | None) -> bool:
    """Whether it is the token of a reader."""
    return raw is not None and raw[:1] == _TOKEN


def settle(current: bytes | None, marker: bytes, value: bytes) -> bytes | None:
    """What must be in the place of `current` after the write behind fence `marker` has committed the entry `value`.

    - Its own fence: the entry, unless the fence tells of a newer version; then nothing.
    - The fence of another write: that fence, which now tells of this version, so that an older one cannot follow.
    - A newer entry: that entry.
    - Anything else (an older entry, a token, damage): nothing.
    """
    version = value[VERSION_AT]
    if current is None:
        return None
    if current[:1] == _FENCE and len(current) == _FENCE_SIZE:
        newest = max(current[VERSION_AT], version)
        if current[1 + _DIGITS :] == marker[1 + _DIGITS :]:
            return value if newest == version else None
        return _FENCE + newest + current[1 + _DIGITS :]
    if current[:1] == _ENTRY and current[VERSION_AT] >= version:
        return current
    return None


def _seal(key: str, head: bytes) -> bytes:
    return hashlib.sha256(head + key.encode()).digest()[:_SEAL]
