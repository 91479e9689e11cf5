"""Structured logs: one JSON object a line, with who, where in which trace, and secrets masked.

Levels: DEBUG (development only), INFO (something changed), WARN (an anomaly that a retry may cure), ERROR (a user
is affected), FATAL (the process must stop or restart).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import structlog

from companyos.observability.exceptions import type_name
from companyos.observability.lines import encode, head, plain_line, searched_line
from companyos.observability.redaction import as_text
from companyos.observability.runtime import LEVELS, ORDER, in_force
from companyos.observability.scope import current_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from companyos.observability.events import Event

__all__ = ("Logger", "get_logger")

_NOBODY: frozenset[str] = frozenset()
_RANKS = {method: ORDER[level] for method, level in LEVELS.items()}


class Logger(structlog.BoundLoggerBase):
    """A structlog logger: `bind`, `unbind`, `new`, and a method for each level.

    The first argument is the name of the event, stable and dotted (`orders.created`); everything that varies goes
    into fields, or into a typed event (`emit`). Nothing is written below the level in force. Arguments as `logging` has
    them (`info("%s is late", name)`) are formatted into the field `message`; the event keeps its name.
    Logging never raises: what cannot be written is replaced by an event `observability.failed`.
    """

    def debug(self, event: str, /, *args: object, **fields: Any) -> None:
        """For development only; written nowhere else."""
        if in_force[-1].rank < 1:
            self._write("DEBUG", event, _with_message(event, args, fields) if args else fields)

    def info(self, event: str, /, *args: object, **fields: Any) -> None:
        """Something changed."""
        if in_force[-1].rank < 2:
            self._write("INFO", event, _with_message(event, args, fields) if args else fields)

    def warning(self, event: str, /, *args: object, **fields: Any) -> None:
        """An anomaly that a retry may cure."""
        if in_force[-1].rank < 3:
            self._write("WARN", event, _with_message(event, args, fields) if args else fields)

    warn = warning

    def error(self, event: str, /, *args: object, **fields: Any) -> None:
        """A user is affected."""
        if in_force[-1].rank < 4:
            self._write("ERROR", event, _with_message(event, args, fields) if args else fields)

    def exception(self, event: str, /, *args: object, **fields: Any) -> None:
        """As `error`, with the exception being handled."""
        if in_force[-1].rank < 4:
            self._write("ERROR", event, {"exc_info": True, **(_with_message(event, args, fields) if args else fields)})

    def fatal(self, event: str, /, *args: object, **fields: Any) -> None:
        """The process must stop or restart."""
        self._write("FATAL", event, _with_message(event, args, fields) if args else fields)

    critical = fatal

    def emit(self, event: Event, *, error: BaseException | None = None) -> None:
        """Write a typed event at its level, each field treated as it is classified."""
        kind = type(event)
        if _RANKS[kind.event_level] >= in_force[-1].rank:
            self.write_event(kind.event_level, kind.event_name or kind.__qualname__, event.classified(), error=error)

    def write_event(
        self,
        method: str,
        event: str,
        fields: Mapping[str, Any],
        *,
        trusted: frozenset[str] = _NOBODY,
        error: BaseException | None = None,
    ) -> None:
        """Write an event whose fields are at hand as a mapping: the way in for middleware.

        `method` is a level's method, such as `info`. Texts and numbers under the names `trusted` are not searched for
        secrets: only for values of the caller's own making, such as a method out of a fixed set, the template of a
        route, or what has gone through the redactor before.
        """
        if _RANKS[method] >= in_force[-1].rank:
            self._write(LEVELS[method], event, fields, trusted, error)

    def _write(
        self,
        level: str,
        event: str,
        fields: Mapping[str, Any],
        trusted: frozenset[str] = _NOBODY,
        error: BaseException | None = None,
    ) -> None:
        runtime = in_force[-1]
        try:
            if "exc_info" in fields:
                error = _error(fields["exc_info"])
                fields = {key: value for key, value in fields.items() if key != "exc_info"}
            sources = (current_fields(), self._context, fields)
            line = plain_line(runtime, level, event, self._logger, sources, trusted) if error is None else None
            if line is None:
                line = searched_line(runtime, level, event, self._logger, sources, trusted, error)
        except Exception as failure:  # noqa: BLE001 - logging must not break what it logs; the failure is an event itself
            line = _lost(event, failure)
        runtime.write(line)


def get_logger(name: str | None = None, **bound: Any) -> Logger:
    """A logger whose events all carry the fields `bound`; `name` is usually `__name__`."""
    return Logger(name, [], bound)


def _lost(event: object, failure: Exception) -> bytes:
    runtime = in_force[-1]
    line = head(runtime, "ERROR", "observability.failed", None)
    return encode(line | {"lost_event": runtime.redactor.text(as_text(event)), "error.type": type_name(failure)})


def _with_message(event: object, args: tuple[object, ...], fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, with what `logging` would have made of the arguments: a habit of many hands must not raise."""
    try:
        message = as_text(event) % (args[0] if len(args) == 1 and isinstance(args[0], dict) else args)
    except Exception:  # noqa: BLE001 - the arguments do not fit the text: both are kept as they are
        message = f"{as_text(event)} {as_text(args)}"
    return {"message": message, **fields}


def _error(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple) and len(exc_info) == 3:
        return exc_info[1] if isinstance(exc_info[1], BaseException) else None
    # Anything but these asks for the exception in hand, by the rules of the standard library.
    return sys.exc_info()[1] if exc_info else None
