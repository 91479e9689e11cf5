"""Traces: W3C Trace Context in and out, one call to start one.

Spans are recorded by `spans.SpanRecorder`. Where nothing is recorded (before `setup()`, or with OTEL_SDK_DISABLED) ids
are real all the same: made here, 16 and 8 random bytes as in W3C Trace Context, so that logs still correlate and
callers and callees still share a trace. The sampled flag is then the parent's; a trace begun here says sampled, so that
services further down that do record are not told to leave it out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace

from companyos.observability.errors import SetupError
from companyos.observability.exceptions import exception_fields, type_name
from companyos.observability.propagation import Incoming, carries, extract, headers_of
from companyos.observability.redaction import as_text
from companyos.observability.runtime import current
from companyos.observability.scope import boundary
from companyos.observability.spans import NOT_SAMPLED, SAMPLED, Span, new_span_id, new_trace_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context

__all__ = ("Trace", "begin", "current_span_id", "current_trace_id", "start_trace", "type_name")

KINDS = {kind.name.lower(): kind for kind in trace.SpanKind}
"""Kinds of spans by our names."""
MAX_ATTRIBUTE_BITS = 63
"""OTLP has no larger integers."""


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
        shown = attribute(key, value) if isinstance(self._span, Span) else None
        if shown is not None and isinstance(self._span, Span):
            self._span.put(current().redactor.text(key), shown)

    def rename(self, name: str) -> None:
        """Give the span another name."""
        self._span.update_name(as_text(name))

    def link(self, ctx: Any) -> None:
        """Link the span to the one that a request, a message or headers name, if they name one."""
        parent = extract(headers_of(ctx)).parent
        if parent is not None:
            self._span.add_link(parent)

    def fail(self, error: BaseException | str) -> None:
        """Mark the span as failed, with the exception (its text masked) or a short stable word such as `500`."""
        if isinstance(self._span, Span):
            mark_failed(self._span, error)


def mark_failed(span: Span, error: BaseException | str) -> None:
    """Mark a span as failed, with the exception (its text masked) or a short stable word."""
    if isinstance(error, BaseException):
        span.put_event("exception", dict(exception_fields(error)))
        span.put("error.type", type_name(error))
        span.set_status(trace.StatusCode.ERROR, as_text(error))
    else:
        span.put("error.type", error)
        span.set_status(trace.StatusCode.ERROR)


@contextmanager
def start_trace(
    name: Any = None,
    ctx: Any = None,
    *,
    headers: Mapping[str, str] | None = None,
    context: Context | None = None,
    kind: str = "internal",
    attributes: Mapping[str, Any] | None = None,
    links: Iterable[Any] = (),
) -> Iterator[Trace]:
    """Do the work of the `with` in a span of its own.

    `ctx` is what the work comes from: a request, an ASGI scope, a message, a CloudEvent, their headers (names in any
    case), or an OpenTelemetry `Context`. The parent is, if it is given, what its `traceparent` says, and none if that
    is missing or malformed; else the span in hand. Its baggage, and its `x-correlation-id` if well-formed, are in force
    for the work, and what is annotated inside stays inside: there a request or a message begins. `start_trace(ctx)`
    does without a name and takes one from `ctx`. `headers=` and `context=` say of what sort `ctx` is. `links` are
    further messages or requests that the work comes from.

    `kind` is `internal`, `server`, `client`, `producer` or `consumer`. An exception marks the span as failed and
    goes on.

    Raises:
        SetupError: there is no such kind, or neither a name nor a `ctx` is given.
    """
    name, headers, context = _arguments(name, ctx, headers, context)
    if kind not in KINDS:
        raise SetupError("no such kind of span", got=kind, expected=", ".join(sorted(KINDS)))
    incoming = None if headers is None else extract(headers_of(headers))
    parent = (otel_context.get_current() if context is None else context) if incoming is None else incoming.context()
    caused_by = trace.get_current_span(parent).get_span_context() if incoming is None else incoming.parent
    span = begin(name, caused_by, KINDS[kind], attributes or {})
    handle = Trace(span)
    for message in links:
        handle.link(message)
    token = otel_context.attach(trace.set_span_in_context(span, parent))
    try:
        with _scope_of(incoming):
            yield handle
    except Exception as error:
        handle.fail(error)
        raise
    finally:
        span.end()
        otel_context.detach(token)


def _arguments(
    name: Any, ctx: Any, headers: Mapping[str, str] | None, context: Context | None
) -> tuple[Any, Any, Context | None]:
    if ctx is None and name is not None and not isinstance(name, str) and carries(name):
        name, ctx = None, name
    if isinstance(ctx, otel_context.Context):
        context, ctx = ctx, None
    elif ctx is not None and headers is None:
        headers = ctx
    if name is None:
        if ctx is None and headers is None and context is None:
            raise SetupError("a trace needs a name", hint='start_trace("fetch_orders"), or start_trace(request)')
        name = _name_of(ctx)
    return name, headers, context


def _name_of(ctx: Any) -> str:
    """A name of few values: the method of a request, the type of an event; else `work`."""
    for key in ("method", "type", "ce-type"):
        value = ctx.get(key) if isinstance(ctx, Mapping) else getattr(ctx, key, None)
        if isinstance(value, str) and value and not (key == "type" and value in {"http", "websocket"}):
            return value[:64]
    return "work"


def _scope_of(incoming: Incoming | None) -> AbstractContextManager[None]:
    if incoming is None:
        return nullcontext()
    return boundary(correlation_id=incoming.correlation_id) if incoming.correlation_id else boundary()


def current_trace_id() -> str | None:
    """The trace id in hand, 32 hexadecimal digits, or None outside any trace."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


def current_span_id() -> str | None:
    """The span id in hand, 16 hexadecimal digits, or None outside any span."""
    context = trace.get_current_span().get_span_context()
    return f"{context.span_id:016x}" if context.is_valid else None


def begin(
    name: str, parent: trace.SpanContext | None, kind: trace.SpanKind, attributes: Mapping[str, Any]
) -> trace.Span:
    """A span that has begun, in whatever is in force; its name and attributes are masked."""
    runtime = current()
    recorder = runtime.recorder
    if recorder is None:
        return trace.NonRecordingSpan(_next_context(parent))
    mask = runtime.redactor.text
    masked = {mask(key): attribute(key, value) for key, value in attributes.items()}
    shown = {key: value for key, value in masked.items() if value is not None}
    return recorder.tracing.begin(mask(as_text(name)), parent, kind, recorder.tracing.fit(shown))


def _next_context(parent: trace.SpanContext | None) -> trace.SpanContext:
    if parent is not None and parent.is_valid:
        flags = SAMPLED if parent.trace_flags.sampled else NOT_SAMPLED
        return trace.SpanContext(parent.trace_id, new_span_id(), False, flags, parent.trace_state)
    return trace.SpanContext(new_trace_id(), new_span_id(), False, SAMPLED)


def attribute(key: str, value: Any) -> str | bool | int | float | None:
    """A value as an attribute of a span: masked, JSON where it is neither text nor number; None: it is left out."""
    masked = current().redactor.field(key, value)
    if masked is None:
        return None
    if isinstance(masked, int) and masked.bit_length() > MAX_ATTRIBUTE_BITS:
        return str(masked)
    return masked if isinstance(masked, str | bool | int | float) else json.dumps(masked)
