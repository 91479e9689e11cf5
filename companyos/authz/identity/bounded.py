"""Connections to PostgreSQL that do not wait for ever: a server that stands still does not even answer an error."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from companyos._extras import require

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ("TooLateError", "bounded")


class TooLateError(OSError):
    """No answer in time; the connection is of no use any more."""


def bounded(seconds: float) -> Any:
    """A class of psycopg connections that give up on any one answer after so many seconds."""
    return _kind(require("psycopg", extra="identity").Connection, seconds)


def _kind(base: Any, seconds: float) -> Any:
    class Bounded(base):  # type: ignore[misc] # psycopg is optional, so its classes are not known here
        def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
            return super().wait(_within(gen, self, time.monotonic() + seconds), *arguments, **options)

    return Bounded


def _within(gen: Generator[Any, Any, Any], connection: Any, until: float) -> Generator[Any, Any, Any]:
    """What libpq waits for, as long as there is time; psycopg looks in several times a second."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > until:
                connection.pgconn.finish()
                raise TooLateError("no answer in time")
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value
