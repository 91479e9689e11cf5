"""Calls to others: a client span and the conventions' metric for each, and the trace goes along."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import urllib.error
import urllib.request
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import sqlalchemy

from companyos import observability
from companyos.observability import database_call, http_call, observe_engine, observed_transport, start_trace
from tests.services.process import free_port

HTTP, DATABASE = "http.client.request.duration", "db.client.operation.duration"


class Echo(BaseHTTPRequestHandler):
    """Answers with the status that the path asks for, and the headers that came."""

    def do_GET(self):
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(int(self.path.strip("/").partition("?")[0] or 200))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture(scope="module")
def remote():
    """The address of a real HTTP server on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ask(url, way):
    """GET by httpx, blocking or not, or by the standard library; the headers that arrived."""
    if way == "sync":
        with httpx.Client(transport=observed_transport(httpx.HTTPTransport())) as client:
            return client.get(url).json()
    if way == "async":
        return asyncio.run(_ask(url))
    with http_call("GET", url) as call:
        request = urllib.request.Request(url, headers=call.headers)  # noqa: S310 - the test's own server
        try:
            answer = urllib.request.urlopen(request, timeout=10)  # noqa: S310 - the same
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            call.answered(answer.status)
            return json.load(answer)


async def _ask(url):
    async with httpx.AsyncClient(transport=observed_transport(httpx.AsyncHTTPTransport())) as client:
        return (await client.get(url)).json()


WAYS = pytest.mark.parametrize("way", ["sync", "async", "by hand"])


def point(service, name):
    """The one series of a metric."""
    (found,) = service.observability.metrics(name)
    return found


@WAYS
def test_a_call_is_one_client_span_and_one_measurement(way, service, remote):
    """With method, address, port and status, by the names of the HTTP conventions; both say the same duration."""
    ask(f"{remote}/200?page=2&token=hidden", way)

    (span,) = service.observability.spans()
    measured = point(service, HTTP)
    port = int(remote.rpartition(":")[2])
    shared = {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": port,
        "http.response.status_code": 200,
    }
    assert ("GET", "client", "unset") == (span.name, span.kind, span.status)
    assert shared | {"url.full": f"{remote}/200?page=2&token=[secret]"} == span.attributes
    assert (1, "s", shared) == (measured.count, measured.unit, measured.attributes)
    assert measured.value * 1000 == pytest.approx(span.duration_ms, abs=0.01)


@WAYS
def test_the_trace_goes_along(way, service, remote):
    """Who is called sees the client span as its parent, the baggage and the correlation id of the work in hand."""
    came = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "baggage": "tier=gold", "x-correlation-id": "order-7"}
    with start_trace("work", came):
        arrived = ask(f"{remote}/200", way)

    client, work = service.observability.spans()
    assert client.parent_id == work.span_id
    assert f"00-{'a' * 32}-{client.span_id}-01" == arrived["traceparent"]
    assert ("tier=gold", "order-7") == (arrived["baggage"], arrived["x-correlation-id"])


@WAYS
@pytest.mark.parametrize("status", [404, 503])
def test_an_answer_of_400_and_above_is_a_failure_of_the_call(way, status, service, remote):
    """Its `error.type` is the status (HTTP conventions, client: 4xx is an error too)."""
    ask(f"{remote}/{status}", way)

    (span,) = service.observability.spans()
    assert ("error", str(status)) == (span.status, span.attributes["error.type"])
    assert str(status) == point(service, HTTP).attributes["error.type"]


@WAYS
def test_a_call_that_nobody_answers_is_measured_and_raises(way, service):
    """What the client raises goes on, and its type is `error.type`."""
    with pytest.raises((httpx.ConnectError, urllib.error.URLError)) as caught:
        ask(f"http://127.0.0.1:{free_port()}/200", way)

    attributes = point(service, HTTP).attributes
    assert "http.response.status_code" not in attributes
    assert attributes["error.type"].rpartition(".")[2] == caught.type.__name__
    assert "error" == service.observability.spans()[0].status


def test_a_call_that_was_given_up_has_failed(service):
    """A dependency that hangs until its caller loses patience does not look healthy."""

    async def hang():
        with http_call("GET", "https://payments.example.com/"):
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(hang(), 0.05))

    attributes = point(service, HTTP).attributes
    assert "CancelledError" in attributes["error.type"]
    assert ("payments.example.com", 443) == (attributes["server.address"], attributes["server.port"])


def test_a_stranger_is_told_nothing(service, remote):
    """Without `propagate` neither trace nor baggage nor correlation id leaves; the call is measured all the same."""
    came = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "baggage": "tier=gold", "x-correlation-id": "order-7"}
    transport = observed_transport(httpx.HTTPTransport(), propagate=False)
    with start_trace("work", came), httpx.Client(transport=transport) as client:
        arrived = client.get(f"{remote}/200").json()

    assert {"traceparent", "baggage", "x-correlation-id"}.isdisjoint(arrived)
    assert 1 == point(service, HTTP).count


def test_a_request_keeps_its_own_correlation_id(service, remote):
    """What the caller set is kept, except for a stale parent."""
    own = {"x-correlation-id": "mine", "traceparent": f"00-{'c' * 32}-{'d' * 16}-01"}
    with (
        observability.bind(correlation_id="ours"),
        httpx.Client(transport=observed_transport(httpx.HTTPTransport())) as client,
    ):
        arrived = client.get(f"{remote}/200", headers=own).json()

    assert "mine" == arrived["x-correlation-id"]
    assert service.observability.spans()[0].span_id in arrived["traceparent"]


@pytest.mark.parametrize("url", ["http://[::1", "http://host:99999/", "nowhere", ""])
def test_a_url_that_cannot_be_read_does_not_stop_the_call(url, service):
    """The recording fails, says so in the log, and the work goes on."""
    with http_call("GET", url) as call:
        call.answered(200)

    assert ["observability.failed"] == [event["event"] for event in service.events]
    assert [] == service.observability.spans()


def test_password_in_a_url_and_invented_methods_stay_out(service):
    """The span shows neither user nor password, and a method nobody knows makes no series of its own."""
    with http_call("BREW", "https://alice:s3cr3t@example.com:8443/pot#top") as call:
        call.answered(200)

    (span,) = service.observability.spans()
    assert ("HTTP", "https://example.com:8443/pot") == (span.name, span.attributes["url.full"])
    assert "_OTHER" == point(service, HTTP).attributes["http.request.method"]


def test_without_recording_the_trace_goes_along_all_the_same(make_service, monkeypatch, remote):
    """With OTEL_SDK_DISABLED nothing is recorded, and caller and callee still share a trace."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    make_service()
    with start_trace("work") as work:
        arrived = ask(f"{remote}/200", "sync")

    assert work.trace_id in arrived["traceparent"]


def test_a_database_call_is_one_client_span_and_one_measurement(service, tmp_path):
    """With system, operation and namespace, by the names of the database conventions."""
    with (
        closing(sqlite3.connect(tmp_path / "orders.db")) as connection,
        start_trace("work") as work,
        database_call("sqlite", "CREATE", namespace="orders", collection="items"),
    ):
        connection.execute("CREATE TABLE items (id INTEGER PRIMARY KEY)")

    span = service.observability.spans()[0]
    measured = point(service, DATABASE)
    attributes = {
        "db.system.name": "sqlite",
        "db.operation.name": "CREATE",
        "db.namespace": "orders",
        "db.collection.name": "items",
    }
    assert ("CREATE items", "client", work.span_id) == (span.name, span.kind, span.parent_id)
    assert attributes == span.attributes == measured.attributes
    assert (1, "s") == (measured.count, measured.unit)


def test_a_database_call_that_fails_says_how(service):
    """The exception goes on, and is `error.type`."""
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(sqlite3.OperationalError),
        database_call("sqlite", "SELECT"),
    ):
        connection.execute("SELECT * FROM nowhere")

    assert "sqlite3.OperationalError" == point(service, DATABASE).attributes["error.type"]
    assert "error" == service.observability.spans()[0].status


def test_a_failure_that_nothing_raised_can_be_told(service):
    """A word of few values is enough."""
    with database_call("redis", "GET", server="cache", port=6379) as call:
        call.fail("miss_storm")

    attributes = point(service, DATABASE).attributes
    assert ("miss_storm", "cache", 6379) == tuple(
        attributes[key] for key in ("error.type", "server.address", "server.port")
    )


def test_durations_of_databases_have_the_bounds_of_their_convention(service):
    """From one millisecond, as the database conventions advise."""
    with database_call("sqlite", "SELECT"):
        pass

    text = observability.metrics_text()
    lines = [line for line in text.splitlines() if line.startswith("db_client_operation_duration_seconds_bucket")]
    assert ["0.001", "0.005", "0.01", "0.05", "0.1", "0.5", "1.0", "5.0", "10.0", "+Inf"] == [
        line.partition('le="')[2].partition('"')[0] for line in lines
    ]


@pytest.fixture
def engine(tmp_path):
    """An observed engine of SQLAlchemy with one table."""
    made = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'orders.db'}")
    with made.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)")
    observe_engine(made)
    yield made
    made.dispose()


def series(service):
    """Operation, `error.type` and count of every series of the databases."""
    found = service.observability.metrics(DATABASE)
    return {(each.attributes.get("db.operation.name"), each.attributes.get("error.type"), each.count) for each in found}


def test_an_engine_measures_every_statement(service, engine):
    """Each by its first word; many rows at once are one batch, and neither statement nor value is recorded."""
    insert = sqlalchemy.text("INSERT INTO items (name) VALUES (:name)")
    with engine.begin() as connection, start_trace("work") as work:
        connection.execute(insert, [{"name": "s3cr3t-a"}, {"name": "s3cr3t-b"}])
        connection.execute(insert, {"name": "s3cr3t-c"})
        assert 3 == connection.execute(sqlalchemy.text("select count(*) from items")).scalar()
        connection.execute(sqlalchemy.text("WITH a AS (SELECT 1) SELECT * FROM a"))

    assert {("BATCH INSERT", None, 1), ("INSERT", None, 1), ("SELECT", None, 1), (None, None, 1)} == series(service)
    spans = [span for span in service.observability.spans() if span.kind == "client"]
    assert {work.span_id} == {span.parent_id for span in spans}
    assert {"orders.db"} == {span.attributes["db.namespace"] for span in spans}
    assert "s3cr3t" not in repr(service.observability.spans())


def test_an_engine_tells_of_statements_that_fail(service, engine):
    """With the error of the driver; what follows on the same connection is measured again."""
    with engine.connect() as connection:
        with pytest.raises(sqlalchemy.exc.OperationalError):
            connection.execute(sqlalchemy.text("SELECT * FROM nowhere"))
        connection.execute(sqlalchemy.text("SELECT 1"))

    assert {("SELECT", "sqlite3.OperationalError", 1), ("SELECT", None, 1)} == series(service)


def test_an_engine_that_cannot_connect_says_so_itself(service, tmp_path):
    """No statement was begun, so none is measured, and the error is SQLAlchemy's own."""
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'no' / 'where.db'}")
    observe_engine(engine)

    with pytest.raises(sqlalchemy.exc.OperationalError):
        engine.connect()

    assert [] == service.observability.metrics(DATABASE)


@pytest.mark.service("postgresql")
def test_a_lost_connection_is_a_failed_call(service, postgresql_url):
    """It is measured with the error of the driver, and the statement after it on a new connection again."""
    url = sqlalchemy.make_url(postgresql_url).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url)
    observe_engine(engine)
    for statement in ("SELECT pg_terminate_backend(pg_backend_pid())", "SELECT 1"):
        with suppress(sqlalchemy.exc.OperationalError), engine.connect() as connection:
            connection.execute(sqlalchemy.text(statement))
    engine.dispose()

    found = [each for each in service.observability.metrics(DATABASE) if "SELECT" in each.attributes.values()]
    assert "psycopg.errors.AdminShutdown" in {each.attributes.get("error.type") for each in found}
    assert None in {each.attributes.get("error.type") for each in found}
    assert {("postgresql", url.database)} == {
        (each.attributes["db.system.name"], each.attributes["db.namespace"]) for each in found
    }
