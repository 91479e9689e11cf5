"""How an event becomes one line of JSON: the required fields first, everything masked, nothing too long.

There are two ways to the same line. Ordinary events (short texts that hold nothing suspicious, numbers, names of fields
that were seen before) take the short one; everything else the long one, value by value. A test holds both to the same
bytes. The shape of a line is `log-line.schema.json`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

import msgspec
from opentelemetry import trace

from companyos.observability.classification import Classified
from companyos.observability.exceptions import exception_fields
from companyos.observability.redaction import Redactor, Room, as_text, is_secret_key
from companyos.observability.semconv import SEVERITY

if TYPE_CHECKING:
    from companyos.observability.runtime import Observability

__all__ = (
    "RESERVED",
    "PlainNames",
    "encode",
    "head",
    "line_schema",
    "plain_line",
    "searched_line",
    "template",
    "timestamp",
)

RESERVED = frozenset(
    {"timestamp", "level", "severity_number", "event", "logger", "trace_id", "span_id"}
    | {"service", "env", "version", "revision"}
)
"""Fields that say what the event is and where it comes from. A caller's field of the same name is kept under
`extra.<name>`, so that nobody can forge them."""

TEXTS = frozenset({"correlation_id", "request_id", "subject_id", "action", "resource", "outcome"})
"""Required fields that hold a text or null."""

MAX_QUICK_TEXT = 2_048
MAX_QUICK_FIELDS = 40
MAX_QUICK_NAME = 64
MAX_KNOWN_NAMES = 2_048
MAX_QUICK_NUMBER = 10**11
"""Bounds of the short way. Within them no text can exceed the room of an event, however it is escaped, and no number
can be one of a card or be infinite."""

Fields = Mapping[str, Any]


def line_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) that every line satisfies."""
    text = resources.files("companyos.observability").joinpath("log-line.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def head(runtime: Observability, level: str, event: str, logger: str | None) -> dict[str, Any]:
    """The fields that every line has, in their order; those that are not known yet are None."""
    global _ids  # noqa: PLW0603 - one tuple, replaced whole, so that threads never see half of it
    line = runtime.heads[level].copy()
    line["timestamp"] = timestamp()
    line["event"] = event
    span = trace.get_current_span()
    known, trace_id, span_id = _ids
    if span is not known:
        context = span.get_span_context()
        trace_id, span_id = (
            (f"{context.trace_id:032x}", f"{context.span_id:016x}") if context.is_valid else (None, None)
        )
        _ids = (span, trace_id, span_id)
    line["trace_id"] = line["correlation_id"] = trace_id
    line["span_id"] = span_id
    if logger is not None:
        line["logger"] = logger
    return line


def template(level: str, identity: Mapping[str, str]) -> dict[str, Any]:
    """What all lines of a service at a level have in common."""
    return {
        "timestamp": "",
        "level": level,
        "severity_number": SEVERITY[level],
        "event": "",
        **identity,
        **dict.fromkeys(("trace_id", "span_id", "correlation_id", "request_id", "subject_id")),
        **dict.fromkeys(("action", "resource", "outcome", "latency_ms")),
    }


class PlainNames:
    """Names that were found to be written as they are: they are few and come again, so they are looked at once."""

    __slots__ = ("_redactor", "events", "fields")

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self.events: set[str] = set()
        """Names of events and loggers."""
        self.fields: set[str] = set()
        """Names of fields."""

    def learn(self, fields: Fields) -> bool:
        """Whether fields of these names may be written as they are."""
        for name in fields:
            if type(name) is not str or name in RESERVED or not self._is_plain(name):
                return False
            self._remember(self.fields, name)
        return True

    def learn_event(self, name: str) -> bool:
        """Whether an event or a logger of this name may be called so."""
        plain = type(name) is str and self._is_plain(name)
        if plain:
            self._remember(self.events, name)
        return plain

    def _is_plain(self, name: str) -> bool:
        return len(name) <= MAX_QUICK_NAME and not is_secret_key(name) and self._redactor.is_clean(name)

    @staticmethod
    def _remember(names: set[str], name: str) -> None:
        if len(names) >= MAX_KNOWN_NAMES:
            names.clear()
        names.add(name)


def plain_line(  # noqa: PLR0917 - called for every event; keywords would cost more than a check does
    runtime: Observability,
    level: str,
    event: str,
    logger: str | None,
    sources: tuple[Fields, Fields, Fields],
    trusted: frozenset[str],
) -> bytes | None:
    """The line by the short way, or None if any part of it needs a closer look."""
    names = runtime.names
    if event not in names.events and not names.learn_event(event):
        return None
    if logger is not None and logger not in names.events and not names.learn_event(logger):
        return None
    outer, bound, given = sources
    fields = {**outer, **bound, **given} if outer or bound else given
    if not fields.keys() <= names.fields and not names.learn(fields):
        return None
    line = head(runtime, level, event, logger)
    line.update(fields)
    texts = [value for value in fields.values() if type(value) is str]
    if len(texts) != len(fields) and not _set_others(runtime, line, fields):
        return None
    if trusted:
        texts = [value for key, value in fields.items() if key not in trusted and type(value) is str]
    text = "\n".join(texts)
    if len(text) > MAX_QUICK_TEXT or len(line) > MAX_QUICK_FIELDS or type(line["latency_ms"]) is str:
        return None
    return encode(line) if runtime.redactor.is_clean(text) else None


def _set_others(runtime: Observability, line: dict[str, Any], fields: Fields) -> bool:
    """Whether the values that are no texts may be written as they are; those of a class are replaced in `line`."""
    for key, value in fields.items():
        kind = type(value)
        if kind is str:
            continue
        if kind in _NUMBERS:
            # Not so for what is not a number, which compares as false.
            if key in TEXTS or not (-MAX_QUICK_NUMBER < value < MAX_QUICK_NUMBER):
                return False
        elif kind is Classified:
            line[key] = runtime.redactor.treated(value.value, value.classification)
            if type(line[key]) is not str:
                return False
        else:
            return False
    return type(fields.get("latency_ms")) is not bool


def searched_line(  # noqa: PLR0917 - called as the other one is
    runtime: Observability,
    level: str,
    event: str,
    logger: str | None,
    sources: tuple[Fields, Fields, Fields],
    trusted: frozenset[str],
    error: BaseException | None = None,
) -> bytes:
    """The line by the long way: every value masked and bounded by itself."""
    redactor = runtime.redactor
    room = Room()
    shown_logger = None if logger is None else redactor.text(as_text(logger), room)
    line = head(runtime, level, redactor.text(as_text(event), room), shown_logger)
    # Before the fields, so that these cannot crowd it out.
    failure = {} if error is None else exception_fields(error, room)
    known = runtime.names.fields
    fields = {key: value for source in sources for key, value in source.items() if value is not None}
    for number, (key, value) in enumerate(fields.items()):
        if room.left <= 0:
            line["..."] = f"{len(fields) - number} more"
            break
        if key in known:
            name = key
            room.left -= len(key)
        else:
            name = redactor.text(key if type(key) is str else as_text(key), room)
        shown = value if key in trusted and type(value) in _SCALARS else redactor.field(key, value, room)
        if shown is not None:
            line[_place(name, shown)] = _fitting(name, shown)
    line.update(failure)
    return encode(line)


_NUMBERS = frozenset((int, float, bool))
_SCALARS = frozenset((str, int, float, bool))


def _place(name: str, shown: Any) -> str:
    """Under which name a value stands: a required field keeps its type, so that every line has the same shape."""
    misfit = name == "latency_ms" and type(shown) not in {int, float}
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
_ids: tuple[Any, str | None, str | None] = (None, None, None)


def timestamp() -> str:
    """The time in UTC to the microsecond (RFC 3339); what only changes once a second is kept."""
    global _second  # noqa: PLW0603 - one tuple, replaced whole, so that threads never see half of it
    seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
    known, text = _second
    if seconds != known:
        text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(seconds))
        _second = (seconds, text)
    return f"{text}{nanos // 1000:06d}Z"
