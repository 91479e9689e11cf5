"""Consumers: one span, one event and the golden metrics for each message or job, by the messaging conventions."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Mapping
from random import getrandbits
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from opentelemetry import context as otel_context
from opentelemetry import trace

from companyos.observability.golden import Golden
from companyos.observability.logs import get_logger
from companyos.observability.propagation import Incoming, carries, extract, headers_of, safe_id
from companyos.observability.runtime import current
from companyos.observability.scope import current_fields, enter, leave
from companyos.observability.semconv import MESSAGING_ACTIVE_JOBS, MESSAGING_PROCESS_DURATION
from companyos.observability.spans import Span
from companyos.observability.tracing import begin, mark_failed, type_name

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

__all__ = ("Consumer", "Work", "consumer")

F = TypeVar("F", bound=Callable[..., Any])

_log = get_logger("companyos.observability.consuming")
_MESSAGING = Golden(MESSAGING_PROCESS_DURATION, MESSAGING_ACTIVE_JOBS)


def consumer(
    destination: str,
    *,
    system: str = "jobs",
    operation: str = "process",
    batch: bool = False,
    carrier: Callable[..., Any] | None = None,
) -> Consumer:
    """What observes the processing of messages from a queue, or of jobs; decorates a function, sync or async.

    Each call gets one span of kind consumer, one event `messaging.process`, `messaging.process.duration` and
    `messaging.client.active_jobs`, with `messaging.system`, `messaging.operation.name` and
    `messaging.destination.name`. The parent is the span that sent the message, its correlation id ties the events
    together, and both are found in the first argument that has headers or is a mapping; `carrier`, called with the same
    arguments, says where else. With `batch` that argument holds many messages, and the span is linked to the sender of
    each. `system` is as in the conventions (`kafka`, `rabbitmq`, ...); `jobs` is for work that no broker hands out.

    An exception is recorded and goes on, so that the broker redelivers. An error of the recording is logged and goes
    nowhere.
    """
    return Consumer(destination, system=system, operation=operation, batch=batch, carrier=carrier)


class Consumer:
    """Decorates functions, and observes single pieces of work by `work()`."""

    def __init__(
        self, destination: str, *, system: str, operation: str, batch: bool, carrier: Callable[..., Any] | None
    ) -> None:
        self.key = (system, operation, destination)
        """Message system, name of the operation, and where the messages come from."""
        self._batch = batch
        self._carrier = carrier

    def __call__(self, function: F) -> F:
        """Observe every call of `function`."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def later(*args: Any, **kwargs: Any) -> Any:
                with self._work(args, kwargs):
                    return await function(*args, **kwargs)

            return cast("F", later)

        @functools.wraps(function)
        def now(*args: Any, **kwargs: Any) -> Any:
            with self._work(args, kwargs):
                return function(*args, **kwargs)

        return cast("F", now)

    def work(self, message: Any = None) -> Work:
        """The processing of one message (with `batch`: of all in `message`), for a `with`."""
        return Work(self.key, message, batch=self._batch)

    def _work(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Work:
        if self._carrier is None:
            return self.work(next((value for value in (*args, *kwargs.values()) if carries(value)), None))
        try:
            return self.work(self._carrier(*args, **kwargs))
        except Exception:  # noqa: BLE001 - observing must not break what it observes; the failure is logged
            _log.exception("observability.failed", action="carrier")
            return self.work()


class Work:
    """The processing of one message or job, as a context manager."""

    def __init__(self, key: tuple[str, str, str], message: Any, *, batch: bool) -> None:
        self._key = key
        self._message = message
        self._batch = batch
        self._started = time.perf_counter()
        self._span: trace.Span | None = None
        self._active: Any = None
        self._tokens: tuple[Token[Any], Token[Any] | None] | None = None

    def __enter__(self) -> Self:
        fields = {"request_id": f"{getrandbits(128):032x}"}
        attached = None
        try:
            headers = {} if self._batch else headers_of(self._message)
            incoming = extract(headers)
            message_id = None if self._batch else _message_id(self._message, headers)
            if message_id is not None:
                fields["request_id"] = message_id
            span = self._span = self._begin(incoming, message_id)
            fields["correlation_id"] = incoming.correlation_id or f"{span.get_span_context().trace_id:032x}"
            attached = otel_context.attach(incoming.context_of(span))
            recorder = current().recorder
            if recorder is not None:
                self._active = _MESSAGING.active(recorder, ("jobs", *self._key), _tags)
                self._active.add(1)
        except Exception:  # noqa: BLE001 - observing must not break what it observes; the failure is logged
            _log.exception("observability.failed", action="begin")
        self._tokens = enter(**fields), attached
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._started
        try:
            self._conclude(seconds, error)
        except Exception:  # noqa: BLE001 - observing must not break what it observes; the failure is logged
            _log.exception("observability.failed", action="finish")
        finally:
            if self._tokens is not None:
                leave(self._tokens[0])
                if self._tokens[1] is not None:
                    otel_context.detach(self._tokens[1])

    def _begin(self, incoming: Incoming, message_id: str | None) -> trace.Span:
        system, operation, destination = self._key
        attributes: dict[str, Any] = {
            "messaging.system": system,
            "messaging.operation.name": operation,
            "messaging.operation.type": "process",
            "messaging.destination.name": destination,
            "messaging.message.id": message_id,
        }
        messages = list(self._message or ()) if self._batch else []
        if self._batch:
            attributes["messaging.batch.message_count"] = len(messages)
        span = begin(f"{operation} {destination}", incoming.parent, trace.SpanKind.CONSUMER, attributes)
        for message in messages:
            sender = extract(headers_of(message)).parent
            if sender is not None:
                span.add_link(sender)
        return span

    def _conclude(self, seconds: float, error: BaseException | None) -> None:
        if self._active is not None:
            self._active.add(-1)
        failed = error if isinstance(error, Exception) else None
        recorded = self._span if isinstance(self._span, Span) else None
        if recorded is not None:
            if failed is not None:
                mark_failed(recorded, failed)
            recorded.end(recorded.start_ns + int(seconds * 1e9))
        elif self._span is not None:
            self._span.end()
        recorder = current().recorder
        if recorder is not None:
            key = ("job", *self._key, None if failed is None else type_name(failed))
            _MESSAGING.record(recorder, key, _tags, seconds, recorded)
        _event(self._key, seconds, error)


def _event(key: tuple[str, str, str], seconds: float, error: BaseException | None) -> None:
    # Whether the work was done is not known of what was cancelled.
    outcome = "success" if error is None else "failure" if isinstance(error, Exception) else "unknown"
    fields = {"action": key[1], "resource": key[2], "outcome": outcome, "latency_ms": round(seconds * 1000, 3)}
    known = current_fields()
    fields = {name: value for name, value in fields.items() if name not in known}
    if isinstance(error, Exception):
        _log.write_event("error", "messaging.process", fields, error=error)
    else:
        _log.write_event("info", "messaging.process", fields)


def _tags(key: tuple[Any, ...]) -> dict[str, Any]:
    names = ("messaging.system", "messaging.operation.name", "messaging.destination.name", "error.type")
    return {name: value for name, value in zip(names, key[1:], strict=False) if value is not None}


def _message_id(message: Any, headers: Mapping[str, str]) -> str | None:
    for name in ("message-id", "message_id", "ce-id", "x-message-id"):
        if name in headers:
            return safe_id(headers[name])
    if "specversion" in headers:
        return safe_id(headers.get("id"))
    value = getattr(message, "message_id", None)
    return safe_id(value) if isinstance(value, str) else None
