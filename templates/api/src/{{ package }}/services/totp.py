"""Time-based one-time passwords (RFC 6238: SHA-1, 30 seconds, 6 digits), as authenticator apps make them."""

from __future__ import annotations

import base64
import hmac
import time

__all__ = ("STEP_SECONDS", "code_at", "matching_step")

STEP_SECONDS = 30
_DRIFT = 1


def code_at(secret: str, step: int) -> str:
    """The code for one time step (seconds since 1970, divided by 30)."""
    mac = hmac.digest(base64.b32decode(secret), step.to_bytes(8, "big"), "sha1")
    offset = mac[-1] & 0x0F
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"


def matching_step(secret: str, code: str, *, after: int, now: float | None = None) -> int | None:
    """The time step that `code` belongs to, if it is near now and later than `after`: a code works once."""
    current = int((time.time() if now is None else now) // STEP_SECONDS)
    for step in range(current - _DRIFT, current + _DRIFT + 1):
        if step > after and hmac.compare_digest(code_at(secret, step), code):
            return step
    return None
