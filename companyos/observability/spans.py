"""A lean recorder of spans behind the OpenTelemetry API: what is recorded costs the request next to nothing.

`Tracer` and `Span` implement the API (`opentelemetry.trace`), so instrumented libraries record into the same traces.
A finished span goes into a ring as it is; only the thread that exports turns it into anything else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from random import getrandbits
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from companyos.observability.records import SpanRecord
from companyos.observability.redaction import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.util import types

    from companyos.observability.otel_env import Limits, Sampling

__all__ = (
    "NOT_SAMPLED",
    "PLAIN",
    "SAMPLED",
    "Span",
    "SpanRecorder",
    "Tracer",
    "TracerProvider",
    "Unsampled",
    "new_span_id",
    "new_trace_id",
)

SAMPLED = trace.TraceFlags(trace.TraceFlags.SAMPLED)
"""The flags of a recorded span."""
NOT_SAMPLED = trace.TraceFlags(trace.TraceFlags.DEFAULT)
"""The flags of a span that is not recorded."""
_KINDS = {kind: kind.name.lower() for kind in trace.SpanKind}
PLAIN = (str, bool, int, float)
"""Types that attributes may have."""

Attributes = dict[str, Any]
Event = tuple[str, int, Attributes]
Link = tuple[trace.SpanContext, Attributes]


def new_trace_id() -> int:
    """128 random bits, never all zero (W3C Trace Context)."""
    return getrandbits(128) or 1


def new_span_id() -> int:
    """64 random bits, never all zero."""
    return getrandbits(64) or 1


class SpanRecorder:
    """Where spans begin and where finished ones go."""

    def __init__(
        self,
        *,
        sampling: Sampling,
        limits: Limits,
        finish: Callable[[Span], None],
        mask: Callable[[str, Any], Any],
        mask_text: Callable[[str], str],
    ) -> None:
        self.sampling = sampling
        """Which traces are recorded."""
        self.limits = limits
        """How much a span may hold."""
        self.finish = finish
        """Called with every finished span."""
        self.mask = mask
        """Masks the value of an attribute, given its key."""
        self.mask_text = mask_text
        """Masks a name or a key."""

    def begin(
        self,
        name: str,
        parent: trace.SpanContext | None,
        kind: trace.SpanKind,
        attributes: Attributes,
        *,
        scope: tuple[str, str] = ("companyos", ""),
        start_ns: int | None = None,
    ) -> trace.Span:
        """A span that has begun; one that records nothing if the trace is not sampled.

        `name` and `attributes` are taken as they are: masked, plain, and the caller's to keep no more.
        """
        parent_sampled: bool | None = None
        if parent is None or not parent.is_valid:
            parent, trace_id = None, new_trace_id()
        else:
            trace_id, parent_sampled = parent.trace_id, parent.trace_flags.sampled
        if not self.sampling.takes(trace_id, parent_sampled):
            state = None if parent is None else parent.trace_state
            return Unsampled(trace_id, state)
        return Span(self, name, trace_id, parent, kind, attributes, scope, start_ns or time.time_ns())

    def fit(self, attributes: Attributes) -> Attributes:
        """Attributes that are masked and plain, cut to the limits."""
        limits = self.limits
        if limits.value_length is not None:
            attributes = {key: self.cut(value) for key, value in attributes.items()}
        return (
            attributes if len(attributes) <= limits.attributes else dict(list(attributes.items())[: limits.attributes])
        )

    def cut(self, value: Any) -> Any:
        """A value no longer than the limit."""
        limit = self.limits.value_length
        return value[:limit] if limit is not None and isinstance(value, str) else value

    def clean(self, attributes: Mapping[str, Any] | None, limit: int) -> tuple[Attributes, int]:
        """Attributes of others: masked, plain and no more than `limit`; and how many were left out."""
        kept: Attributes = {}
        left_out = 0
        for key, value in (attributes or {}).items():
            plain = self.clean_value(key, value)
            if plain is None or (len(kept) >= limit and key not in kept):
                left_out += 1
            else:
                kept[self.mask_text(str(key))] = plain
        return kept, left_out

    def clean_value(self, key: str, value: Any) -> Any:
        """A value that OTLP can carry: text, number, truth value or a sequence of them; None if it cannot be shown."""
        if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
            return tuple(item for item in (self.clean_value(key, part) for part in value) if item is not None)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        plain = self.mask(key, value)
        if not isinstance(plain, PLAIN):
            return None if plain is None else str(plain)
        if isinstance(plain, int) and plain.bit_length() > 63:
            return str(plain)
        return self.cut(plain)


class Unsampled(trace.NonRecordingSpan):
    """A span of a trace that is not recorded: two ids, and a context if anybody asks for it."""

    def __init__(self, trace_id: int, state: trace.TraceState | None) -> None:
        # Not the base's: it wants the context, which costs more than all the rest of such a span.
        self.trace_id = trace_id
        self.span_id = getrandbits(64) or 1
        self._state = state
        self._made: trace.SpanContext | None = None

    def get_span_context(self) -> trace.SpanContext:
        """As the API says; made when first asked for."""
        context = self._made
        if context is None:
            context = self._made = trace.SpanContext(self.trace_id, self.span_id, False, NOT_SAMPLED, self._state)
        return context

    def __repr__(self) -> str:
        return f"NonRecordingSpan({self.get_span_context()!r})"


class Span(trace.Span):
    """A span that is recorded."""

    def __init__(  # noqa: PLR0917 - made once a span, and keywords take their time
        self,
        recorder: SpanRecorder,
        name: str,
        trace_id: int,
        parent: trace.SpanContext | None,
        kind: trace.SpanKind,
        attributes: Attributes,
        scope: tuple[str, str],
        start_ns: int,
    ) -> None:
        self.name = name
        self.trace_id = trace_id
        self.span_id = getrandbits(64) or 1
        self.parent = parent
        self.kind = kind
        self.attributes = attributes
        self.scope = scope
        self.start_ns = start_ns
        self.end_ns = 0
        self.status = trace.StatusCode.UNSET
        self.description: str | None = None
        self.events: tuple[Event, ...] | list[Event] = ()
        self.links: tuple[Link, ...] | list[Link] = ()
        self.dropped = (0, 0, 0)
        """Attributes, events and links that did not fit."""
        self._recorder = recorder
        self._context: trace.SpanContext | None = None

    def get_span_context(self) -> trace.SpanContext:
        """As the API says; made when first asked for."""
        context = self._context
        if context is None:
            state = None if self.parent is None else self.parent.trace_state
            context = self._context = trace.SpanContext(self.trace_id, self.span_id, False, SAMPLED, state)
        return context

    def put(self, key: str, value: Any) -> None:
        """Set an attribute that is known to be masked and plain."""
        if self.end_ns:
            return
        if key not in self.attributes and len(self.attributes) >= self._recorder.limits.attributes:
            self._drop(0, 1)
        else:
            self.attributes[key] = self._recorder.cut(value)

    def put_event(self, name: str, attributes: Attributes) -> None:
        """Add an event that is known to be masked and plain."""
        self._add_event((name, time.time_ns(), attributes))

    def set_attribute(self, key: str, value: types.AnyValue) -> None:
        """As the API says; masked, and left out if it is not plain."""
        plain = self._recorder.clean_value(key, value)
        if plain is not None:
            self.put(self._recorder.mask_text(str(key)), plain)

    def set_attributes(self, attributes: Mapping[str, types.AnyValue]) -> None:
        """As the API says."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: types.Attributes = None, timestamp: int | None = None) -> None:
        """As the API says; masked."""
        kept, _ = self._recorder.clean(attributes, self._recorder.limits.event_attributes)
        self._add_event((self._recorder.mask_text(name), timestamp or time.time_ns(), kept))

    def add_link(self, context: trace.SpanContext, attributes: types.Attributes = None) -> None:
        """As the API says; a link to nothing is left out."""
        if self.end_ns or not context.is_valid:
            return
        if len(self.links) >= self._recorder.limits.links:
            self._drop(2, 1)
            return
        kept, _ = self._recorder.clean(attributes, self._recorder.limits.link_attributes)
        self.links = [*self.links, (context, kept)]

    def update_name(self, name: str) -> None:
        """As the API says; masked."""
        if not self.end_ns:
            self.name = self._recorder.mask_text(name)

    def is_recording(self) -> bool:
        """Until it has ended."""
        return not self.end_ns

    def set_status(self, status: trace.Status | trace.StatusCode, description: str | None = None) -> None:
        """As the API says: `ok` is final, `unset` changes nothing."""
        code = status.status_code if isinstance(status, trace.Status) else status
        said = status.description if isinstance(status, trace.Status) else description
        if self.end_ns or self.status is trace.StatusCode.OK or code is trace.StatusCode.UNSET:
            return
        self.status = code
        failed = code is trace.StatusCode.ERROR and said is not None
        self.description = self._recorder.mask_text(str(said)) if failed else None

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,  # noqa: ARG002 - the API's parameter; the conventions have dropped the attribute
    ) -> None:
        """As the API says; its texts masked."""
        from companyos.observability.exceptions import exception_fields

        self.add_event("exception", {**exception_fields(exception), **(attributes or {})}, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """As the API says; repeating it changes nothing."""
        if not self.end_ns:
            self.end_ns = end_time or time.time_ns()
            self._recorder.finish(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End, and mark as failed what an exception ended."""
        if isinstance(error, Exception):
            self.record_exception(error)
            self.set_status(trace.StatusCode.ERROR, f"{type(error).__name__}: {as_text(error)}")
        self.end()

    def record(self, resource: Mapping[str, Any]) -> SpanRecord:
        """As a plain value."""
        return SpanRecord(
            name=self.name,
            trace_id=f"{self.trace_id:032x}",
            span_id=f"{self.span_id:016x}",
            parent_id=None if self.parent is None else f"{self.parent.span_id:016x}",
            kind=_KINDS[self.kind],
            status=self.status.name.lower(),
            duration_ms=(self.end_ns - self.start_ns) / 1e6,
            attributes=dict(self.attributes),
            events=tuple((name, dict(attributes)) for name, _, attributes in self.events),
            links=tuple((f"{to.trace_id:032x}", f"{to.span_id:016x}") for to, _ in self.links),
            resource=dict(resource),
        )

    def _add_event(self, event: Event) -> None:
        if self.end_ns:
            return
        if len(self.events) >= self._recorder.limits.events:
            self._drop(1, 1)
        else:
            self.events = [*self.events, event]

    def _drop(self, place: int, count: int) -> None:
        dropped = list(self.dropped)
        dropped[place] += count
        self.dropped = (dropped[0], dropped[1], dropped[2])


class Tracer(trace.Tracer):
    """Begins spans as the API says, for instrumented libraries."""

    def __init__(self, recorder: SpanRecorder, name: str, version: str) -> None:
        self._recorder = recorder
        self._scope = (name, version)

    def start_span(  # noqa: PLR0917 - the API's signature
        self,
        name: str,
        context: Context | None = None,
        kind: trace.SpanKind = trace.SpanKind.INTERNAL,
        attributes: types.Attributes = None,
        links: Sequence[trace.Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: ARG002 - the API's parameter; what it asks is done by `__exit__`
        set_status_on_exception: bool = True,  # noqa: ARG002 - the same
    ) -> trace.Span:
        """As the API says; masked."""
        recorder = self._recorder
        kept, left_out = recorder.clean(attributes, recorder.limits.attributes)
        span = recorder.begin(
            recorder.mask_text(name),
            trace.get_current_span(context).get_span_context(),
            kind,
            kept,
            scope=self._scope,
            start_ns=start_time,
        )
        if isinstance(span, Span):
            span.dropped = (left_out, 0, 0)
            for link in links or ():
                span.add_link(link.context, link.attributes)
        return span

    @contextmanager
    def start_as_current_span(  # type: ignore[override]  # noqa: PLR0917 - the API's signature; its type is private
        self,
        name: str,
        context: Context | None = None,
        kind: trace.SpanKind = trace.SpanKind.INTERNAL,
        attributes: types.Attributes = None,
        links: Sequence[trace.Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[trace.Span]:
        """As the API says."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with trace.use_span(span, end_on_exit, record_exception, set_status_on_exception):
            yield span


class TracerProvider(trace.TracerProvider):
    """For instrumentation that wants a provider handed to it."""

    def __init__(self, recorder: SpanRecorder) -> None:
        self._recorder = recorder

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,  # noqa: ARG002 - the API's parameter
        attributes: types.Attributes = None,  # noqa: ARG002 - the API's parameter
    ) -> trace.Tracer:
        """As the API says."""
        return Tracer(self._recorder, instrumenting_module_name, instrumenting_library_version or "")
