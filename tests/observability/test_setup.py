"""`setup()`: what can be said, what is refused, and that it can be undone."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry import trace as otel
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from companyos import observability
from companyos.errors import UnverifiableError
from companyos.observability import SetupError, metrics, start_trace

BAD = {
    "no service": {"service": None},
    "two environments": {"env": "dev", "environment": "prod"},
    "a share beyond one": {"sample_ratio": 1.5},
    "no room for series": {"max_series": 1},
    "level": {"log_level": "loud"},
    "exporter": {"exporter": "carrier-pigeon"},
    "service": {"service": " "},
    "version": {"version": ""},
    "environment": {"environment": ""},
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    """An argument that cannot be used is refused, and nothing is in force."""
    before = observability.current()
    with pytest.raises(SetupError):
        observability.setup(**{"service": "orders"} | BAD[case])
    assert observability.current() is before


def test_setup_and_shutdown_nest(make_service):
    """The latest setup is in force until its shutdown, in any order, repeated or not."""
    default = observability.current()
    first, second = make_service(service="first"), make_service(service="second")
    assert observability.current() is second.observability
    first.observability.shutdown()
    assert observability.current() is second.observability
    second.observability.shutdown()
    second.observability.shutdown()
    assert observability.current() is default


def test_the_same_setup_again_is_the_one_in_force(monkeypatch):
    """Repeated it changes nothing, one shutdown ends it, and another identity takes its place for a while."""
    default = observability.current()
    first = observability.setup("orders", "test", "1.0")
    try:
        assert observability.setup(service="orders", env="test", version="1.0") is first
        assert observability.setup("orders", environment="test", version="1.0") is first
        with observability.setup("orders", "test", "1.1") as other:
            assert observability.current() is other is not first
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
        with observability.setup("orders", "test", "1.0") as changed:
            assert changed is not first
        assert observability.current() is first
    finally:
        first.shutdown()
    assert observability.current() is default


def test_services_do_not_see_each_others_signals(make_service):
    """Each setup has readers of its own."""
    first = make_service()
    with start_trace("one"):
        metrics.increment("n")
    second = make_service()
    assert (second.observability.spans(), second.observability.metrics()) == ([], [])
    assert [span.name for span in first.observability.spans()] == ["one"]


def test_revision_from_the_environment(make_service, monkeypatch):
    """The commit may come from the environment; what is said in code goes first."""
    monkeypatch.setenv("COMPANYOS_REVISION", "fedcba")
    assert make_service().observability.identity.revision == "fedcba"
    assert make_service(revision="abc").observability.identity.revision == "abc"


def test_switched_off(make_service, monkeypatch):
    """With OTEL_SDK_DISABLED traces still have ids, and reading what was not recorded is an error."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    service = make_service()
    with start_trace("a") as outer, start_trace("b") as inner:
        assert (inner.trace_id, inner.span_id != outer.span_id) == (outer.trace_id, True)
    with pytest.raises(UnverifiableError, match="OTEL_SDK_DISABLED"):
        service.observability.spans()
    assert service.observability.flush()


def test_own_words_are_withheld(make_service):
    """Words given to setup leave neither in logs nor in spans."""
    service = make_service(redact=["acme"])
    with start_trace("work", attributes={"tenant": "Acme GmbH"}):
        observability.get_logger().info("x", tenant="ACME")
    assert service.event["tenant"] == "[redacted]"
    assert service.observability.spans()[0].attributes["tenant"] == "[redacted] GmbH"


@pytest.fixture
def collector():
    """A real OTLP/HTTP receiver that keeps what it is sent."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((self.path, body))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()
        thread.join()


def test_otlp(make_service, collector):
    """With the exporter `otlp` a collector gets spans and metrics, with the resource that tells whose."""
    endpoint, received = collector
    service = make_service(exporter="otlp", otlp_endpoint=f"{endpoint}/", revision="abc123")
    with start_trace("work") as trace:
        metrics.increment("jobs", {"queue": "mail"})
    assert service.observability.flush()
    service.observability.shutdown()
    bodies = dict(received)
    spans = ExportTraceServiceRequest.FromString(bodies["/v1/traces"]).resource_spans[0]
    resource = {attribute.key: attribute.value.string_value for attribute in spans.resource.attributes}
    assert [span.trace_id.hex() for span in spans.scope_spans[0].spans] == [trace.trace_id]
    assert (resource["service.name"], resource["vcs.ref.head.revision"]) == ("orders", "abc123")
    sent = ExportMetricsServiceRequest.FromString(bodies["/v1/metrics"]).resource_metrics[0]
    assert "jobs" in [metric.name for metric in sent.scope_metrics[0].metrics]


def test_console(make_service, capfd):
    """With the exporter `console` spans go to stderr, so that stdout stays one event a line."""
    make_service(exporter="console")
    with start_trace("work") as trace:
        pass
    out, err = capfd.readouterr()
    assert out == ""
    assert trace.trace_id in err


def test_importing_does_nothing():
    """Importing the room sets nothing up and loads neither structlog nor the SDK."""
    code = (
        "import sys, companyos.observability as o; print('structlog' in sys.modules,"
        " any(m.startswith('opentelemetry') for m in sys.modules), sorted(o.__all__) == list(o.__all__),"
        " all(getattr(o, n) is not None for n in dir(o)), 'opentelemetry.sdk' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True", "True", "False"]


def test_unknown_names():
    """A name that the room does not have is an ordinary attribute error."""
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        observability.nonsense  # noqa: B018 - the access is what is tested


def test_stdlib_logging_joins_in(service):
    """What libraries log by the standard library becomes events, masked, until the block ends."""
    theirs = logging.getLogger("their.library")
    with observability.capture_stdlib_logging("their.library"):
        theirs.warning("sent to %s", "ann@example.org")
        theirs.debug("unseen")
        theirs.info("bad %d", "format")
        try:
            int("v")
        except ValueError:
            theirs.exception("failed")
    first, second, third = service.events
    assert (first["level"], first["logger"], first["message"]) == ("WARN", "their.library", "sent to [email]")
    assert second["message"] == "bad %d (TypeError when formatted)"
    assert (third["level"], third["exception.type"]) == ("ERROR", "ValueError")
    assert (theirs.handlers, theirs.propagate, theirs.level) == ([], True, logging.NOTSET)


def test_stdlib_logging_joins_in_from_the_call_on(service):
    """Without a `with` too, and loggers below that have handlers of their own write events alone, till it is closed."""
    stream = io.StringIO()
    access, own = logging.getLogger("their.server.access"), logging.StreamHandler(stream)
    access.addHandler(own)
    access.propagate = False
    captured = observability.capture_stdlib_logging("their.server")
    access.warning("GET /?token=%s", "hunter2-hunter2")
    captured.close()
    access.warning("after")

    (event,) = service.events
    assert (event["logger"], event["message"]) == ("their.server.access", "GET /?token=[secret]")
    assert (stream.getvalue(), access.handlers, access.propagate) == ("after\n", [own], False)
    access.removeHandler(own)


GLOBAL = """
import json
from opentelemetry import trace
from companyos import observability
early = trace.get_tracer("library.made.early")
result = [observability.serve_global_tracer(), observability.serve_global_tracer()]
late = trace.get_tracer("library")
with late.start_as_current_span("nobody listens") as span:
    result.append(span.is_recording())
for name in ("one", "two"):
    with observability.setup(service=name) as service, observability.start_trace("ours") as ours:
        with late.start_as_current_span("theirs"), early.start_as_current_span("early"):
            pass
        early.start_span("alone").end()
    result.append([span.name for span in service.spans(trace_id=ours.trace_id)])
print(json.dumps(result))
"""


def test_libraries_trace_through_the_global_provider():
    """Spans of instrumented libraries land in the same trace, after a second setup too."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", GLOBAL], capture_output=True, text=True, check=True)
    names = ["early", "theirs", "alone", "ours"]
    assert json.loads(done.stdout) == [True, True, False, names, names]


def test_a_foreign_global_provider_is_left_alone(monkeypatch):
    """Whoever was first keeps the global provider."""
    monkeypatch.setattr(otel, "get_tracer_provider", otel.NoOpTracerProvider)
    assert observability.serve_global_tracer() is False
