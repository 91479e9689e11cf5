"""Salted scrypt (RFC 7914), with its parameters beside the hash so that they can be raised later."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

__all__ = ("hash_password", "matches")

_N, _R, _P = 2**14, 8, 1
_LENGTH = 32


def hash_password(password: str) -> str:
    """A salted hash of a password, as text."""
    salt = secrets.token_bytes(16)
    derived = _derive(password, salt, _N, _R, _P)
    parts = (base64.b64encode(value).decode() for value in (salt, derived))
    return "$".join(("scrypt", str(_N), str(_R), str(_P), *parts))


def matches(password: str, stored: str) -> bool:
    """Whether a password belongs to a hash; takes as long either way."""
    _, n, r, p, salt, expected = stored.split("$")
    derived = _derive(password, base64.b64decode(salt), int(n), int(r), int(p))
    return hmac.compare_digest(derived, base64.b64decode(expected))


def _derive(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, dklen=_LENGTH)
