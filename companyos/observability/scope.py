"""What is known about the work in hand: correlation id, request id, subject; carried through threads and tasks."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextvars import Token

__all__ = (
    "annotate",
    "bind",
    "boundary",
    "current_correlation_id",
    "current_fields",
    "current_request_id",
    "enter",
    "leave",
)


class _Scope:
    __slots__ = ("fields", "parent")

    def __init__(self, fields: dict[str, Any], parent: _Scope | None) -> None:
        self.fields = fields
        self.parent = parent


_scope: ContextVar[_Scope | None] = ContextVar("companyos_scope", default=None)
_NOTHING: Mapping[str, Any] = {}


@contextmanager
def bind(**fields: Any) -> Iterator[None]:
    """Give every event logged inside the `with` these fields; None takes a field away."""
    outer = _scope.get()
    merged = {**(outer.fields if outer else _NOTHING), **fields}
    token = _scope.set(_Scope({key: value for key, value in merged.items() if value is not None}, outer))
    try:
        yield
    finally:
        _scope.reset(token)


@contextmanager
def boundary(**fields: Any) -> Iterator[None]:
    """As `bind`, and what is annotated inside stays inside: where a request or a message begins.

    Without it a scope around a whole server would hand what one request has learnt to the next.
    """
    token = enter(**fields)
    try:
        yield
    finally:
        leave(token)


def enter(**fields: Any) -> Token[Any]:
    """As `boundary`, for who cannot use a `with`; `leave` undoes it."""
    outer = _scope.get()
    return _scope.set(_Scope(fields if outer is None else {**outer.fields, **fields}, None))


def leave(token: Token[Any]) -> None:
    """Undo `enter`."""
    _scope.reset(token)


def annotate(**fields: Any) -> None:
    """Add fields to the work in hand, up to and including the request's own access event.

    For what is learnt on the way, such as `subject_id` after authentication. It reaches outwards from threads and
    tasks too, up to where the request or message began; outside any `bind` or request it does nothing.
    """
    scope = _scope.get()
    while scope is not None:
        scope.fields.update(fields)
        scope = scope.parent


def current_fields() -> Mapping[str, Any]:
    """The fields of the work in hand."""
    scope = _scope.get()
    return _NOTHING if scope is None else scope.fields


def current_correlation_id() -> str | None:
    """The id that ties together all that one cause brought about: as bound, else the trace id, else None."""
    from companyos.observability.tracing import current_trace_id

    return current_fields().get("correlation_id") or current_trace_id()


def current_request_id() -> str | None:
    """The id of the request in hand, if there is one."""
    value: str | None = current_fields().get("request_id")
    return value
