"""The checker: does every panel have data, asked of a real Prometheus."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from companyos.observability.dashboards import KINDS
from companyos.observability.dashboards.checking import check
from companyos.observability.dashboards.prometheus import PrometheusOverTime as Client
from companyos.observability.dashboards.reading import TimeRange, read
from companyos.observability.slo import PrometheusError

HOUR = TimeRange(0, 3600)
real = pytest.mark.service("prometheus")


@real
@pytest.mark.parametrize("kind", KINDS)
def test_every_query_of_a_starter_pack_has_data(kind, pack, remembering):
    """With the metrics and the compiled objectives of a service of its kind, no panel of the pack is empty."""
    memory = remembering(kind)

    decision = check(pack(kind), memory.client, memory.time)

    assert [finding.message for finding in decision.findings] == []
    assert decision.exit_status == 0
    assert len(decision.facts["queries"]) >= 20


@real
def test_a_service_that_nobody_measures_is_undetermined(pack, remembering):
    """No panel of a service without data looks healthy, not even those whose answer would be zero."""
    memory = remembering()

    decision = check(pack("api", "strangers"), memory.client, memory.time)

    assert decision.exit_status == 3
    assert {query["state"] for query in decision.facts["queries"]} == {"empty"}


@real
def test_a_metric_that_nobody_exposes_is_named(dashboard_of, remembering):
    """The finding tells a wrong name from a filter that fits nothing."""
    memory = remembering()
    board = dashboard_of(
        {"expr": 'sum by (le) (rate(http_server_duration_bucket{a="b"}[5m]))'},
        {"expr": 'target_info{service_name="strangers"}'},
    )

    decision = check(board, memory.client, memory.time)

    assert decision.exit_status == 3
    assert [finding.message for finding in decision.findings] == [
        "P, query A: nobody exposes http_server_duration_bucket",
        "P, query B: its metrics exist, but none of their series fits",
    ]


@real
@pytest.mark.parametrize("expr", ["sum(", "rate(target_info)", "up[$unknown]", "target_info * on () target_info"])
def test_a_query_that_is_refused_is_a_finding(expr, dashboard_of, remembering):
    """What does not parse or cannot be evaluated is denied, also where other queries have no data."""
    memory = remembering()

    decision = check(dashboard_of({"expr": expr}, {"expr": "absent_metric"}), memory.client, memory.time)

    assert decision.exit_status == 1
    assert decision.findings[0].rule == "dashboard.query"


@real
def test_only_nan_is_no_data(dashboard_of, remembering):
    """A share of nothing is not a figure."""
    memory = remembering()

    decision = check(dashboard_of({"expr": "0 * target_info / 0"}), memory.client, memory.time)

    assert (decision.exit_status, "NaN" in decision.findings[0].message) == (3, True)


@real
def test_a_query_to_something_else_is_not_checked(dashboard_of, remembering):
    """A panel that asks a log store is unasked, and therefore not good."""
    memory = remembering()

    decision = check(dashboard_of({"rawSql": "select 1"}, {"expr": "target_info"}), memory.client, memory.time)

    assert decision.exit_status == 3
    assert "not a query to a Prometheus" in decision.findings[0].message


def test_a_dashboard_without_queries_is_undetermined():
    """Nothing was checked."""
    assert check(read('{"panels": []}'), Client("http://127.0.0.1:9"), HOUR).exit_status == 3


def test_a_prometheus_that_is_not_there_is_undetermined(dashboard_of):
    """Not to be reached is not good."""
    decision = check(dashboard_of({"expr": "up"}), Client("http://127.0.0.1:9"), HOUR)

    assert (decision.exit_status, decision.reason) == (3, "slo.prometheus")


class Strange(BaseHTTPRequestHandler):
    """A server that answers what it is told to."""

    answer: tuple[int, bytes] = (200, b"")

    def do_GET(self):
        self.do_POST()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(self.answer[0])
        self.send_header("content-length", str(len(self.answer[1])))
        self.end_headers()
        self.wfile.write(self.answer[1])

    def log_message(self, *_):
        pass


@pytest.fixture
def strange():
    """Starts a server with one answer; gives its client."""
    servers = []

    def start(status, body):
        handler = type("Handler", (Strange,), {"answer": (status, body)})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return Client(f"http://127.0.0.1:{server.server_port}", timeout_seconds=5)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>a login page</html>"),
        (200, b'{"status": "success"}'),
        (200, b'{"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}}]}}'),
        (200, b'{"status": "success", "data": {"resultType": "vector", "result": [{"metric": 3, "value": [1, "x"]}]}}'),
        (200, b"[" * 5000),
        (400, b"not json"),
        (503, b'{"status": "error", "error": "starting up"}'),
        (302, b""),
    ],
)
def test_what_is_no_answer_of_a_prometheus_is_an_error_of_its_own(status, body, strange):
    """Neither a proxy's page nor half an answer is taken for data."""
    with pytest.raises(PrometheusError):
        strange(status, body).at("up", time=0)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x", "127.0.0.1:9090", ""])
def test_only_http_is_asked(url):
    """Other schemes are refused before anything is opened."""
    with pytest.raises(PrometheusError, match="not the URL"):
        Client(url).at("up", time=0)


def test_a_scalar_is_a_series_without_labels(strange):
    """`vector`, `matrix` and `scalar` are all read."""
    body = json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [5, "1.5"]}}).encode()

    (series,) = strange(200, body).at("1.5", time=5)

    assert (dict(series.labels), series.points) == ({}, ((5.0, 1.5),))
