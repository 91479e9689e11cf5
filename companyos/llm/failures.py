"""What an HTTP error of a provider means, and what may be shown of it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import msgspec

from companyos.errors import printable
from companyos.llm.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.llm.interface import FailureKind

__all__ = ("from_status", "in_stream", "retry_after")

MAX_RETRY_AFTER_SECONDS = 3600.0
"""A provider that asks for more is asked again after this."""
MAX_SHOWN = 200
"""Characters of a provider's own words."""

_FILTER = frozenset({"content_filter", "content_policy_violation", "responsible_ai_policy_violation"})
_LENGTH = frozenset({"context_length_exceeded", "string_above_max_length", "request_too_large"})
_QUOTA = frozenset({"insufficient_quota", "billing_error", "billing_hard_limit_reached"})
_OVERLOADED = frozenset({"overloaded_error", "server_overloaded", "engine_overloaded", "slow_down"})
_RATE = frozenset({"rate_limit_error", "rate_limit_exceeded", "requests", "tokens"})
_BY_STATUS: dict[int, FailureKind] = {
    401: "unauthorized",
    402: "unauthorized",
    403: "unauthorized",
    404: "unknown_model",
    408: "timeout",
    413: "context_length",
    429: "rate_limited",
    503: "overloaded",
    529: "overloaded",
}


def from_status(status: int, body: bytes, header: Callable[[str], str | None], secret: str | None) -> ProviderError:
    """The failure that a reply with this status tells of; `secret` never stands in its text."""
    words, message = _said(body)
    return ProviderError(
        _kind(status, words, message),
        _shown(f"status {status}", message, secret),
        status=status,
        retry_after_seconds=retry_after(header),
    )


def in_stream(error: Any, secret: str | None) -> ProviderError:
    """The failure that an error event within a stream tells of."""
    words, message = _words(error)
    kind: FailureKind = "server"
    if words & _FILTER:
        kind = "content_filter"
    elif words & _OVERLOADED:
        kind = "overloaded"
    elif words & _RATE:
        kind = "rate_limited"
    return ProviderError(kind, _shown("an error in the stream", message, secret), maybe_billed=True)


def retry_after(header: Callable[[str], str | None]) -> float | None:
    """Seconds to wait, as `retry-after-ms` or `Retry-After` (RFC 9110, section 10.2.3) say; None if neither does."""
    for name, scale in (("retry-after-ms", 0.001), ("Retry-After", 1.0)):
        text = header(name)
        if text is None:
            continue
        seconds = _seconds(text, scale)
        if seconds is not None:
            return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
    return None


def _seconds(text: str, scale: float) -> float | None:
    try:
        value = float(text) * scale
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, TypeError):
            return None
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (aware - datetime.now(UTC)).total_seconds()
    return value if math.isfinite(value) else None


def _kind(status: int, words: frozenset[str], message: str) -> FailureKind:
    if words & _FILTER:
        return "content_filter"
    if words & _QUOTA:
        return "unauthorized"
    if 400 <= status < 500 and (words & _LENGTH or "prompt is too long" in message):
        return "context_length"
    if words & _OVERLOADED:
        return "overloaded"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return "server"
    return "rejected" if status >= 400 else "malformed"


def _said(body: bytes) -> tuple[frozenset[str], str]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return frozenset(), ""
    return _words(found.get("error", found) if isinstance(found, dict) else found)


def _words(error: Any) -> tuple[frozenset[str], str]:
    if isinstance(error, str):
        return frozenset(), error
    if not isinstance(error, dict):
        return frozenset(), ""
    inner = error.get("innererror")
    named = [error.get("code"), error.get("type"), inner.get("code") if isinstance(inner, dict) else None]
    message = error.get("message")
    words = frozenset(_snake(word) for word in named if isinstance(word, str))
    return words, message if isinstance(message, str) else ""


def _snake(word: str) -> str:
    """Azure writes `ResponsibleAIPolicyViolation`."""
    return "responsible_ai_policy_violation" if word == "ResponsibleAIPolicyViolation" else word


def _shown(what: str, message: str, secret: str | None) -> str:
    if secret:
        message = message.replace(secret, "[key]")
    text = printable(" ".join(message.split()))[:MAX_SHOWN]
    return f"{what}: {text}" if text else what
