"""Consumers: one span, one event and the golden metrics for each message or job."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from companyos import observability
from companyos.observability import consumer
from companyos.observability.golden import Golden

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{SPAN}-01", "x-correlation-id": "case-9", "message-id": "m-1"}


def call(style, function, *args):
    """Call a decorated function, sync or async."""
    decorate = consumer("orders", system="rabbitmq")
    if style == "sync":
        return decorate(function)(*args)

    async def later(*given):
        await asyncio.sleep(0)
        return function(*given)

    return asyncio.run(decorate(later)(*args))


@pytest.fixture(params=["sync", "async"])
def style(request):
    """Functions of both kinds."""
    return request.param


def test_a_message_is_traced_logged_and_measured(service, style):
    """Span, event and metrics tell of the same message, by the messaging conventions."""

    def handle(message):
        (active,) = service.observability.metrics("messaging.client.active_jobs")
        observability.annotate(subject_id="u-1")
        return message["body"], active.value, observability.current_correlation_id(), observability.current_request_id()

    assert call(style, handle, {"headers": HEADERS, "body": "b"}) == ("b", 1, "case-9", "m-1")
    (span,) = service.observability.spans()
    assert (span.name, span.kind, span.trace_id, span.parent_id, span.status) == (
        "process orders", "consumer", TRACE, SPAN, "unset",
    )  # fmt: skip
    tags = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.destination.name": "orders",
    }
    assert span.attributes == {**tags, "messaging.operation.type": "process", "messaging.message.id": "m-1"}
    (point,) = service.observability.metrics("messaging.process.duration")
    assert (point.kind, point.unit, point.count, point.attributes) == ("histogram", "s", 1, tags)
    (active,) = service.observability.metrics("messaging.client.active_jobs")
    assert (active.value, active.attributes) == (0, tags)
    expected = {
        "event": "messaging.process", "level": "INFO", "action": "process", "resource": "orders", "outcome": "success",
        "trace_id": TRACE, "span_id": span.span_id, "correlation_id": "case-9", "request_id": "m-1",
        "subject_id": "u-1",
    }  # fmt: skip
    assert {key: service.event[key] for key in expected} == expected
    assert service.event["latency_ms"] >= 0


def test_a_failure_goes_on_to_the_broker(service, style):
    """An exception is recorded everywhere and raised again."""

    def handle(message):
        raise LookupError("ann@example.org")

    with pytest.raises(LookupError):
        call(style, handle, HEADERS)
    (span,) = service.observability.spans()
    (point,) = service.observability.metrics("messaging.process.duration")
    event = service.event
    assert (span.status, span.attributes["error.type"], point.attributes["error.type"]) == (
        "error", "LookupError", "LookupError",
    )  # fmt: skip
    assert (event["level"], event["outcome"], event["exception.type"]) == ("ERROR", "failure", "LookupError")
    assert [p.value for p in service.observability.metrics("messaging.client.active_jobs")] == [0]


def test_a_cancelled_job(service):
    """Whether the work was done is not known, and it is no error."""

    @consumer("orders")
    async def handle(message):
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(handle({}))
    assert service.event["outcome"] == "unknown"
    (point,) = service.observability.metrics("messaging.process.duration")
    assert "error.type" not in point.attributes


def test_a_job_without_a_message(service):
    """A job that nobody sent begins a trace of its own, with a request id of its own."""

    @consumer("nightly-report", operation="run")
    def job(day, *, dry=False):
        return day, dry, observability.current_request_id()

    day, dry, request_id = job("monday", dry=True)
    (span,) = service.observability.spans()
    assert (day, dry, len(request_id), span.name, span.parent_id) == ("monday", True, 32, "run nightly-report", None)
    assert span.attributes["messaging.system"] == "jobs"
    assert service.event["correlation_id"] == span.trace_id


def test_a_batch_is_linked_to_each_sender(service):
    """Many messages in one call: the span is nobody's child and is linked to all who are known."""
    messages = [{"traceparent": f"00-{n:032x}-{n:016x}-01"} for n in (1, 2)]

    @consumer("orders", batch=True)
    def handle(found):
        return len(found)

    assert handle([*messages, {"body": "without"}]) == 3
    (span,) = service.observability.spans()
    assert (span.parent_id, span.attributes["messaging.batch.message_count"]) == (None, 3)
    assert span.links == tuple((f"{n:032x}", f"{n:016x}") for n in (1, 2))


def test_a_method_finds_its_message(service):
    """The first argument that carries headers is the message, and `carrier` says where else they are."""

    class Handler:
        @consumer("orders")
        def method(self, message):
            return observability.current_trace_id()

        @consumer("orders", carrier=lambda self, body, meta: meta["h"])
        def elsewhere(self, body, meta):
            return observability.current_trace_id()

        @consumer("orders", carrier=lambda *_: 1 / 0)
        def broken(self, message):
            return "done"

    handler = Handler()
    assert handler.method(SimpleNamespace(headers=HEADERS)) == TRACE
    assert handler.elsewhere("body", {"h": HEADERS}) == TRACE
    assert handler.broken(HEADERS) == "done"
    assert "observability.failed" in [event["event"] for event in service.events]


def test_a_loop_of_ones_own(service):
    """Work may also be observed in a `with`; what one message taught is not told of the next."""
    queue = consumer("orders")
    for subject in ("alice", None):
        with queue.work(HEADERS):
            if subject:
                observability.annotate(subject_id=subject)
    assert [event["subject_id"] for event in service.events] == ["alice", None]


@pytest.mark.parametrize("broken", ["active", "record"])
def test_a_failure_to_observe_breaks_nobody(service, monkeypatch, broken):
    """When recording itself fails the work is done, and an event tells of the failure."""

    def fail(*args, **kwargs):
        raise RuntimeError("no meter")

    monkeypatch.setattr(Golden, broken, fail)
    assert consumer("orders")(lambda message: "done")({}) == "done"
    assert "observability.failed" in [event["event"] for event in service.events]
    assert observability.current_trace_id() is None


def test_without_a_recorder(make_service, monkeypatch):
    """Where nothing is recorded the work is done and told of, with real ids."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    service = make_service()
    assert consumer("orders")(lambda message: observability.current_trace_id())(HEADERS) == TRACE
    assert (service.event["event"], service.event["trace_id"]) == ("messaging.process", TRACE)
