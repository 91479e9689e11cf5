"""How an event becomes one line of JSON: the required fields first, everything masked, nothing too long.

There are two ways to the same line. Ordinary events (short texts that hold nothing suspicious, numbers, names of fields
that were seen before) take the short one; everything else the long one, value by value. A test holds both to the same
bytes. The shape of a line is `log-line.schema.json`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

import msgspec
from opentelemetry import trace

from companyos.observability.classification import Classified
from companyos.observability.exceptions import exception_fields
from companyos.observability.redaction import Redactor, Room, as_text
from companyos.observability.semconv import SEVERITY

if TYPE_CHECKING:
    from companyos.observability.runtime import Observability

__all__ = ("RESERVED", "compose", "encode", "head", "line_schema", "plain_line", "searched_line")

RESERVED = frozenset(
    {"timestamp", "level", "severity_number", "event", "logger", "trace_id", "span_id"}
    | {"service", "env", "version", "revision"}
)
"""Fields that say what the event is and where it comes from. A caller's field of the same name is kept under
`extra.<name>`, so that nobody can forge them."""

TEXTS = frozenset({"correlation_id", "request_id", "subject_id", "action", "resource", "outcome"})
"""Required fields that hold a text or null."""

MAX_QUICK_TEXT = 256
MAX_QUICK_FIELDS = 24
MAX_QUICK_NAME = 64
MAX_KNOWN_NAMES = 2_048
MAX_QUICK_INT = 10**11
"""Bounds of the short way. Within them no text can exceed the room of an event, however it is escaped, and no number can
be one of a card."""

Fields = Mapping[str, Any]


def compose(
    runtime: Observability,
    level: str,
    event: str,
    logger: str | None,
    sources: tuple[Fields, ...],
    *,
    trusted: frozenset[str] = frozenset(),
    error: BaseException | None = None,
) -> bytes:
    """The line of an event, without its end. Later sources win; None leaves out what it stands for."""
    line = head(runtime, level, event, logger)
    if error is None:
        short = plain_line(runtime, line, sources, trusted)
        if short is not None:
            return short
        line = head(runtime, level, event, logger)
    return searched_line(runtime, line, sources, trusted, error)


def line_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) that every line satisfies."""
    text = resources.files("companyos.observability").joinpath("log-line.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def head(runtime: Observability, level: str, event: str, logger: str | None) -> dict[str, Any]:
    """The fields that every line has, in their order; those that are not known yet are None."""
    line: dict[str, Any] = {
        "timestamp": _now(),
        "level": level,
        "severity_number": SEVERITY[level],
        "event": event,
        **runtime.fields,
        "trace_id": None,
        "span_id": None,
        "correlation_id": None,
        "request_id": None,
        "subject_id": None,
        "action": None,
        "resource": None,
        "outcome": None,
        "latency_ms": None,
    }
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        line["trace_id"] = line["correlation_id"] = f"{span.trace_id:032x}"
        line["span_id"] = f"{span.span_id:016x}"
    if logger is not None:
        line["logger"] = logger
    return line


def plain_line(
    runtime: Observability, line: dict[str, Any], sources: tuple[Fields, ...], trusted: frozenset[str]
) -> bytes | None:
    """The line by the short way, or None if any part of it needs a closer look."""
    redactor = runtime.redactor
    known = runtime.plain_names
    texts = [line["event"], line.get("logger") or ""]
    for fields in sources:
        for key, value in fields.items():
            if value is None:
                continue
            kind = type(value)
            if key not in known and not (key == "latency_ms" and kind in _NUMBERS) and not _learn(runtime, key):
                return None
            if kind is str:
                if key not in trusted:
                    texts.append(value)
            elif kind is int:
                if key in TEXTS or not -MAX_QUICK_INT < value < MAX_QUICK_INT:
                    return None
            elif kind is float:
                if key in TEXTS or not math.isfinite(value):
                    return None
            elif kind is Classified:
                value = redactor.treated(value.value, value.classification)
                if type(value) is not str:
                    return None
            elif kind is not bool or key in TEXTS:
                return None
            line[key] = value
    if len(texts) > MAX_QUICK_FIELDS or type(texts[0]) is not str or max(map(len, texts)) > MAX_QUICK_TEXT:
        return None
    return encode(line) if redactor.is_clean("\n".join(texts)) else None


def _learn(runtime: Observability, key: str) -> bool:
    """Whether a field of this name is written as it is; remembered, since names are few and come again."""
    if type(key) is not str or key == "latency_ms" or key in RESERVED or len(key) > MAX_QUICK_NAME:
        return False
    if runtime.redactor.field(key, "x") != "x" or not runtime.redactor.is_clean(key):
        return False
    if len(runtime.plain_names) >= MAX_KNOWN_NAMES:
        runtime.plain_names.clear()
    runtime.plain_names.add(key)
    return True


def searched_line(
    runtime: Observability,
    line: dict[str, Any],
    sources: tuple[Fields, ...],
    trusted: frozenset[str],
    error: BaseException | None,
) -> bytes:
    """The line by the long way: every value masked and bounded by itself."""
    redactor = runtime.redactor
    room = Room()
    line["event"] = redactor.text(as_text(line["event"]), room)
    if "logger" in line:
        line["logger"] = redactor.text(as_text(line["logger"]), room)
    # Before the fields, so that these cannot crowd it out.
    failure = {} if error is None else exception_fields(error, room)
    fields = {key: value for source in sources for key, value in source.items() if value is not None}
    for number, (key, value) in enumerate(fields.items()):
        if room.left <= 0:
            line["..."] = f"{len(fields) - number} more"
            break
        name = redactor.text(key if type(key) is str else as_text(key), room)
        shown = value if key in trusted and type(value) in _SCALARS else redactor.field(key, value, room)
        if shown is not None:
            line[_place(name, shown)] = _fitting(name, shown)
    line.update(failure)
    return encode(line)


_NUMBERS = frozenset((int, float))
_SCALARS = frozenset((str, int, float, bool))


def _place(name: str, shown: Any) -> str:
    """Under which name a value stands: a required field keeps its type, so that every line has the same shape."""
    misfit = name == "latency_ms" and type(shown) not in _NUMBERS
    return f"extra.{name}" if name in RESERVED or misfit else name


def _fitting(name: str, shown: Any) -> Any:
    return json.dumps(shown) if name in TEXTS and not isinstance(shown, str) else shown


def encode(line: dict[str, Any]) -> bytes:
    """A line as ASCII: one event stays one line for every reader, and any stream can carry it."""
    try:
        data = _encoder.encode(line)
    except (TypeError, ValueError, OverflowError):  # a lone surrogate; an integer of more than 64 bits
        return _escaped(line).encode("ascii")
    return data if data.isascii() else _escaped(line).encode("ascii")


_encoder = msgspec.json.Encoder()
_escaped = json.JSONEncoder(ensure_ascii=True, check_circular=False, separators=(",", ":")).encode
_second = (0, "")


def _now() -> str:
    """The time in UTC to the microsecond (RFC 3339); what only changes once a second is kept."""
    global _second  # noqa: PLW0603 - one tuple, replaced whole, so that threads never see half of it
    seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
    known, text = _second
    if seconds != known:
        text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(seconds))
        _second = (seconds, text)
    return f"{text}{nanos // 1000:06d}Z"
