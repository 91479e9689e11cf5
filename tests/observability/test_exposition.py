"""`/metrics`: read by the parsers of others, and by a real Prometheus."""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_classic

from companyos import observability
from companyos.observability import MetricsApp, metrics, metrics_text, start_trace
from companyos.observability.exposition import CLASSIC, OPENMETRICS, prometheus_name
from tests.services import Prometheus, available

WHO = {"service_name": "orders", "service_version": "1.2.3", "deployment_environment_name": "test"}


def families(text):
    """What the parser of OpenMetrics reads, by name."""
    return {family.name: family for family in parse_openmetrics(text)}


def observed():
    """Some of every kind of metric; returns the trace."""
    with start_trace("work") as trace:
        metrics.record("http.server.request.duration", 0.29, {"http.route": "/a", "http.request.method": "GET"})
    metrics.record("http.server.request.duration", 7, {"http.route": "/a", "error.type": "500"})
    metrics.increment("jobs", {"queue": 'a"b\\c\nd'}, by=2.5)
    metrics.change("jobs.active", 3)
    metrics.set("queue_bytes", 12)
    return trace


def test_openmetrics_is_read_by_another_parser(service):
    """Types, units, labels, values and exemplars are as recorded; who it is stands on every series."""
    trace = observed()
    found = families(metrics_text(aliases=False))
    assert {name: family.type for name, family in found.items()} == {
        "target": "info", "http_server_request_duration_seconds": "histogram", "jobs": "counter",
        "jobs_active": "gauge", "queue_bytes": "gauge",
    }  # fmt: skip
    (target,) = found["target"].samples
    assert target.labels["vcs_ref_head_revision"] == "abc123"
    assert target.labels["service_name"] == "orders"
    (job,) = found["jobs"].samples
    assert (job.name, job.value, job.labels) == ("jobs_total", 2.5, {**WHO, "queue": 'a"b\\c\nd'})
    duration = found["http_server_request_duration_seconds"]
    assert duration.unit == "seconds"
    assert all(sample.labels.items() >= WHO.items() for sample in duration.samples)
    ours = [sample for sample in duration.samples if sample.labels.get("http_request_method") == "GET"]
    buckets = {sample.labels["le"]: sample for sample in ours if sample.name.endswith("_bucket")}
    assert [buckets[bound].value for bound in ("0.25", "0.3", "+Inf")] == [0, 1, 1]
    exemplar = buckets["0.3"].exemplar
    assert (exemplar.labels, exemplar.value) == ({"trace_id": trace.trace_id, "span_id": trace.span_id}, 0.29)
    assert abs(float(exemplar.timestamp) - time.time()) < 3600
    assert {s.name.rsplit("_", 1)[1]: s.value for s in ours if "le" not in s.labels} == {"sum": 0.29, "count": 1}


def test_the_older_format_is_read_too(service):
    """The same metrics, without exemplars."""
    observed()
    found = {family.name: family for family in parse_classic(metrics_text(openmetrics=False))}
    assert found["jobs"].type == "counter"
    assert [(s.name, s.value, s.labels["queue"]) for s in found["jobs"].samples] == [("jobs_total", 2.5, 'a"b\\c\nd')]
    assert found["http_server_request_duration_seconds"].type == "histogram"
    assert [s.labels["service_name"] for s in found["target_info"].samples] == ["orders"]
    assert "trace_id" not in metrics_text(openmetrics=False)


def test_the_playbooks_names_are_served(service):
    """Its histograms are in milliseconds, its counters count what was measured and what was counted by hand."""
    observed()
    metrics.increment("requests_total", {"http.route": "/a", "error.type": "500"}, by=2)
    metrics.increment("errors_total", {"job": "x"})
    found = families(metrics_text())
    assert found["requests"].type == found["errors"].type == "counter"
    requests = {s.labels.get("error_type"): s.value for s in found["requests"].samples}
    assert requests == {None: 1, "500": 3}
    assert sorted(s.value for s in found["errors"].samples) == [1, 1]
    latency = found["request_duration_ms"]
    assert {s.labels["le"] for s in latency.samples if "le" in s.labels} >= {"5.0", "300.0", "10000.0", "+Inf"}
    assert sorted(s.value for s in latency.samples if s.name.endswith("_sum")) == [290, 7000]
    assert set(families(metrics_text(aliases=False))) & {"requests", "errors", "request_duration_ms"} == {
        "requests", "errors",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("http.server.request.duration", "s", "histogram", "http_server_request_duration_seconds"),
        ("http.server.active_requests", "{request}", "updown", "http_server_active_requests"),
        ("fetch_ms", "ms", "histogram", "fetch_milliseconds"),
        ("wait_s", "s", "histogram", "wait_seconds"),
        ("wait_seconds", "s", "histogram", "wait_seconds"),
        ("jobs_total", "1", "counter", "jobs_total"),
        ("a..b--c", "1", "gauge", "a_b_c"),
        ("7days", "1", "gauge", "_7days"),
        ("size", "By", "counter", "size_bytes_total"),
    ],
)
def test_names(name, unit, kind, expected):
    """Names are translated as OpenTelemetry's compatibility specification says."""
    assert prometheus_name(name, unit, kind) == expected


def get(app, accept=None, method="GET"):
    """Status, content type and body of an answer."""
    sent = []

    async def send(message):
        sent.append(message)

    headers = [] if accept is None else [(b"accept", accept.encode())]
    asyncio.run(app({"type": "http", "method": method, "path": "/metrics", "headers": headers}, None, send))
    return sent[0]["status"], dict(sent[0]["headers"])[b"content-type"].decode(), sent[1]["body"].decode()


PROMETHEUS_ACCEPTS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, CLASSIC), ("*/*", CLASSIC), ("text/plain", CLASSIC), (PROMETHEUS_ACCEPTS, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS), ("application/openmetrics-text;q=0", CLASSIC),
        ("application/openmetrics-text;q=0.1,text/plain", CLASSIC), ("application/openmetrics-text;q=x,,;", CLASSIC),
    ],
)  # fmt: skip
def test_the_client_chooses_the_format(service, accept, kind):
    """OpenMetrics only for those who prefer it."""
    observed()
    status, content_type, body = get(MetricsApp(), accept)
    assert (status, content_type, body.endswith("# EOF\n")) == (200, kind, kind == OPENMETRICS)


def test_other_methods(service):
    """`/metrics` is read only."""
    assert get(MetricsApp(), method="POST")[0] == 405
    assert get(MetricsApp(), method="HEAD")[::2] == (200, "")


def test_before_setup():
    """Where nothing is recorded the page is valid and empty."""
    assert list(parse_openmetrics(metrics_text())) == []


def test_labels_of_our_own_are_not_taken(service):
    """A tag that is called like a label of ours stands beside it, as Prometheus has it for its own."""
    metrics.increment("n", {"service.name": "theirs"})
    metrics.record("wait_s", 1, {"le": "x"})
    found = families(metrics_text())
    (sample,) = found["n"].samples
    assert (sample.labels["service_name"], sample.labels["exported_service_name"]) == ("orders", "theirs")
    assert {s.labels["exported_le"] for s in found["wait_seconds"].samples} == {"x"}


@given(
    st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=12) | st.integers() | st.booleans(), max_size=4)
)
def test_any_label_can_be_read_back(tags):
    """Whatever keys and values a measurement has, the page stays one that others can read."""
    with observability.setup(service="any") as service:
        metrics.increment("n", tags)
        (family,) = [found for found in parse_openmetrics(metrics_text(of=service)) if found.name == "n"]
        assert [sample.value for sample in family.samples] == [1]


@pytest.fixture
def site():
    """A web server that answers with `/metrics` as the middleware's application would."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, kind, body = get(MetricsApp(), self.headers.get("accept"))
            self.send_response(status)
            self.send_header("content-type", kind)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ask(server, path):
    """An answer of Prometheus's API, asked for until there is one."""
    import json

    until = time.monotonic() + 30
    while True:
        with urllib.request.urlopen(f"{server.url}/api/v1/{path}", timeout=5) as answer:  # noqa: S310 - our own server
            data = json.load(answer)["data"]
        found = data["result"] if isinstance(data, dict) else data
        if found or time.monotonic() > until:
            return found
        time.sleep(0.2)


@pytest.mark.service("prometheus")
def test_a_real_prometheus_scrapes_it(service, site):
    """Series, resource and exemplars arrive."""
    trace = observed()
    server = Prometheus(available("prometheus"), targets={"orders": [site]})
    try:
        name = "http_server_request_duration_seconds"
        (series,) = ask(server, f"query?query={name}_bucket%7Ble%3D%220.3%22%2Chttp_request_method%3D%22GET%22%7D")
        assert series["metric"].items() >= {**WHO, "http_route": "/a"}.items()
        assert series["value"][1] == "1"
        (target,) = ask(server, "query?query=target_info")
        assert target["metric"]["vcs_ref_head_revision"] == "abc123"
        since, until = time.time() - 600, time.time() + 600
        found = ask(server, f"query_exemplars?query={name}_bucket&start={since}&end={until}")
        labels = [exemplar["labels"] for one in found for exemplar in one["exemplars"]]
        assert {"trace_id": trace.trace_id, "span_id": trace.span_id} in labels
    finally:
        server.stop()
