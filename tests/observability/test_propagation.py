"""Context across processes, messages, tasks and threads; and what strangers send in its place."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import threading
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from companyos import observability
from companyos.observability import SetupError, outgoing_event_attributes, outgoing_headers, start_trace
from companyos.observability.propagation import MAX_BAGGAGE, parse_baggage, parse_parent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def rejected(service):
    """How many headers were ignored, by their names."""
    points = service.observability.metrics("companyos.propagation.rejected")
    return {point.attributes["header"]: point.value for point in points}


CARRIERS = {
    "headers": {"traceparent": PARENT},
    "headers of bytes": {b"traceparent": PARENT.encode()},
    "pairs": [("Traceparent", PARENT)],
    "an ASGI scope": {"type": "http", "method": "GET", "headers": [(b"traceparent", PARENT.encode())]},
    "a request": SimpleNamespace(headers={"traceparent": PARENT}, method="GET"),
    "a message of Kafka": SimpleNamespace(headers=[("traceparent", PARENT.encode())]),
    "a message as a mapping": {"body": "x", "headers": {"traceparent": PARENT}},
    "a CloudEvent": {"specversion": "1.0", "type": "sold", "source": "/shop", "id": "1", "traceparent": PARENT},
    "a CloudEvent of the SDK": SimpleNamespace(get_attributes=lambda: {"specversion": "1.0", "traceparent": PARENT}),
}


@pytest.mark.parametrize("case", CARRIERS)
def test_a_trace_continues_from(service, case):
    """Whatever carries a traceparent is taken as it is, with a name and without."""
    with start_trace("work", CARRIERS[case]) as named, start_trace(CARRIERS[case]) as unnamed:
        pass
    assert (named.trace_id, unnamed.trace_id) == (TRACE, TRACE)
    assert {span.parent_id for span in service.observability.spans()} == {SPAN}


@pytest.mark.parametrize(
    ("case", "name"), [("an ASGI scope", "GET"), ("a request", "GET"), ("a CloudEvent", "sold"), ("headers", "work")]
)
def test_names_of_traces_without_a_name(service, case, name):
    """A trace without a name has that of the method or of the type of event, which are few."""
    with start_trace(CARRIERS[case]):
        pass
    assert [span.name for span in service.observability.spans()] == [name]


def test_a_trace_of_nothing():
    """Neither a name nor a context is a mistake."""
    with pytest.raises(SetupError, match="needs a name"), start_trace():
        pass


def test_an_opentelemetry_context_is_the_parent(service):
    """A context that instrumentation hands over is followed."""
    parent = trace.NonRecordingSpan(trace.SpanContext(1, 2, True, trace.TraceFlags(1)))
    with start_trace("work", trace.set_span_in_context(parent, otel_context.Context())) as inner:
        assert inner.trace_id == f"{1:032x}"
    assert service.observability.spans()[0].parent_id == f"{2:016x}"


HOSTILE = {
    "10 kB": "a" * 10_240,
    "unicode digits": f"00-{TRACE[:-1]}\u0661-{SPAN}-01",
    "line break": f"{PARENT}\r\nx: y",
    "more in version 00": f"{PARENT}-more",
    "version ff": f"ff-{TRACE}-{SPAN}-01",
    "zeros": f"00-{'0' * 32}-{SPAN}-01",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_traceparent_is_ignored_and_counted(service, case):
    """What is no traceparent begins a new trace, and /metrics tells how many there were."""
    with start_trace("in", {"traceparent": HOSTILE[case]}) as inner:
        assert inner.trace_id != TRACE
    assert rejected(service) == {"traceparent": 1}
    assert 'companyos_propagation_rejected_total{service_name="orders"' in observability.metrics_text()


def test_a_later_version_may_have_more(service):
    """A version that does not exist yet is followed as far as it is understood (W3C, "Versioning of traceparent")."""
    with start_trace("in", {"traceparent": f"cc-{TRACE}-{SPAN}-01-what-the-future-brings"}) as inner:
        assert inner.trace_id == TRACE
    assert rejected(service) == {}


@pytest.mark.parametrize(
    "state", ["no equals sign", "a=1,a=2", "k=" + "v" * 600, ",".join(f"k{n}=1" for n in range(40))]
)
def test_a_malformed_tracestate_leaves_the_parent(service, state):
    """The parent is followed without it."""
    with start_trace("in", {"traceparent": PARENT, "tracestate": state}) as inner:
        assert (inner.trace_id, "tracestate" in outgoing_headers()) == (TRACE, False)
    assert rejected(service) == {"tracestate": 1}


def test_baggage_travels(service):
    """What came in goes out, and the API shows it; outside it is gone."""
    headers = {"baggage": "tenant=t-1;prop=1, plan = gold%20one ,"}
    with start_trace("in", headers):
        assert baggage.get_all() == {"tenant": "t-1", "plan": "gold one"}
        assert outgoing_headers()["baggage"] == "tenant=t-1,plan=gold%20one"
    assert baggage.get_all() == {}
    assert rejected(service) == {}


def test_baggage_is_masked_on_its_way_out(service):
    """Neither a secret nor an address goes on to the next service, under whatever name."""
    token = outgoing = None
    for name, value in (("session", "s3cr3t"), ("who", "ann@example.org"), ("plan", "gold")):
        token = otel_context.attach(baggage.set_baggage(name, value))
    outgoing = outgoing_headers()["baggage"]
    otel_context.detach(token)
    otel_context.attach(otel_context.Context())
    assert "plan=gold" in outgoing
    assert "s3cr3t" not in outgoing
    assert "ann" not in outgoing


BAD_BAGGAGE = {"10 kB": "k=" + "v" * 10_240, "members": ",".join(f"k{n}=v" for n in range(100)), "words": "a b c"}


@pytest.mark.parametrize("case", BAD_BAGGAGE)
def test_hostile_baggage_is_ignored_and_counted(service, case):
    """Baggage beyond the limits or without its form is not taken."""
    with start_trace("in", {"traceparent": PARENT, "baggage": BAD_BAGGAGE[case]}) as inner:
        assert (baggage.get_all(), inner.trace_id) == ({}, TRACE)
    assert rejected(service) == {"baggage": 1}


def test_propagators_can_be_chosen(make_service, monkeypatch):
    """With OTEL_PROPAGATORS=none nothing is taken and nothing sent; the correlation id is ours and stays."""
    monkeypatch.setenv("OTEL_PROPAGATORS", "none")
    make_service()
    with start_trace("in", {"traceparent": PARENT, "baggage": "a=b", "x-correlation-id": "case-9"}) as inner:
        assert inner.trace_id != TRACE
        assert outgoing_headers() == {"x-correlation-id": "case-9"}


def test_a_cloud_event_carries_the_trace(service):
    """Its attributes are those of the extensions, and lead back to the same trace and correlation id."""
    with start_trace("out", {"traceparent": PARENT, "x-correlation-id": "case-9"}) as sender:
        event = {"specversion": "1.0", "type": "sold", "source": "/shop", "id": "1", **outgoing_event_attributes()}
    assert all(re.fullmatch("[a-z0-9]+", name) for name in event)
    with start_trace("in", event) as receiver:
        assert observability.current_correlation_id() == "case-9"
    assert receiver.trace_id == TRACE
    assert service.observability.spans()[-1].parent_id == sender.span_id


def test_headers_are_added_to_those_of_a_message(service):
    """A message keeps what it has."""
    message = {"content-type": "text/plain"}
    with start_trace("out") as sender:
        assert outgoing_headers(message) is message
    assert (message["content-type"], message["traceparent"][3:35]) == ("text/plain", sender.trace_id)


def test_tasks_inherit_and_keep_apart(service):
    """Tasks of asyncio see the trace they were begun in, and not each other's."""

    async def inner(name):
        with start_trace(name) as span:
            await asyncio.sleep(0)
            return span.trace_id, observability.current_span_id() == span.span_id

    async def outer():
        with start_trace("outer") as span:
            return span.trace_id, await asyncio.gather(*(inner(f"t{n}") for n in range(20)))

    trace_id, seen = asyncio.run(outer())
    assert seen == [(trace_id, True)] * 20
    outside = service.observability.spans()[-1]
    assert {span.parent_id for span in service.observability.spans()[:-1]} == {outside.span_id}


def test_threads_are_given_the_context(service):
    """A function that carries its context is in the trace in any thread, several at once; another is not."""
    barrier = threading.Barrier(4)

    def work(number):
        barrier.wait(20)
        return number, observability.current_trace_id(), observability.current_correlation_id()

    headers = {"x-correlation-id": "case-9"}
    with concurrent.futures.ThreadPoolExecutor(4) as pool, start_trace("outer", headers) as span:
        carried = observability.carry(work)
        inside = [future.result(20) for future in [pool.submit(carried, n) for n in range(4)]]
        outside = [future.result(20) for future in [pool.submit(work, n) for n in range(4)]]
    assert inside == [(n, span.trace_id, "case-9") for n in range(4)]
    assert outside == [(n, None, None) for n in range(4)]


@given(st.text(max_size=80) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True))
def test_our_parser_agrees_with_the_apis(text):
    """What OpenTelemetry's own propagator takes we take, ids and flags alike; and nothing else."""
    theirs = trace.get_current_span(
        TraceContextTextMapPropagator().extract({"traceparent": text}, otel_context.Context())
    ).get_span_context()
    ours = parse_parent(text, None)
    assert (ours is not None) == theirs.is_valid
    if ours is not None:
        assert (ours.trace_id, ours.span_id, ours.trace_flags) == (
            theirs.trace_id, theirs.span_id, theirs.trace_flags,
        )  # fmt: skip


@given(st.text(max_size=200) | st.text('ab=,; %2"\\', max_size=60))
def test_any_baggage_is_read_or_ignored(text):
    """No text is an error, and what is read holds no more than was sent."""
    found = parse_baggage(text) or {}
    assert sum(len(name) for name in found) <= len(text) <= MAX_BAGGAGE


@given(
    st.dictionaries(st.from_regex("[a-z]{1,9}", fullmatch=True), st.text("xyz 1;,=%\u00e9", max_size=20), max_size=5)
)
def test_baggage_comes_back_as_it_went(entries):
    """What is sent is what is read at the other end, whatever characters it has."""
    from urllib.parse import quote

    assert (parse_baggage(",".join(f"{k}={quote(v, safe='')}" for k, v in entries.items())) or {}) == entries
