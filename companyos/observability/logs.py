"""Structured logs: one JSON object a line, with who, where in which trace, and secrets masked.

Levels: DEBUG (development only), INFO (something changed), WARN (an anomaly that a retry may cure), ERROR (a user
is affected), FATAL (the process must stop or restart).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import structlog

from companyos.observability.exceptions import type_name
from companyos.observability.lines import compose, encode, head
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
    into fields, or into a typed event (`emit`). Nothing is formatted, and nothing is written below the level in force.
    Logging never raises: what cannot be written is replaced by an event `observability.failed`.
    """

    def debug(self, event: str, /, **fields: Any) -> None:
        """For development only; written nowhere else."""
        if in_force[-1].rank < 1:
            self._say("DEBUG", event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        """Something changed."""
        if in_force[-1].rank < 2:
            self._say("INFO", event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """An anomaly that a retry may cure."""
        if in_force[-1].rank < 3:
            self._say("WARN", event, fields)

    warn = warning

    def error(self, event: str, /, **fields: Any) -> None:
        """A user is affected."""
        if in_force[-1].rank < 4:
            self._say("ERROR", event, fields)

    def exception(self, event: str, /, **fields: Any) -> None:
        """As `error`, with the exception being handled."""
        if in_force[-1].rank < 4:
            self._say("ERROR", event, {"exc_info": True, **fields})

    def fatal(self, event: str, /, **fields: Any) -> None:
        """The process must stop or restart."""
        self._say("FATAL", event, fields)

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
        secrets: only for values of the caller's own making, such as a method out of a fixed set, the template of a route,
        or what has gone through the redactor before.
        """
        if _RANKS[method] >= in_force[-1].rank:
            self._write(LEVELS[method], event, fields, trusted, error)

    def _say(self, level: str, event: str, fields: dict[str, Any]) -> None:
        error = _error(fields.pop("exc_info")) if "exc_info" in fields else None
        self._write(level, event, fields, _NOBODY, error)

    def _write(
        self, level: str, event: str, fields: Mapping[str, Any], trusted: frozenset[str], error: BaseException | None
    ) -> None:
        runtime = in_force[-1]
        try:
            bound = self._context
            line = compose(
                runtime, level, event, self._logger, (current_fields(), bound, fields), trusted=trusted, error=error
            )
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


def _error(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple) and len(exc_info) == 3:
        return exc_info[1] if isinstance(exc_info[1], BaseException) else None
    return sys.exc_info()[1] if exc_info else None
