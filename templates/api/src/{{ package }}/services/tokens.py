"""Session tokens: claims in base64url JSON, then their HMAC-SHA-256; short-lived, and useless once changed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from dataclasses import dataclass

__all__ = ("Session", "TokenError", "Tokens")


class TokenError(ValueError):
    """A token was changed, has expired, or is none of ours."""


@dataclass(frozen=True, slots=True)
class Session:
    """What a token says."""

    account_id: str
    """Who logged in."""
    auth_strength: str
    """`pwd` or `mfa`."""
    expires_at: int
    """Seconds since 1970."""


class Tokens:
    """Issues tokens and reads them back."""

    def __init__(self, key: str, minutes: int) -> None:
        self._key = hashlib.sha256(b"session-token\0" + key.encode()).digest()
        self.seconds = minutes * 60

    def issue(self, account_id: str, auth_strength: str) -> str:
        """A token for a new session."""
        expires_at = int(time.time()) + self.seconds
        claims = {"sub": account_id, "amr": auth_strength, "exp": expires_at}
        payload = _encode(json.dumps(claims, separators=(",", ":")).encode())
        return f"{payload}.{_encode(self._mac(payload))}"

    def read(self, token: str) -> Session:
        """The session that a token stands for.

        Raises:
            TokenError: it cannot be accepted.
        """
        payload, _, mac = token.partition(".")
        if not hmac.compare_digest(_encode(self._mac(payload)).encode(), mac.encode()):
            raise TokenError("the token is not one of ours")
        try:
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            session = Session(claims["sub"], claims["amr"], claims["exp"])
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            raise TokenError("the token cannot be read") from error
        if session.expires_at <= time.time():
            raise TokenError("the token has expired")
        return session

    def _mac(self, payload: str) -> bytes:
        return hmac.digest(self._key, payload.encode(), "sha256")


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
