"""Structured logs: one JSON object a line, with who, where in which trace, and secrets masked.

Levels: DEBUG (development only), INFO (something changed), WARN (an anomaly that a retry may cure), ERROR (a user
is affected), FATAL (the process must stop or restart).
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from opentelemetry import trace

from companyos.observability.redaction import Room, as_text
from companyos.observability.runtime import LEVELS, ORDER, current
from companyos.observability.scope import current_fields
from companyos.observability.semconv import SEVERITY
from companyos.observability.tracing import exception_fields, type_name

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ("Logger", "get_logger")

RESERVED = frozenset(
    {"timestamp", "level", "severity_number", "event", "logger", "trace_id", "span_id"}
    | {"service", "env", "version", "revision"}
)
"""Fields that say what the event is and where it comes from. A caller's field of the same name is kept under
`extra.<name>`, so that nobody can forge them."""

_TAKEN = frozenset({"event", "method_name"})
"""Names of structlog's own parameters, which a field of the same name would collide with."""


class Logger(structlog.BoundLoggerBase):
    """A structlog logger: `bind`, `unbind`, `new`, and a method for each level.

    The first argument is the name of the event, stable and dotted (`orders.created`); everything that varies goes
    into fields. Nothing is formatted, and nothing is written below the level in force. Logging never raises: what
    cannot be written is replaced by an event `observability.failed`.
    """

    def debug(self, event: str, /, **fields: Any) -> None:
        """For development only; never written in `prod`."""
        self._say("debug", event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        """Something changed."""
        self._say("info", event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """An anomaly that a retry may cure."""
        self._say("warning", event, fields)

    warn = warning

    def error(self, event: str, /, **fields: Any) -> None:
        """A user is affected."""
        self._say("error", event, fields)

    def exception(self, event: str, /, **fields: Any) -> None:
        """As `error`, with the exception being handled."""
        self._say("error", event, {"exc_info": True, **fields})

    def fatal(self, event: str, /, **fields: Any) -> None:
        """The process must stop or restart."""
        self._say("fatal", event, fields)

    critical = fatal

    def _say(self, method: str, event: str, fields: dict[str, Any]) -> None:
        if ORDER[LEVELS[method]] < current().rank:
            return
        try:
            for taken in _TAKEN & fields.keys():
                fields[f"extra.{taken}"] = fields.pop(taken)
            self._proxy_to_logger(method, event, **fields)
        except Exception as error:  # noqa: BLE001 - logging must not break what it logs; the failure is an event itself
            lost = {"lost_event": current().redactor.text(as_text(event)), "error.type": type_name(error)}
            current().write(_encode({**_head("error"), "event": "observability.failed", **current().fields, **lost}))


class _Sink:
    """Writes to whatever is in force when the line is written, so that loggers may be made before `setup()`."""

    def __getattr__(self, method: str) -> Any:
        if method in LEVELS:
            return self.write
        raise AttributeError(method)

    @staticmethod
    def write(line: str) -> None:
        current().write(line)


def get_logger(name: str | None = None, **bound: Any) -> Logger:
    """A logger whose events all carry the fields `bound`; `name` is usually `__name__`."""
    context = dict(bound) if name is None else {"logger": name, **bound}
    return Logger(_Sink(), [_render], context)


def _render(_logger: Any, method: str, given: MutableMapping[str, Any]) -> str:
    runtime = current()
    room = Room()
    event = {
        **_head(method),
        "event": runtime.redactor.text(as_text(given.pop("event")), room),
        **runtime.fields,
    }
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        event["trace_id"] = event["correlation_id"] = f"{span.trace_id:032x}"
        event["span_id"] = f"{span.span_id:016x}"
    name = given.pop("logger", None)
    if name is not None:
        event["logger"] = runtime.redactor.text(as_text(name), room)
    error = _error(given.pop("exc_info", None))
    # Before the fields, so that these cannot crowd it out.
    failure = {} if error is None else exception_fields(error, room)
    fields = {key: value for source in (current_fields(), given) for key, value in source.items() if value is not None}
    for number, (key, value) in enumerate(fields.items()):
        if room.left <= 0:
            event["..."] = f"{len(fields) - number} more"
            break
        shown = runtime.redactor.text(key, room)
        event[f"extra.{shown}" if shown in RESERVED else shown] = runtime.redactor.field(key, value, room)
    event.update(failure)
    return _encode(event)


def _head(method: str) -> dict[str, Any]:
    level = LEVELS[method]
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {"timestamp": now, "level": level, "severity_number": SEVERITY[level]}


def _error(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple) and len(exc_info) == 3:
        return exc_info[1] if isinstance(exc_info[1], BaseException) else None
    return sys.exc_info()[1] if exc_info else None


# ASCII only: one event stays one line for every reader, and any stream can carry it.
_encode = json.JSONEncoder(ensure_ascii=True, check_circular=False, separators=(",", ":")).encode
