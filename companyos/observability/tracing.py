"""Traces: W3C Trace Context in and out, one call to start one.

With the extra `[observability]` spans are recorded by the OpenTelemetry SDK. Without it nothing is recorded, but ids
are real: made here, 16 and 8 random bytes as in W3C Trace Context, so that logs still correlate and callers and
callees still share a trace. The sampled flag is then the parent's; a trace begun here says sampled, so that services
further down that do record are not told to leave it out.
"""

from __future__ import annotations

import json
import re
import secrets
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from companyos.observability.errors import SetupError
from companyos.observability.exceptions import exception_fields, type_name
from companyos.observability.redaction import as_text
from companyos.observability.runtime import current
from companyos.observability.scope import boundary, current_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.context import Context

__all__ = ("Trace", "current_span_id", "current_trace_id", "outgoing_headers", "safe_id", "start_trace", "type_name")

_PROPAGATOR = TraceContextTextMapPropagator()
_KINDS = {kind.name.lower(): kind for kind in trace.SpanKind}
MAX_ATTRIBUTE_BITS = 63
"""OTLP has no larger integers."""
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


class Trace:
    """The span in hand."""

    __slots__ = ("_span", "span_id", "trace_id")

    def __init__(self, span: trace.Span) -> None:
        context = span.get_span_context()
        self._span = span
        self.trace_id: str = f"{context.trace_id:032x}"
        """32 lower-case hexadecimal digits."""
        self.span_id: str = f"{context.span_id:016x}"
        """16 lower-case hexadecimal digits."""

    def set(self, key: str, value: Any) -> None:
        """Set an attribute of the span; secrets are masked, None is left out."""
        shown = _attribute(key, value) if self._span.is_recording() else None
        if shown is not None:
            self._span.set_attribute(current().redactor.text(key), shown)

    def rename(self, name: str) -> None:
        """Give the span another name."""
        self._span.update_name(current().redactor.text(as_text(name)))

    def fail(self, error: BaseException | str) -> None:
        """Mark the span as failed, with the exception (its text masked) or a short stable word such as `500`."""
        if not self._span.is_recording():
            return
        if isinstance(error, BaseException):
            self._span.add_event("exception", exception_fields(error))
            self._span.set_attribute("error.type", type_name(error))
            self._span.set_status(trace.StatusCode.ERROR, current().redactor.text(as_text(error)))
        else:
            self._span.set_attribute("error.type", error)
            self._span.set_status(trace.StatusCode.ERROR)


@contextmanager
def start_trace(
    name: str,
    *,
    headers: Mapping[str, str] | None = None,
    context: Context | None = None,
    kind: str = "internal",
    attributes: Mapping[str, Any] | None = None,
) -> Iterator[Trace]:
    """Do the work of the `with` in a span of its own.

    Its parent is, if `headers` (of a request or a message; names in any case) are given, what their `traceparent`
    says, and none if that is missing or malformed; else the OpenTelemetry `context`; else the span in hand. A
    well-formed `x-correlation-id` among the headers is bound for the work.

    What is annotated inside a span with `headers` stays inside: there a request or a message begins.

    `kind` is `internal`, `server`, `client`, `producer` or `consumer`. An exception marks the span as failed and
    goes on.

    Raises:
        SetupError: there is no such kind.
    """
    if kind not in _KINDS:
        raise SetupError("no such kind of span", got=kind, expected=", ".join(sorted(_KINDS)))
    parent, correlation = _incoming(headers, context)
    span = _start(name, parent, _KINDS[kind], attributes or {})
    token = otel_context.attach(trace.set_span_in_context(span, parent))
    handle = Trace(span)
    try:
        with _scope_of(headers, correlation):
            yield handle
    except Exception as error:
        handle.fail(error)
        raise
    finally:
        span.end()
        otel_context.detach(token)


def _scope_of(headers: Mapping[str, str] | None, correlation: str | None) -> AbstractContextManager[None]:
    if headers is None:
        return nullcontext()
    return boundary(correlation_id=correlation) if correlation else boundary()


def outgoing_headers() -> dict[str, str]:
    """Headers that carry the trace and the correlation id in hand to the next service or into a message."""
    headers: dict[str, str] = {}
    _PROPAGATOR.inject(headers)
    correlation = current_fields().get("correlation_id")
    if correlation:
        headers["x-correlation-id"] = str(correlation)
    return headers


def current_trace_id() -> str | None:
    """The trace id in hand, 32 hexadecimal digits, or None outside any trace."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


def current_span_id() -> str | None:
    """The span id in hand, 16 hexadecimal digits, or None outside any span."""
    context = trace.get_current_span().get_span_context()
    return f"{context.span_id:016x}" if context.is_valid else None


def safe_id(value: str | None) -> str | None:
    """An id that came from outside, or None unless it is 1 to 128 harmless characters."""
    return value if value and _SAFE_ID.fullmatch(value) else None


def _incoming(headers: Mapping[str, str] | None, context: Context | None) -> tuple[Context, str | None]:
    if headers is None:
        return (otel_context.get_current() if context is None else context), None
    lower = _lowered(headers)
    # A context of its own: what a stranger sent must not become a child of whatever happens to be in hand here.
    parent = _PROPAGATOR.extract(lower, context=otel_context.Context())
    return parent, safe_id(lower.get("x-correlation-id"))


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    try:
        return {name.lower(): value for name, value in headers.items()}
    except Exception:  # noqa: BLE001 - headers that cannot be read carry no trace; the work goes on
        return {}


def _start(name: str, parent: Context, kind: trace.SpanKind, attributes: Mapping[str, Any]) -> trace.Span:
    recorder = current().recorder
    if recorder is None:
        return trace.NonRecordingSpan(_next_context(trace.get_current_span(parent).get_span_context()))
    mask = current().redactor.text
    masked = {mask(key): _attribute(key, value) for key, value in attributes.items()}
    shown = {key: value for key, value in masked.items() if value is not None}
    return recorder.tracer.start_span(
        mask(as_text(name)), parent, kind, shown, record_exception=False, set_status_on_exception=False
    )


def _next_context(parent: trace.SpanContext) -> trace.SpanContext:
    if parent.is_valid:
        return trace.SpanContext(parent.trace_id, _random(8), False, parent.trace_flags, parent.trace_state)
    return trace.SpanContext(_random(16), _random(8), False, trace.TraceFlags(trace.TraceFlags.SAMPLED))


def _random(size: int) -> int:
    # All zeros is the one value that Trace Context forbids.
    return int.from_bytes(secrets.token_bytes(size)) or 1


def _attribute(key: str, value: Any) -> str | bool | int | float | None:
    masked = current().redactor.field(key, value)
    if masked is None:
        return None
    if isinstance(masked, int) and masked.bit_length() > MAX_ATTRIBUTE_BITS:
        return str(masked)
    return masked if isinstance(masked, str | bool | int | float) else json.dumps(masked)
