"""Context in and out: W3C Trace Context and Baggage in headers, messages and CloudEvents, and into threads.

What comes from outside is a stranger's. A malformed `traceparent`, a `tracestate` or a baggage that breaks the rules or
is too long is ignored, as the specifications ask, counted in `companyos.propagation.rejected`, and never an error.
"""

from __future__ import annotations

import contextvars
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import quote, unquote

from opentelemetry import baggage as otel_baggage
from opentelemetry import context as otel_context
from opentelemetry import trace

from companyos.observability.redaction import as_text
from companyos.observability.runtime import current
from companyos.observability.scope import current_fields
from companyos.observability.semconv import PROPAGATION_REJECTED

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = (
    "Incoming",
    "carries",
    "carry",
    "extract",
    "headers_of",
    "outgoing_event_attributes",
    "outgoing_headers",
    "safe_id",
)

P = ParamSpec("P")
R = TypeVar("R")

MAX_BAGGAGE = 8192
"""Bytes of baggage that are looked at (W3C Baggage, "Limits"); more is ignored whole."""
MAX_MEMBERS = 64
"""Members of a baggage, likewise."""
MAX_STATE = 512
"""Characters of a tracestate (W3C Trace Context, "tracestate Limits")."""
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.{0,256})?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]{0,4096}")
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_NO_CONTEXT = otel_context.Context()
# The one key under which the API keeps a span: learnt from it, because its name is not public.
(_SPAN_KEY,) = trace.set_span_in_context(trace.INVALID_SPAN, _NO_CONTEXT)


class Incoming:
    """What a request or a message says about where it comes from."""

    __slots__ = ("baggage", "correlation_id", "parent")

    def __init__(
        self, parent: trace.SpanContext | None, baggage: Mapping[str, str] | None, correlation_id: str | None
    ) -> None:
        self.parent = parent
        """The span that caused it, if it names one."""
        self.baggage = baggage
        """Its baggage, if it has any."""
        self.correlation_id = correlation_id
        """Its correlation id, if well-formed."""

    def context(self) -> Context:
        """As a context of its own, which holds nothing of what happens to be in hand here."""
        made = _NO_CONTEXT
        for name, value in (self.baggage or {}).items():
            made = otel_baggage.set_baggage(name, value, made)
        return made

    def context_of(self, span: trace.Span) -> Context:
        """The same with `span` as the one in hand."""
        if self.baggage is None:
            return otel_context.Context({_SPAN_KEY: span})
        return trace.set_span_in_context(span, self.context())


_CARRIED = frozenset({"traceparent", "baggage", "x-correlation-id", "correlationid"})
_FROM_NOWHERE = Incoming(None, None, None)


def extract(headers: Mapping[str, str]) -> Incoming:
    """What headers say, whose names are in lower case; never an error."""
    if _CARRIED.isdisjoint(headers):
        return _FROM_NOWHERE
    chosen = current().propagators
    parent = baggage = None
    if "tracecontext" in chosen and "traceparent" in headers:
        parent = parse_parent(headers["traceparent"], headers.get("tracestate"))
    if "baggage" in chosen and "baggage" in headers:
        baggage = parse_baggage(headers["baggage"])
    return Incoming(parent, baggage, safe_id(headers.get("x-correlation-id") or headers.get("correlationid")))


def parse_parent(text: str, state: str | None) -> trace.SpanContext | None:
    """A `traceparent` with its `tracestate`; None, and counted, unless it is well-formed."""
    match = _PARENT.fullmatch(text.strip())
    # Version ff is forbidden, and only a later version may have more (W3C Trace Context, "Versioning").
    if match is None or match[1] == "ff" or (match[5] and match[1] == "00"):
        _reject("traceparent")
        return None
    trace_id, span_id = int(match[2], 16), int(match[3], 16)
    if not trace_id or not span_id:
        _reject("traceparent")
        return None
    return trace.SpanContext(trace_id, span_id, True, trace.TraceFlags(int(match[4], 16)), _state(state))


def _state(text: str | None) -> trace.TraceState | None:
    if not text:
        return None
    parsed = trace.TraceState.from_header([text]) if len(text) <= MAX_STATE and text.count(",") < 32 else None
    if not parsed and text.strip(" \t,"):
        _reject("tracestate")
    return parsed


def parse_baggage(text: str) -> dict[str, str] | None:
    """A baggage header; None, and counted, if it is too long; without the members that are malformed, also counted."""
    if len(text) > MAX_BAGGAGE or text.count(",") >= MAX_MEMBERS:
        _reject("baggage")
        return None
    found: dict[str, str] = {}
    for member in filter(None, (part.strip(" \t") for part in text.split(","))):
        name, equals, rest = member.partition("=")
        value = rest.partition(";")[0].strip(" \t")
        if not equals or not _TOKEN.fullmatch(name.strip(" \t")) or not _VALUE.fullmatch(value):
            _reject("baggage")
        else:
            found[name.strip(" \t")] = unquote(value)
    return found or None


def _reject(header: str) -> None:
    recorder = current().recorder
    if recorder is not None:
        recorder.add("counter", PROPAGATION_REJECTED, 1, header=header)


def safe_id(value: str | None) -> str | None:
    """An id that came from outside, or None unless it is 1 to 128 harmless characters."""
    return value if value and _SAFE_ID.fullmatch(value) else None


def carries(value: Any) -> bool:
    """Whether a value looks like a request, a message or headers."""
    return isinstance(value, Mapping | list | tuple) or hasattr(value, "headers") or hasattr(value, "get_attributes")


def headers_of(carrier: Any) -> dict[str, str]:
    """The headers of a request, an ASGI scope, a message or a CloudEvent, names in lower case; never an error.

    `carrier` is a mapping of names to values, a list of pairs, an object or a mapping with such `headers`, or a
    CloudEvent, whose attributes `traceparent` and `tracestate` count (CloudEvents "Distributed Tracing").
    """
    try:
        return _headers_of(carrier)
    except Exception:  # noqa: BLE001 - headers that cannot be read carry no trace; the work goes on
        return {}


def _headers_of(carrier: Any) -> dict[str, str]:
    if not isinstance(carrier, Mapping):
        within = getattr(carrier, "headers", None)
        if within is not None and not callable(within):
            return _headers_of(within)
        get_attributes = getattr(carrier, "get_attributes", None)
        if callable(get_attributes):
            return _headers_of(get_attributes())
        items: Any = carrier.items() if hasattr(carrier, "items") else carrier
        return _pairs(items) if isinstance(items, Iterable) and not isinstance(items, str | bytes) else {}
    if "specversion" not in carrier and isinstance(carrier.get("headers"), Mapping | list | tuple):
        return _headers_of(carrier["headers"])
    return _pairs(carrier.items())


def _pairs(items: Iterable[Any]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for pair in items:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            continue
        key, value = _text(pair[0]).lower(), pair[1]
        if isinstance(value, str | bytes | bytearray | memoryview):
            # RFC 9110 5.2: repeated fields are one list. A repeated traceparent so becomes malformed.
            headers[key] = f"{headers[key]},{_text(value)}" if key in headers else _text(value)
    return headers


def _text(value: object) -> str:
    """A header's name or value; bytes as HTTP has them."""
    return bytes(value).decode("latin-1") if isinstance(value, bytes | bytearray | memoryview) else as_text(value)


def outgoing_headers(headers: dict[str, str] | None = None) -> dict[str, str]:
    """Headers that carry the trace, the baggage and the correlation id in hand to the next service or into a message.

    They are added to `headers` if given, in place. Values of the baggage are masked like any other.
    """
    headers = {} if headers is None else headers
    runtime = current()
    if "tracecontext" in runtime.propagators:
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            headers["traceparent"] = f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags) & 1:02x}"
            if span.trace_state:
                headers["tracestate"] = span.trace_state.to_header()
    if "baggage" in runtime.propagators:
        baggage = _outgoing_baggage()
        if baggage:
            headers["baggage"] = baggage
    correlation = current_fields().get("correlation_id")
    if correlation:
        headers["x-correlation-id"] = str(correlation)
    return headers


def _outgoing_baggage() -> str:
    members: list[str] = []
    length = 0
    for name, value in current().redactor.baggage(otel_baggage.get_all()).items():
        # A name that was masked is no name any more.
        if len(members) == MAX_MEMBERS or not _TOKEN.fullmatch(name):
            continue
        member = f"{name}={quote(value, safe='')}"
        length += len(member) + 1
        if length > MAX_BAGGAGE:
            break
        members.append(member)
    return ",".join(members)


def outgoing_event_attributes() -> dict[str, str]:
    """The same as attributes of a CloudEvent: `traceparent`, `tracestate` and `correlationid`.

    As the extensions "Distributed Tracing" and "Correlation" of CloudEvents name them.
    """
    headers = outgoing_headers()
    names = {"traceparent": "traceparent", "tracestate": "tracestate", "x-correlation-id": "correlationid"}
    return {names[name]: value for name, value in headers.items() if name in names}


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, which will run in the context in hand now, in whatever thread it is called.

    For executors and threads: `executor.submit(carry(work), 7)`. Coroutines and `asyncio.to_thread` need no help.
    """
    context = contextvars.copy_context()

    @functools.wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        # A context can be entered once at a time; calls may overlap.
        return context.copy().run(function, *args, **kwargs)

    return carried
