"""The recorder behind the OpenTelemetry API: limits, sampling, overflow, and what others record into it."""

from __future__ import annotations

import concurrent.futures
import math
import os

import pytest
from opentelemetry import trace
from opentelemetry.metrics import Observation

from companyos import observability
from companyos.observability import metrics, metrics_text, start_trace

OVERFLOW = {"otel.metric.overflow": True}


def test_a_label_explosion_is_capped(make_service):
    """What has no room goes to one series, is counted, and one event says so; what was there goes on."""
    service = make_service(max_series=5)
    for number in range(20):
        metrics.increment("hits", {"user": number})
    metrics.increment("hits", {"user": 0})
    points = {tuple(p.attributes.items()): p.value for p in service.observability.metrics("hits")}
    assert len(points) == 5
    assert points[("otel.metric.overflow", True),] == 16
    assert points[("user", 0),] == 2
    (warning,) = service.observability.metrics("companyos.metrics.overflow")
    assert (warning.value, warning.attributes) == (16, {"metric": "hits"})
    assert "companyos_metrics_overflow_total" in metrics_text()
    assert [(e["event"], e["level"], e["metric"]) for e in service.events] == [
        ("metrics.too_many_series", "WARN", "hits")
    ]


def test_the_middlewares_routes_are_capped_too(make_service):
    """An application that invents routes does not invent series."""
    import asyncio
    from types import SimpleNamespace

    service = make_service(max_series=4)

    async def app(scope, receive, send):
        scope["route"] = SimpleNamespace(path=scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        pass

    wrapped = observability.ASGIMiddleware(app)
    for number in range(10):
        asyncio.run(wrapped({"type": "http", "method": "GET", "path": f"/{number}", "headers": []}, None, send))
    points = service.observability.metrics("http.server.request.duration")
    assert (len(points), sum(point.count for point in points)) == (4, 10)
    assert [point.count for point in points if point.attributes == OVERFLOW] == [7]


def test_no_measurement_is_lost_among_threads(service):
    """Counters, levels and histograms add up when many threads use them."""

    def work(_):
        for _ in range(500):
            metrics.increment("n")
            metrics.change("level", 1)
            metrics.record("size_bytes", 2)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert [p.value for p in service.observability.metrics("n")] == [4000]
    assert [p.value for p in service.observability.metrics("level")] == [4000]
    assert [(p.value, p.count) for p in service.observability.metrics("size_bytes")] == [(8000, 4000)]


SAMPLERS = {
    ("always_on", None): (True, True, True), ("always_off", None): (False, False, False),
    ("parentbased_always_on", None): (True, True, False), ("parentbased_always_off", None): (False, True, False),
    ("traceidratio", "0"): (False, False, False), ("parentbased_traceidratio", "1"): (True, True, False),
    ("", None): (True, True, False), ("of-their-own", None): (True, True, False),
    ("parentbased_traceidratio", "much"): (True, True, False),
}  # fmt: skip


@pytest.mark.parametrize(("sampler", "argument"), SAMPLERS)
def test_samplers(make_service, monkeypatch, sampler, argument):
    """A root, a child of a sampled and a child of an unsampled parent are recorded as OTEL_TRACES_SAMPLER says."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    if argument is not None:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    service = make_service()
    with start_trace("root"):
        root = observability.outgoing_headers()["traceparent"]
    for flags in ("01", "00"):
        with start_trace(flags, {"traceparent": f"00-{'a' * 32}-{'b' * 16}-{flags}"}) as child:
            assert child.trace_id == "a" * 32
    recorded = {span.name for span in service.observability.spans()}
    assert tuple(name in recorded for name in ("root", "01", "00")) == SAMPLERS[sampler, argument]
    assert root.endswith("-01") == SAMPLERS[sampler, argument][0]
    wrong = sampler == "of-their-own" or argument == "much"
    assert [e["event"] for e in service.events] == (["observability.setting_ignored"] if wrong else [])


def test_a_share_of_traces(make_service):
    """Head sampling takes about its share, whole traces at a time; metrics tell of all."""
    service = make_service(sample_ratio=0.25)
    for _ in range(2000):
        with start_trace("outer"), start_trace("inner"):
            metrics.increment("n")
    spans = service.observability.spans()
    roots = {span.trace_id for span in spans if span.name == "outer"}
    # Six standard deviations around 500.
    assert 380 < len(roots) < 620
    assert {span.trace_id for span in spans if span.name == "inner"} == roots
    assert [p.value for p in service.observability.metrics("n")] == [2000]


def test_only_what_is_sampled_is_an_exemplar(make_service):
    """A histogram points at no trace that nobody recorded."""
    make_service(sample_ratio=0)
    with start_trace("work"):
        metrics.record("wait_s", 1)
    assert "trace_id" not in metrics_text()


@pytest.mark.parametrize(("chosen", "shown"), [("always_off", False), ("always_on", True), ("trace_based", True)])
def test_the_exemplar_filter(make_service, monkeypatch, chosen, shown):
    """OTEL_METRICS_EXEMPLAR_FILTER is honoured."""
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", chosen)
    make_service()
    with start_trace("work"):
        metrics.record("wait_s", 1)
    assert ("trace_id" in metrics_text()) is shown


def test_spans_of_libraries_are_masked(service):
    """What a library records through the API passes the same net."""
    tracer = service.observability.recorder.tracer_provider.get_tracer("library", "2.0")
    link = trace.Link(trace.SpanContext(1, 2, True))
    with tracer.start_as_current_span("GET ann@example.org", links=[link], attributes={"token": "t"}) as span:
        span.set_attributes({"who": "ann@example.org", "list": ["a", "ann@example.org"], "big": 2**70, "raw": b"x"})
        span.set_attribute("none", None)
        span.add_event("sent to ann@example.org", {"password": "p"})
        span.set_status(trace.Status(trace.StatusCode.ERROR, "for ann@example.org"))
        with pytest.raises(ValueError, match="ann"), tracer.start_as_current_span("inner"):
            raise ValueError("ann@example.org")
    inner, outer = service.observability.spans()
    assert (inner.status, inner.parent_id, inner.events[0][0]) == ("error", outer.span_id, "exception")
    assert outer.attributes == {
        "token": "[secret]", "who": "[email]", "list": ("a", "[email]"), "big": str(2**70), "raw": "x",
    }  # fmt: skip
    assert outer.links == ((f"{1:032x}", f"{2:016x}"),)
    assert "ann" not in str((inner, outer))


def test_the_rules_of_status(service):
    """`ok` is final, `unset` changes nothing, and nothing changes after the end (API specification, "Set Status")."""
    tracer = service.observability.recorder.tracer_provider.get_tracer("library")
    span = tracer.start_span("a")
    span.set_status(trace.StatusCode.UNSET)
    span.set_status(trace.StatusCode.OK)
    span.set_status(trace.StatusCode.ERROR, "late")
    span.end()
    span.set_attribute("late", 1)
    span.add_event("late")
    span.update_name("late")
    span.end()
    (recorded,) = service.observability.spans()
    assert (recorded.status, recorded.attributes, recorded.events, recorded.name) == ("ok", {}, (), "a")
    assert span.is_recording() is False


def test_a_decorated_function_is_a_span_each_time(service):
    """`start_as_current_span` decorates too, as the API promises."""
    tracer = service.observability.recorder.tracer_provider.get_tracer("library")

    @tracer.start_as_current_span("work")
    def work():
        return observability.current_span_id()

    assert [work(), work()] == [span.span_id for span in service.observability.spans()]


def test_metrics_of_libraries(service):
    """Every instrument of the API records; what is not finite is left out, and nothing raises."""
    meter = service.observability.recorder.meter_provider.get_meter("library", "1.0")
    counter = meter.create_counter("c", unit="{x}")
    for value in (1, 2, -5, math.nan, math.inf):
        counter.add(value, {"token": "t", "a": 1})
    meter.create_up_down_counter("u").add(-2)
    meter.create_gauge("g").set(7)
    meter.create_histogram("h", "s", explicit_bucket_boundaries_advisory=[1, 2]).record(1.5)

    def stream():
        options = yield ()
        while options:
            options = yield [Observation(5, {"from": "generator"})]

    meter.create_observable_counter("oc", [lambda options: [Observation(3, {"k": "v"})]])
    meter.create_observable_up_down_counter("ou", [stream()])
    meter.create_observable_gauge("og", [lambda options: 1 / 0, lambda options: [Observation(4)]])
    seen = {p.name: (p.kind, p.value, dict(p.attributes)) for p in service.observability.metrics()}
    assert seen == {
        "c": ("counter", 3, {"token": "[secret]", "a": 1}), "u": ("updown", -2, {}), "g": ("gauge", 7, {}),
        "h": ("histogram", 1.5, {}), "oc": ("counter", 3, {"k": "v"}), "ou": ("updown", 5, {"from": "generator"}),
        "og": ("gauge", 4, {}),
    }  # fmt: skip
    assert (
        'h_seconds_bucket{service_name="orders",service_version="1.2.3",deployment_environment_name="test",le="2.0"} 1'
        in (metrics_text())
    )


def test_contradicting_instruments(service):
    """A library that uses a name as another kind records into nothing, and an event says so."""
    metrics.increment("n")
    meter = service.observability.recorder.meter_provider.get_meter("library")
    meter.create_histogram("n").record(1)
    assert [(p.kind, p.value) for p in service.observability.metrics("n")] == [("counter", 1)]
    assert service.event["event"] == "metrics.name_conflict"


IGNORED = {
    "OTEL_BSP_MAX_QUEUE_SIZE": "-1", "OTEL_METRIC_EXPORT_INTERVAL": "soon", "OTEL_PROPAGATORS": "b3",
    "OTEL_TRACES_EXPORTER": "zipkin", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_LOGS_EXPORTER": "otlp",
    "OTEL_RESOURCE_ATTRIBUTES": "team", "OTEL_SPAN_LINK_COUNT_LIMIT": "1e3",
}  # fmt: skip


@pytest.mark.parametrize("name", IGNORED)
def test_what_cannot_be_followed_is_said(make_service, monkeypatch, name):
    """A variable that says what we cannot do is ignored, and named in a WARN event."""
    monkeypatch.setenv(name, IGNORED[name])
    service = make_service()
    event = service.event
    assert (event["event"], event["level"], event["setting"], event["got"]) == (
        "observability.setting_ignored", "WARN", name, IGNORED[name],
    )  # fmt: skip


def test_who_it_is_may_come_from_the_variables(make_service, monkeypatch):
    """OTEL_SERVICE_NAME goes before OTEL_RESOURCE_ATTRIBUTES, and what is said in code before both."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    attributes = "service.name=other,service.version=7,team=a%20b,deployment.environment.name=staging"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", attributes)
    said = make_service(service=None, version=None, environment=None)
    with start_trace("work"):
        pass
    (span,) = said.observability.spans()
    assert span.resource.items() >= {
        "service.name": "shop", "service.version": "7", "team": "a b", "deployment.environment.name": "staging",
    }.items()  # fmt: skip
    assert make_service().observability.identity.service == "orders"
    assert 'team="a b"' in metrics_text()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_forked_process_exports_its_own(make_service):
    """A child process has threads of its own, and does not send what was the parent's."""
    from tests.observability.collector import Collector

    collector = Collector()
    try:
        service = make_service(exporter="otlp", otlp_endpoint=collector.url)
        with start_trace("parent"):
            pass
        child = os.fork()
        if child == 0:
            with start_trace("child"):
                pass
            os._exit(0 if service.observability.flush(20) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [span.name for span in collector.spans()] == ["child"]
        assert service.observability.shutdown(20)
        assert [span.name for span in collector.spans()] == ["child", "parent"]
    finally:
        collector.close()
