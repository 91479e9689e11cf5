"""Exporting: what leaves is whole, and a collector that refuses or hangs is nobody's problem but its own."""

from __future__ import annotations

import socket
import threading

import pytest

from companyos import observability
from companyos.observability import metrics, start_trace
from tests.observability.collector import Collector

PROCESSED = "otel.sdk.processor.span.processed"
EXPORTED = "otel.sdk.exporter.span.exported"


@pytest.fixture(autouse=True)
def collector():
    """A collector that receives; there before any service, and until the last one has shut down."""
    running = Collector()
    yield running
    running.close()


def counted(service, name):
    """What a counter of the exporter says, by what went wrong."""
    return {point.attributes.get("error.type"): point.value for point in service.observability.metrics(name)}


def test_a_span_arrives_whole(make_service, collector):
    """Ids, parent, kind, times, attributes, events, links, status, scope and resource are as they were recorded."""
    service = make_service(exporter="otlp", otlp_endpoint=collector.url)
    parent, sender = ({"traceparent": f"00-{a * 32}-{b * 16}-01"} for a, b in ("ab", "cd"))
    with start_trace("work", parent, kind="consumer", links=[sender]) as trace:
        trace.set("n", 7)
        trace.fail(KeyError("x"))
    assert service.observability.shutdown()
    (span,) = collector.spans()
    assert (span.name, span.trace_id.hex(), span.span_id.hex()) == ("work", "a" * 32, trace.span_id)
    assert (span.parent_span_id.hex(), span.kind, span.status.code) == ("b" * 16, 5, 2)
    assert span.end_time_unix_nano >= span.start_time_unix_nano > 1_600_000_000 * 10**9
    attributes = {found.key: found.value for found in span.attributes}
    assert (attributes["n"].int_value, attributes["error.type"].string_value) == (7, "KeyError")
    assert [event.name for event in span.events] == ["exception"]
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in span.links] == [("c" * 32, "d" * 16)]


def test_metrics_arrive_with_exemplars(make_service, collector):
    """Counters, levels, gauges and histograms arrive as such; a histogram's exemplar names the trace."""
    service = make_service(exporter="otlp", otlp_endpoint=collector.url)
    with start_trace("work") as trace:
        metrics.increment("sold", {"shop": "a"}, by=2)
        metrics.change("open", 3)
        metrics.set("depth", 4.5)
        metrics.record("wait_seconds", 0.29)
    assert service.observability.flush()
    told = collector.metrics()
    assert (told["sold"].sum.is_monotonic, told["open"].sum.is_monotonic) == (True, False)
    assert (told["sold"].sum.data_points[0].as_int, told["depth"].gauge.data_points[0].as_double) == (2, 4.5)
    (point,) = told["wait_seconds"].histogram.data_points
    assert (point.count, point.sum, sum(point.bucket_counts)) == (1, 0.29, 1)
    assert point.bucket_counts[list(point.explicit_bounds).index(0.3)] == 1
    assert [found.trace_id.hex() for found in point.exemplars] == [trace.trace_id]


def test_the_exporters_variables_are_honoured(make_service, collector, monkeypatch):
    """Endpoint, headers and compression come from `OTEL_EXPORTER_OTLP_*`, each signal's own first."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{collector.url}/base")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{collector.url}/own/metrics")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=acme")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    service = make_service()
    with start_trace("work"):
        metrics.increment("n")
    assert service.observability.shutdown()
    assert sorted(path for path, _, _ in collector.requests) == ["/base/v1/traces", "/own/metrics"]
    headers = [headers for _, headers, _ in collector.requests]
    assert [(found["x-tenant"], found["content-encoding"]) for found in headers] == [("acme", "gzip")] * 2
    assert [span.name for span in collector.spans()] == ["work"]


def test_what_is_said_in_code_goes_before_the_variables(make_service, collector, monkeypatch):
    """An endpoint given to setup is used in place of the variable's."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    service = make_service(exporter="otlp", otlp_endpoint=collector.url)
    with start_trace("work"):
        pass
    service.observability.flush()
    assert [span.name for span in collector.spans()] == ["work"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_collector_that_is_busy_is_asked_again(make_service, collector, status):
    """429 and 503 are tried again (OTLP specification, "Retryable Response Codes"), and nothing is lost."""
    collector.answers = [status]
    service = make_service(exporter="otlp", otlp_endpoint=collector.url)
    with start_trace("work"):
        pass
    assert service.observability.recorder._queue.flush(20)
    assert [path for path, _, _ in collector.requests] == ["/v1/traces"] * 2
    assert counted(service, EXPORTED) == {None: 1}


def test_a_collector_that_refuses_is_not_asked_again(make_service, collector):
    """400 is final: what was sent is counted as lost, and one event says so."""
    collector.answers = [400, 400, 400]
    service = make_service(exporter="otlp", otlp_endpoint=collector.url)
    for _ in range(2):
        with start_trace("work"):
            pass
        assert service.observability.recorder._queue.flush(20) is False
    assert counted(service, EXPORTED) == {"rejected": 2}
    assert [event["reason"] for event in service.events if event["event"] == "observability.export_failed"] == [
        "rejected"
    ]


def test_nobody_there(make_service):
    """Where no collector listens, the shutdown ends in time and says that something was lost."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        service = make_service(exporter="otlp", otlp_endpoint=f"http://127.0.0.1:{probe.getsockname()[1]}")
        with start_trace("work"):
            pass
        assert service.observability.shutdown(0.5) is False

    assert [span.name for span in service.observability.spans()] == ["work"]


def test_a_collector_that_hangs_holds_nobody_up(make_service, collector, monkeypatch):
    """While it hangs, work goes on; what has no room is counted, on /metrics too; the shutdown does not wait for it."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    collector.hang()
    service = make_service(exporter="otlp", otlp_endpoint=collector.url)
    for _ in range(2):
        with start_trace("work"):
            pass
    assert collector.arrived.wait(20)
    for _ in range(10):
        with start_trace("work"):
            pass
    assert counted(service, PROCESSED) == {"queue_full": 6}
    line = 'otel_sdk_processor_span_processed_total{service_name="orders",service_version="1.2.3"'
    shown = [text for text in observability.metrics_text().splitlines() if text.startswith(line)]
    assert [(text.rsplit(" ", 1)[1], 'error_type="queue_full"' in text) for text in shown] == [("6", True)]
    assert service.observability.flush(0.05) is False
    assert service.observability.shutdown(0.1) is False
    assert counted(service, PROCESSED)["shutdown"] == 4


def test_threads_end_with_the_shutdown(make_service, collector):
    """A shutdown leaves no thread behind."""
    before = set(threading.enumerate())
    service = make_service(exporter="otlp", otlp_endpoint=collector.url)
    assert {thread.name for thread in set(threading.enumerate()) - before} >= {"companyos-spans", "companyos-metrics"}
    assert service.observability.shutdown()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("companyos-")]


def test_limits_of_a_span_are_told(make_service, collector, monkeypatch):
    """What a span had no room for is left out and counted in what is sent."""
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "2")
    monkeypatch.setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "1")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")
    service = make_service(exporter="otlp", otlp_endpoint=collector.url)
    tracer = service.observability.recorder.tracer_provider.get_tracer("library", "2.0")
    with tracer.start_as_current_span("theirs", attributes={"a": "long text"}) as span:
        for number in range(3):
            span.set_attribute(f"n{number}", number)
            span.add_event("e")
    service.observability.flush()
    (sent,) = collector.spans()
    assert [found.key for found in sent.attributes] == ["a", "n0"]
    assert sent.attributes[0].value.string_value == "lon"
    assert (sent.dropped_attributes_count, sent.dropped_events_count, len(sent.events)) == (2, 2, 1)
