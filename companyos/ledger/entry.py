"""The bytes of an entry: a CloudEvents 1.0 JSON object in canonical form (RFC 8785).

The format is final. Attributes beyond the CloudEvents core: `stream` (the sequence an entry belongs to) and, for a
detached payload, `dataref` (`detached/hmac-sha256/<hex>`: a salted commitment to the payload's canonical bytes, the
salt being the key of the HMAC) with `datasize` in bytes, instead of `data`.

A personal value inside `data` is replaced by `{"$personal": {"alg": "A256GCM", "ct": …, "iv": …, "sub": …}}`, where
`sub` is the pseudonym of the data subject; a person as `subject` is that pseudonym.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from companyos.canonical import NotCanonicalError, canonical_bytes, loads
from companyos.ledger.errors import EntryInvalidError
from companyos.ports import Entry, Personal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = (
    "MAX_DEPTH",
    "MAX_ENTRY_BYTES",
    "PERSONAL",
    "Draft",
    "commitment",
    "dataref",
    "decode",
    "map_personal",
    "sameness",
)

MAX_ENTRY_BYTES = 65_535
"""Largest entry in canonical bytes (C2SP tlog-tiles: entries carry a 16-bit length)."""
MAX_DEPTH = 100
"""How many objects and arrays a payload may nest: far below what any reader's parser takes, wherever it is called."""
PERSONAL = "$personal"
"""The reserved key of an encrypted value."""
_NAME = re.compile(r"[A-Za-z0-9._:/@+~-]{1,255}")
_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry before it has its place: everything but the index."""

    id: str
    """Unique within `source`."""
    source: str
    """URI reference of what produced it."""
    type: str
    """Dotted name of what happened."""
    time: datetime
    """Aware, UTC."""
    stream: str | None
    """The sequence it belongs to."""
    subject: str | None
    """What it is about; a person only as a pseudonym."""

    def __post_init__(self) -> None:
        for name, value, pattern in (
            ("id", self.id, _NAME),
            ("source", self.source, _NAME),
            ("type", self.type, _TYPE),
            ("stream", self.stream, _NAME),
            ("subject", self.subject, _NAME),
        ):
            if value is None and name in {"stream", "subject"}:
                continue
            if not isinstance(value, str) or not pattern.fullmatch(value):
                raise EntryInvalidError(f"entry has an unusable {name}", got=repr(value), expected=pattern.pattern)

    def encode(self, data: Mapping[str, Any]) -> bytes:
        """The canonical bytes with `data` inside."""
        return canonical_bytes(self._attributes() | {"data": dict(data), "datacontenttype": "application/json"})

    def encode_detached(self, commit: bytes, size: int) -> bytes:
        """The canonical bytes with a commitment to a payload of `size` bytes in its place."""
        return canonical_bytes(
            self._attributes()
            | {
                "dataref": f"detached/hmac-sha256/{commit.hex()}",
                "datasize": size,
                "datacontenttype": "application/json",
            }
        )

    def _attributes(self) -> dict[str, Any]:
        attributes = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "time": self.time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "stream": self.stream,
            "subject": self.subject,
        }
        return {key: value for key, value in attributes.items() if value is not None}


def commitment(salt: bytes, payload: bytes) -> bytes:
    """The salted commitment to a detached payload: HMAC-SHA256 under the 32-byte salt."""
    return hmac.digest(salt, payload, hashlib.sha256)


def sameness(key: bytes, draft: Draft, subject: str | Personal | None, data: Mapping[str, Any]) -> bytes:
    """The keyed digest by which a repeated append is recognised, over plaintext, without time and ciphertext.

    Raises:
        EntryInvalidError: `data` holds something that is not JSON.
    """
    about = {"person": subject.person} if isinstance(subject, Personal) else subject
    plain = map_personal(data, lambda personal, _: {PERSONAL: {"person": personal.person, "value": personal.value}})
    try:
        message = canonical_bytes([draft.source, draft.id, draft.type, draft.stream, about, plain])
    except NotCanonicalError as error:
        raise EntryInvalidError("payload is not JSON", got=error.got, expected=error.expected) from error
    return hmac.digest(key, message, hashlib.sha256)


def map_personal(data: Mapping[str, Any], seal: Callable[[Personal, str], Any], path: str = "") -> dict[str, Any]:
    """`data` with every `Personal` replaced by `seal(personal, JSON pointer)`.

    Raises:
        EntryInvalidError: `data` is not an object, uses the reserved key `$personal`, or is nested too deeply.
    """
    if not isinstance(data, Mapping):
        raise EntryInvalidError("payload is not an object", got=type(data).__name__, expected="text keys, JSON values")
    mapped: dict[str, Any] = _map(data, seal, path, 1)
    return mapped


def decode(index: int, raw: bytes, payload: bytes | None = None) -> Entry:
    """The entry held by canonical bytes; `payload` is its detached payload, if it has one and it is still there.

    Raises:
        NotCanonicalError: the bytes are not such an entry.
    """
    try:
        value = loads(raw)
        data = loads(payload) if payload is not None else value.get("data")
        return Entry(
            index=index,
            id=value["id"],
            source=value["source"],
            type=value["type"],
            time=datetime.fromisoformat(value["time"]),
            stream=value.get("stream"),
            subject=value.get("subject"),
            data=data,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotCanonicalError(f"entry {index} is not a ledger entry", got=error) from error


def dataref(raw: bytes) -> bytes | None:
    """The commitment of an entry whose payload is detached, None if its payload is inside.

    Raises:
        NotCanonicalError: the bytes are not such an entry.
    """
    try:
        reference = loads(raw).get("dataref")
        return bytes.fromhex(reference.rpartition("/")[2]) if isinstance(reference, str) else None
    except (ValueError, AttributeError) as error:
        raise NotCanonicalError("not a ledger entry", got=error) from error


def _map(value: Any, seal: Callable[[Personal, str], Any], path: str, depth: int) -> Any:
    if isinstance(value, Personal):
        return seal(value, path)
    if depth > MAX_DEPTH and isinstance(value, (dict, list, tuple, Mapping)):
        raise EntryInvalidError("payload is nested too deeply", expected=f"at most {MAX_DEPTH} levels")
    if isinstance(value, (dict, Mapping)):
        if PERSONAL in value:
            raise EntryInvalidError(f"the key {PERSONAL} is reserved", got=path or "/", hint="use Personal(value, …)")
        return {key: _map(inner, seal, f"{path}/{_escape(key)}", depth + 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_map(inner, seal, f"{path}/{number}", depth + 1) for number, inner in enumerate(value)]
    return value


def _escape(key: object) -> str:
    if not isinstance(key, str):
        raise EntryInvalidError("payload has a key that is not text", got=repr(key))
    return key.replace("~", "~0").replace("/", "~1")
