"""From what a caller says to what is kept and sent: complete, bounded, without secrets."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from companyos.errors import UserError
from companyos.notify.errors import NotifyMessageError
from companyos.ports import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.ports import TextNet

__all__ = ("Prepared", "prepare", "read", "written")

MAX_TEXT = 8_000
"""Longest text in a message, in characters: what the safety net searches whole."""
MAX_BYTES = 32 * 1024
"""Largest message, in bytes of JSON."""
MAX_ITEMS, MAX_DEPTH = 100, 5
_ID = re.compile(r"[A-Za-z0-9_:@/+-]{1,128}")  # no dot: it parts what a webhook's signature covers
MAX_CORRELATION = 128
MAX_TOPIC = 128


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message that may be kept and sent."""

    message: Message
    """With id, time and correlation id, and without secrets."""
    redacted: bool
    """Whether the safety net found something to mask."""


def prepare(message: Message, *, net: TextNet | None, correlate: Callable[[], str | None] | None = None) -> Prepared:
    """A message as it may leave: whatever is missing filled in, secrets masked.

    The correlation id is the caller's, else that of the scope (`correlate`), else the trace, else the message's own id.

    Raises:
        NotifyMessageError: it cannot be told.
    """
    context = trace.get_current_span().get_span_context()
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}" if context.is_valid else ""
    traced = f"{context.trace_id:032x}" if context.is_valid else ""
    name = message.id or uuid.uuid4().hex
    _check(message, name)
    found = message.correlation_id or (correlate() if correlate else None) or traced or name
    shown = _masked(message, net)
    whole = replace(
        message,
        text=shown["text"],
        properties=shown["properties"],
        id=name,
        correlation_id=_short(shown["correlation_id"] if message.correlation_id else found),
        time=message.time or datetime.now(UTC),
        traceparent=message.traceparent or parent,
    )
    return Prepared(whole, shown["redacted"])


def written(prepared: Prepared) -> tuple[str, str]:
    """Body and companions of a message, as an outbox keeps them; what differs from one call to the next is in those."""
    message = prepared.message
    body = {"topic": message.topic, "text": message.text, "properties": dict(message.properties)}
    meta = {
        "correlation_id": message.correlation_id,
        "traceparent": message.traceparent,
        "redacted": prepared.redacted,
    }
    return json.dumps(body, sort_keys=True), json.dumps(meta, sort_keys=True)


def read(name: str, body: str, meta: str, created: float) -> Message:
    """The message that an outbox kept."""
    content, companions = json.loads(body), json.loads(meta)
    return Message(
        content["topic"],
        content["text"],
        companions["correlation_id"],
        content["properties"],
        name,
        datetime.fromtimestamp(created, UTC),
        companions["traceparent"],
    )


def _check(message: Message, name: str) -> None:
    if not message.topic.isprintable() or not 0 < len(message.topic) <= MAX_TOPIC:
        raise NotifyMessageError("a message needs a topic", expected=f"1 to {MAX_TOPIC} printable characters")
    if not message.text.strip():
        raise NotifyMessageError("a message needs a text")
    if not _ID.fullmatch(name):
        raise NotifyMessageError(
            "the id of a message cannot be an idempotency key", expected="1 to 128 of A-Z a-z 0-9 _ : @ / + -"
        )
    content = {"text": message.text, "properties": message.properties}
    _bounded(content, 0)
    try:
        size = len(json.dumps(_plain(content), allow_nan=False).encode())
    except (TypeError, ValueError) as error:
        raise NotifyMessageError("the properties of a message are not JSON", got=error) from error
    if size > MAX_BYTES:
        raise NotifyMessageError("a message is too large", got=f"{size} bytes", expected=f"at most {MAX_BYTES}")


def _bounded(value: Any, depth: int) -> None:
    """What the safety net would cut short is refused, so that nothing is told by halves."""
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise NotifyMessageError(
            "a text of a message is too long",
            got=f"{len(value)} characters",
            expected=f"at most {MAX_TEXT}",
            hint="say where the document is, instead of sending it",
        )
    items = list(value.values()) if hasattr(value, "values") else value if isinstance(value, (list, tuple)) else []
    if depth > MAX_DEPTH or len(items) > MAX_ITEMS:
        raise NotifyMessageError("a message holds too much", expected=f"{MAX_ITEMS} items, nested {MAX_DEPTH} deep")
    for item in items:
        _bounded(item, depth + 1)


def _masked(message: Message, net: TextNet | None) -> dict[str, Any]:
    properties = _plain(message.properties)
    given = {"text": message.text, "properties": properties, "correlation_id": message.correlation_id}
    if net is None:
        return given | {"redacted": False}
    try:
        shown = {
            "text": net.field("text", message.text),
            "properties": {str(net.field("key", key)): net.field(key, value) for key, value in properties.items()},
            "correlation_id": net.field("correlation", message.correlation_id),
        }
    except UserError:
        raise
    except Exception as error:
        raise NotifyMessageError("a message could not be searched for secrets", got=type(error).__name__) from error
    return shown | {"redacted": shown != given}


def _plain(value: Any) -> Any:
    if hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _short(text: str) -> str:
    line = "".join(char if char.isprintable() else "?" for char in text)
    return line[:MAX_CORRELATION]
