"""The bytes of an entry: a CloudEvents 1.0 JSON object in canonical form (RFC 8785).

The format is final. Attributes beyond the CloudEvents core: `stream` (the sequence an entry belongs to) and, for a
detached payload, `dataref` (`detached/hmac-sha256/<hex>`: a salted commitment to the payload's canonical bytes, the
salt being the key of the HMAC) with `datasize` in bytes, instead of `data`, and `retention`, the class that says how
long the payload is kept.

A personal value inside `data` is replaced by `{"$personal": {"alg": "A256GCM", "ct": …, "iv": …, "sub": …}}`, where
`sub` is the pseudonym of the data subject; a person as `subject` is that pseudonym.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import re
import time as _time
from collections.abc import Mapping
from datetime import UTC, datetime
from operator import attrgetter
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from companyos.canonical import NotCanonicalError, loads, plain_json
from companyos.ledger.errors import EntryInvalidError
from companyos.ports import Entry, Personal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = (
    "DETACHED",
    "MAX_DEPTH",
    "MAX_ENTRY_BYTES",
    "PERSONAL",
    "Envelope",
    "check_id",
    "commitment",
    "dataref",
    "decode",
    "envelope",
    "map_personal",
    "names_of",
    "new_ids",
    "sameness",
    "time_of",
    "timestamp",
    "without_time",
)

MAX_ENTRY_BYTES = 65_535
"""Largest entry in canonical bytes (C2SP tlog-tiles: entries carry a 16-bit length)."""
MAX_DEPTH = 100
"""How many objects and arrays a payload may nest: far below what any reader's parser takes, wherever it is called."""
PERSONAL = "$personal"
"""The reserved key of an encrypted value."""
DETACHED = b'{"datacontenttype":'
"""How an entry begins whose payload is detached: with one inside, the first key is `data`."""
_ATTRIBUTES = (
    *("data", "datacontenttype", "dataref", "datasize", "id", "retention"),
    *("source", "specversion", "stream", "subject", "time", "type"),
)
_NAME = re.compile(r"[A-Za-z0-9._:/@+~-]{1,255}")
_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
_CLASS = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_noise: list[str] = []
os.register_at_fork(after_in_child=_noise.clear)
_SCHEME = "detached/hmac-sha256/"
_LEAVES = frozenset((str, int, float, bool, type(None)))


class Envelope:
    """The attributes that many entries share, checked once; made by `envelope`."""

    __slots__ = ("_after_id", "_message", "_type", "source")

    def __init__(
        self,
        source: str,
        type: str,  # noqa: A002 - the CloudEvents attribute is called so
        stream: str | None,
        subject: str | None,
        retention: str | None,
    ) -> None:
        self.source = source
        # Written out in the order of the keys: every attribute is of an alphabet that JSON does not escape.
        optional = {"stream": stream, "subject": subject}
        middle = "".join(f',"{key}":"{value}"' for key, value in optional.items() if value is not None)
        kept = "" if retention is None else f',"retention":"{retention}"'
        self._after_id = f'"{kept},"source":"{source}","specversion":"1.0"{middle},"time":"'
        self._type = f'","type":"{type}"}}'
        sequence = "null" if stream is None else f'"{stream}"'
        self._message = f'["{source}","', f'","{type}",{sequence},'

    def encode(self, id: str, time: str, data: bytes) -> bytes:  # noqa: A002 - the CloudEvents attribute is called so
        """The canonical bytes of an entry with the canonical bytes `data` inside; `time` as `timestamp` gives it."""
        rest = f',"datacontenttype":"application/json","id":"{id}{self._after_id}{time}{self._type}'
        return b'{"data":' + data + rest.encode()

    def encode_detached(self, id: str, time: str, commit: bytes, size: int) -> bytes:  # noqa: A002 - as above
        """The canonical bytes with a commitment to a payload of `size` bytes in its place."""
        reference = f'{{"datacontenttype":"application/json","dataref":"{_SCHEME}{commit.hex()}","datasize":{size}'
        return f'{reference},"id":"{id}{self._after_id}{time}{self._type}'.encode()

    def message(self, id: str, about: bytes, plain: bytes) -> bytes:  # noqa: A002 - as above
        """What sameness is judged over: the canonical array of source, id, type, stream, subject and plain data."""
        before, after = self._message
        return f"{before}{id}{after}".encode() + about + b"," + plain + b"]"


@functools.lru_cache(maxsize=4096)
def envelope(source: str, type: str, stream: str | None, subject: str | None, retention: str | None) -> Envelope:  # noqa: A002 - as above
    """The shared attributes, checked.

    Raises:
        EntryInvalidError: one of them is unusable.
    """
    _check("source", source, _NAME)
    _check("type", type, _TYPE)
    for name, value, pattern in (
        ("stream", stream, _NAME),
        ("subject", subject, _NAME),
        ("retention", retention, _CLASS),
    ):
        if value is not None:
            _check(name, value, pattern)
    return Envelope(source, type, stream, subject, retention)


def check_id(id: str) -> str:  # noqa: A002 - the CloudEvents attribute is called so
    """`id`, if it can be one.

    Raises:
        EntryInvalidError: it cannot.
    """
    _check("id", id, _NAME)
    return id


def new_ids(count: int) -> list[str]:
    """New ids that sort by the time they were made (UUID version 7, RFC 9562), so that an index grows at its end."""
    time = f"{_time.time_ns() // 1_000_000:012x}"
    start = f"{time[:8]}-{time[8:]}-7"
    digits = [_one_noise()] if count == 1 else _fresh_noise(count)
    return [f"{start}{d[:3]}-{_VARIANT[d[3]]}{d[4:7]}-{d[7:19]}" for d in digits]


def _one_noise() -> str:
    # A call to the system for each id would be dear; a process that is forked must not go on with ours.
    try:
        return _noise.pop()
    except IndexError:
        fresh = _fresh_noise(64)
        _noise.extend(fresh[1:])
        return fresh[0]


def _fresh_noise(count: int) -> list[str]:
    """Random digits, in order: 20 hexadecimal ones for each id, of which the version and the variant take 6 bits."""
    noise = os.urandom(10 * count).hex()
    return sorted([noise[at : at + 20] for at in range(0, 20 * count, 20)])


def timestamp(time: datetime) -> str:
    """An aware time as entries carry it: UTC, microseconds."""
    utc = time if time.tzinfo is UTC else time.astimezone(UTC)
    return f"{utc.isoformat(timespec='microseconds')[:26]}Z"


def time_of(raw: bytes) -> datetime:
    """The time in the canonical bytes of an entry.

    Raises:
        NotCanonicalError: there is none.
    """
    place = _time_place(raw)
    try:
        return _aware(raw[place : place + 27].decode())
    except ValueError as error:
        raise NotCanonicalError("not a ledger entry", got=error) from error


def without_time(raw: bytes) -> bytes:
    """The canonical bytes of an entry but for when it was appended."""
    place = _time_place(raw)
    return raw[:place] + raw[place + 27 :]


def commitment(salt: bytes, payload: bytes) -> bytes:
    """The salted commitment to a detached payload: HMAC-SHA256 under the 32-byte salt."""
    return hmac.digest(salt, payload, hashlib.sha256)


def sameness(secret: bytes, message: bytes) -> bytes:
    """The digest by which a repeated append is recognised: HMAC-SHA256 under the log's secret, 32 bytes."""
    return hmac.digest(secret, message, hashlib.sha256)


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
            time=_aware(value["time"]),
            stream=value.get("stream"),
            subject=value.get("subject"),
            data=data,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotCanonicalError(f"entry {index} is not a ledger entry", got=error) from error


def names_of(raws: Sequence[bytes]) -> tuple[list[str], list[str]] | None:
    """The ids and the sources of entries, if their bytes are quickly seen to be canonical; None to look at each."""
    lines = b"\n".join([*raws, b""])
    if not lines.isascii():
        return None
    decode, encode = _codec()
    try:
        values = decode(lines)
    except (ValueError, RecursionError):
        return None
    # The encoder breaks lines nowhere but after each value: as many values as entries, and each line is one of them.
    if len(values) != len(raws) or encode(values) != lines:
        return None
    return list(map(attrgetter("id"), values)), list(map(attrgetter("source"), values))


@functools.cache
def _codec() -> tuple[Callable[[bytes], list[Any]], Callable[[list[Any]], bytes]]:
    """A parser and a writer of entries, one a line, that know their attributes: twice as fast as any object's."""
    from msgspec import UNSET, defstruct  # not needed to import companyos
    from msgspec.json import Decoder, Encoder

    always = {"datacontenttype", "id", "source", "specversion", "time", "type"}
    kinds = {"data": GenericAlias(dict, (str, plain_json())), "datasize": int}
    fields = [
        (name, kinds.get(name, str)) if name in always else (name, kinds.get(name, str) | type(UNSET), UNSET)
        for name in _ATTRIBUTES
    ]
    shape = defstruct("Shape", fields, kw_only=True, forbid_unknown_fields=True, gc=False)
    return Decoder(shape).decode_lines, Encoder(order="deterministic").encode_lines


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
    if type(value) in _LEAVES:
        return value
    if isinstance(value, Personal):
        return seal(value, path)
    if depth > MAX_DEPTH and isinstance(value, (dict, list, tuple, Mapping)):
        raise EntryInvalidError("payload is nested too deeply", expected=f"at most {MAX_DEPTH} levels")
    if isinstance(value, (dict, Mapping)):
        if PERSONAL in value:
            raise EntryInvalidError(f"the key {PERSONAL} is reserved", got=path or "/", hint="use Personal(value, …)")
        return {
            # Most of what is logged is neither personal nor holds anything: no place in the payload is needed for it.
            key: inner
            if type(inner) in _LEAVES and type(key) is str
            else _map(inner, seal, f"{path}/{_escape(key)}", depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_map(inner, seal, f"{path}/{number}", depth + 1) for number, inner in enumerate(value)]
    return value


def _aware(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without its zone")
    return time


def _time_place(raw: bytes) -> int:
    # The last of its kind: after `data`, which comes first, only `type` follows, which has no quotation marks.
    return raw.rfind(b'"time":"') + 8


def _check(name: str, value: object, pattern: re.Pattern[str]) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise EntryInvalidError(f"entry has an unusable {name}", got=repr(value), expected=pattern.pattern)


def _escape(key: object) -> str:
    if not isinstance(key, str):
        raise EntryInvalidError("payload has a key that is not text", got=repr(key))
    return key.replace("~", "~0").replace("/", "~1")
