"""A message as a CloudEvent 1.0 in an HTTP request: structured, with all in the body, or binary, with `ce-` headers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

if TYPE_CHECKING:
    from companyos.ports import Message

__all__ = ("Mode", "request")

Mode = Literal["structured", "binary"]
# CloudEvents HTTP binding 3.1.3.2: space, double quote, percent and all beyond printable ASCII are percent-encoded.
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


def request(message: Message, source: str, mode: Mode) -> tuple[bytes, dict[str, str]]:
    """Body and headers; the same on every attempt."""
    attributes = _attributes(message, source)
    data = {"text": message.text, "properties": dict(message.properties)}
    if mode == "structured":
        whole = attributes | {"datacontenttype": "application/json", "data": data}
        return _json(whole), {"content-type": "application/cloudevents+json; charset=utf-8"}
    headers = {f"ce-{name}": quote(value, safe=_SAFE) for name, value in attributes.items()}
    return _json(data), {"content-type": "application/json", **headers}


def _attributes(message: Message, source: str) -> dict[str, str]:
    attributes = {
        "specversion": "1.0",
        "id": message.id,
        "source": source,
        "type": message.topic,
        "correlationid": message.correlation_id,
    }
    if message.time is not None:
        attributes["time"] = message.time.isoformat().replace("+00:00", "Z")
    if message.traceparent:
        attributes["traceparent"] = message.traceparent
    return attributes


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
