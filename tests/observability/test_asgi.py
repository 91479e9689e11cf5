"""The ASGI middleware: one span, one access event, the golden metrics, and never in the way."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace

import pytest

from companyos import observability
from companyos.observability import ASGIMiddleware, get_logger
from companyos.observability.golden import Golden

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def answer(status=200, headers=(), route=None, note=None):
    """An application that answers so."""

    async def app(scope, receive, send):
        if route is not None:
            scope["route"] = SimpleNamespace(path=route)
        if note:
            observability.annotate(**note)
        get_logger("app").info("handling")
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": b"ok"})

    return app


def test_what_one_request_learnt_is_not_told_of_the_next(service):
    """A scope around the whole server does not carry a subject from request to request; its own fields stay."""

    async def app(scope, receive, send):
        if scope["path"] == "/first":
            observability.annotate(subject_id="alice", outcome="success")
        await send({"type": "http.response.start", "status": 403, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    for wrapped in (ASGIMiddleware(app), ASGIMiddleware(app, quiet_paths=["/first"])):
        with observability.bind(component="api"):
            call(wrapped, path="/first")
            call(wrapped, path="/second")
            log = get_logger("after")
            log.info("after")
        second, after = service.events[-2:]
        assert ("/second", "failure", "api") == (second["resource"], second["outcome"], second["component"])
        assert second["subject_id"] is None
        assert after["subject_id"] is None


def call(app, *, headers=(), path="/orders/7", **scope):
    """Serve one request and return the messages sent back."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    whole = {"type": "http", "method": "GET", "path": path, "scheme": "http", "http_version": "1.1"}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    asyncio.run(app({**whole, "headers": raw, "query_string": b"", **scope}, receive, send))
    return sent


def request_id(messages):
    """The request ids in the headers sent back."""
    return [value.decode() for name, value in messages[0]["headers"] if name == b"x-request-id"]


def test_a_request_is_traced_logged_and_measured(service):
    """Span, access event, handler's event and metrics tell of the same request, by the conventions."""
    app = ASGIMiddleware(answer(route="/orders/{id}", note={"subject_id": "u-1"}))
    headers = [("traceparent", TRACEPARENT), ("X-Request-ID", "r-1"), ("host", "shop.example:8080")]
    headers.append(("user-agent", "t"))
    messages = call(app, headers=headers, query_string=b"page=2&token=abc")
    (span,) = service.observability.spans()
    assert (span.name, span.kind, span.status, span.parent_id) == (
        "GET /orders/{id}", "server", "unset", "00f067aa0ba902b7",
    )  # fmt: skip
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/orders/{id}",
        "network.protocol.version": "1.1",
        "server.address": "shop.example",
        "server.port": 8080,
        "url.path": "/orders/7",
        "url.query": "page=2&token=[secret]",
        "url.scheme": "http",
        "user_agent.original": "t",
    }
    inner, access = service.events
    assert {event["trace_id"] for event in (inner, access)} == {"4bf92f3577b34da6a3ce929d0e0e4736"}
    assert {event["span_id"] for event in (inner, access)} == {span.span_id}
    assert {event["request_id"] for event in (inner, access)} == {"r-1"} == set(request_id(messages))
    expected = {
        "event": "http.request", "level": "INFO", "action": "GET", "resource": "/orders/{id}", "outcome": "success",
        "status": 200, "subject_id": "u-1", "correlation_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    }  # fmt: skip
    assert {key: access[key] for key in expected} == expected
    assert access["latency_ms"] >= 0
    (point,) = service.observability.metrics("http.server.request.duration")
    assert (point.kind, point.unit, point.count) == ("histogram", "s", 1)
    assert dict(point.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/orders/{id}",
        "network.protocol.version": "1.1",
        "url.scheme": "http",
    }
    assert [p.value for p in service.observability.metrics("http.server.active_requests")] == [0]
    assert [p.value for p in service.observability.metrics("requests_total")] == [1]
    assert service.observability.metrics("errors_total") == []


@pytest.mark.parametrize(
    ("status", "level", "outcome", "error"),
    [
        (204, "INFO", "success", None), (302, "INFO", "success", None), (404, "INFO", "failure", None),
        (408, "WARN", "failure", None), (429, "WARN", "failure", None), (500, "ERROR", "failure", "500"),
        (503, "ERROR", "failure", "503"),
    ],
)  # fmt: skip
def test_statuses(service, status, level, outcome, error):
    """Only what the server did wrong is an error of the server; the client's mistakes are failures of the request."""
    call(ASGIMiddleware(answer(status)))
    access = service.events[-1]
    assert (access["level"], access["outcome"], access["status"]) == (level, outcome, status)
    (span,) = service.observability.spans()
    assert (span.status, span.attributes.get("error.type")) == ("error" if error else "unset", error)
    assert len(service.observability.metrics("errors_total")) == (1 if error else 0)


def test_an_application_that_raises(service):
    """Its error is recorded as a 500 and goes on to the server."""

    async def app(scope, receive, send):
        raise LookupError("ann@example.org")

    with pytest.raises(LookupError):
        call(ASGIMiddleware(app))
    event = service.event
    assert (event["level"], event["status"], event["outcome"]) == ("ERROR", 500, "failure")
    assert (event["exception.type"], event["exception.message"]) == ("LookupError", "[email]")
    (span,) = service.observability.spans()
    assert (span.status, span.attributes["error.type"]) == ("error", "LookupError")
    (point,) = service.observability.metrics("errors_total")
    assert (point.value, point.attributes["http.response.status_code"]) == (1, 500)


def test_an_application_that_raises_after_its_answer_began(service):
    """The status that the client saw is kept, the failure told."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        call(ASGIMiddleware(app))
    assert (service.event["status"], service.event["outcome"], service.event["level"]) == (200, "failure", "ERROR")


def test_an_application_that_does_not_answer(service):
    """No answer at all is a failure."""

    async def app(scope, receive, send):
        pass

    call(ASGIMiddleware(app))
    assert (service.event["outcome"], service.event["level"], "status" in service.event) == ("failure", "WARN", False)
    assert service.observability.spans()[0].attributes["error.type"] == "no_response"


def test_a_cancelled_request(service):
    """A client that goes away is no error of the server; whether the work was done is not known."""

    async def app(scope, receive, send):
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        call(ASGIMiddleware(app))
    assert service.event["outcome"] == "unknown"
    assert service.observability.metrics("errors_total") == []
    assert [p.value for p in service.observability.metrics("http.server.active_requests")] == [0]


@pytest.mark.parametrize("value", ["", "a b", "x" * 129, "new\nline", "<b>", "é", ";drop"])
def test_harmful_request_ids_are_replaced(service, value):
    """A request id from outside is echoed only if it is harmless."""
    (echoed,) = request_id(call(ASGIMiddleware(answer()), headers=[("x-request-id", value)]))
    assert re.fullmatch("[0-9a-f]{32}", echoed)


def test_the_applications_own_request_id_stays(service):
    """A response that already has a request id does not get a second one."""
    app = ASGIMiddleware(answer(headers=[(b"X-Request-Id", b"mine")]))
    assert [(name, value) for name, value in call(app)[0]["headers"] if name.lower() == b"x-request-id"] == [
        (b"X-Request-Id", b"mine")
    ]


def test_correlation_id(service):
    """A correlation id from outside ties the events together in place of the trace id."""
    messages = call(ASGIMiddleware(answer()), headers=[("x-correlation-id", "case-9")])
    assert {event["correlation_id"] for event in service.events} == {"case-9"}
    assert (b"x-correlation-id", b"case-9") in messages[0]["headers"]


def test_quiet_paths(service):
    """A health check gets its request id and leaves no trace."""
    messages = call(ASGIMiddleware(answer(), quiet_paths=["/health"]), path="/health")
    assert len(request_id(messages)) == 1
    assert [event["event"] for event in service.events] == ["handling"]
    assert (service.observability.spans(), service.observability.metrics()) == ([], [])


def test_client_addresses_are_personal(service):
    """The client's address is recorded only when asked for."""
    call(ASGIMiddleware(answer()), client=("203.0.113.9", 1))
    call(ASGIMiddleware(answer(), record_client_address=True), client=("203.0.113.9", 1))
    assert [span.attributes.get("client.address") for span in service.observability.spans()] == [None, "203.0.113.9"]


def test_invented_methods_do_not_invent_series(service):
    """A method that does not exist is `_OTHER` in metrics, and told only on the span."""
    call(ASGIMiddleware(answer(route="/x")), method="BREW" * 100)
    (span,) = service.observability.spans()
    assert span.name == "HTTP /x"
    assert span.attributes["http.request.method_original"] == ("BREW" * 100)[:64]
    (point,) = service.observability.metrics("http.server.request.duration")
    assert point.attributes["http.request.method"] == "_OTHER"


def test_mounted_applications(service):
    """The route of a mounted application includes where it is mounted, and not where the server is."""

    async def app(scope, receive, send):
        scope["root_path"] += "/admin"
        await answer(route="/users/{id}")(scope, receive, send)

    call(ASGIMiddleware(app), root_path="/prefix")
    assert service.events[-1]["resource"] == "/admin/users/{id}"


def test_personal_data_in_the_address_is_masked(service):
    """An e-mail address in path or query does not get into span or log; line breaks stay escaped."""
    call(ASGIMiddleware(answer()), path="/by/ann@example.org/x\ny", query_string=b"mail=ann%40example.org")
    (span,) = service.observability.spans()
    assert (span.attributes["url.path"], span.attributes["url.query"]) == ("/by/[email]/x%0Ay", "mail=[email]")
    assert "ann@example.org" not in service.stream.getvalue()


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_other_connections_pass_through(service, kind):
    """Websockets and lifespan reach the application untouched."""
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    scope, receive, send = {"type": kind}, object(), object()
    asyncio.run(ASGIMiddleware(app)(scope, receive, send))
    assert seen == [(scope, receive, send)]
    assert service.events == []


STRANGE = {
    "a bare scope": {"type": "http"},
    "repeated trace parents": {"type": "http", "headers": [(b"traceparent", TRACEPARENT.encode())] * 2},
    "bytes that are no text": {"type": "http", "headers": [(b"x-request-id", b"\xff\xfe")]},
    "a query that is no text": {"type": "http", "query_string": b"\xff=%ff"},
    "an empty query": {"type": "http", "query_string": b"&&&"},
    "a host without port": {"type": "http", "headers": [(b"host", b"[::1]")]},
    "a large port": {"type": "http", "headers": [(b"host", b"h:99999999999999999999")]},
    "a route of another kind": {"type": "http", "route": object()},
    "header names in capitals": {"type": "http", "headers": [(b"TraceParent", TRACEPARENT.encode())]},
}


@pytest.mark.parametrize("case", STRANGE)
def test_strange_requests_are_served(service, case):
    """Whatever a server hands over, the application answers, and the request is observed."""
    sent = []

    async def send(message):
        sent.append(message["type"])

    asyncio.run(ASGIMiddleware(answer())(dict(STRANGE[case]), None, send))
    assert sent == ["http.response.start", "http.response.body"]
    assert service.events[-1]["event"] == "http.request"


@pytest.mark.parametrize("broken", ["active", "record"])
def test_a_failure_to_observe_breaks_nobody(service, monkeypatch, broken):
    """When recording itself fails the application still answers, and an event tells of the failure."""

    def fail(*args, **kwargs):
        raise RuntimeError("no meter")

    monkeypatch.setattr(Golden, broken, fail)
    messages = call(ASGIMiddleware(answer()))
    assert [message["type"] for message in messages] == ["http.response.start", "http.response.body"]
    assert "observability.failed" in [event["event"] for event in service.events]


def test_concurrent_requests_keep_apart(service):
    """Requests served at the same time in one loop do not see each other's ids."""

    async def app(scope, receive, send):
        await asyncio.sleep(0)
        get_logger().info("inside", asked=scope["asked"])
        await answer()(scope, receive, send)

    async def serve_all():
        middleware = ASGIMiddleware(app)

        async def send(message):
            await asyncio.sleep(0)

        scopes = [
            {"type": "http", "asked": f"r-{n}", "headers": [(b"x-request-id", f"r-{n}".encode())]} for n in range(20)
        ]
        await asyncio.gather(*(middleware(scope, None, send) for scope in scopes))

    asyncio.run(serve_all())
    inside = [event for event in service.events if event["event"] == "inside"]
    assert {event["asked"] == event["request_id"] for event in inside} == {True}
    assert len({event["trace_id"] for event in inside}) == 20


def test_an_error_that_cannot_be_shown_passes_through_unchanged(service):
    """The middleware does not replace the application's exception."""

    class UnspeakableError(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    async def app(scope, receive, send):
        raise UnspeakableError

    with pytest.raises(UnspeakableError):
        call(ASGIMiddleware(app))
    assert ("http.request", "failure") == (service.events[-1]["event"], service.events[-1]["outcome"])


@pytest.mark.parametrize("headers", [[("x", "y")], [("X-Request-ID", "own")], [["a"]], [7], ()], ids=repr)
def test_headers_of_the_wrong_kind_are_the_servers_to_refuse(service, headers):
    """Text in place of bytes, and what is no pair, is passed on as it is; a request id of its own is respected."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    start, _ = call(ASGIMiddleware(app))

    assert list(headers) == start["headers"][: len(headers)]
    assert len(start["headers"]) == len(headers) + (1 if headers == [("X-Request-ID", "own")] else 2)


def test_a_request_with_headers_of_the_wrong_kind_is_served(service):
    """A server that hands over text for bytes, or no pairs, does not make the middleware raise."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b""})

    whole = {"type": "http", "method": "GET", "path": "/", "headers": [("X-Request-ID", "r-1"), (b"a",), 7]}
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(ASGIMiddleware(app)(whole, None, send))
    assert (b"x-request-id", b"r-1") in sent[0]["headers"]


def test_signatures_and_codes_in_the_query_are_masked(service):
    """Signed URLs and authorization codes do not reach the trace."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    names = ("X-Amz-Signature", "sig", "Signature", "X-Goog-Signature", "code", "token", "AWSAccessKeyId")
    query = "&".join(f"{name}=hunter2" for name in names)
    call(ASGIMiddleware(app), query_string=f"{query}&page=2&ann@example.org=1".encode())

    shown = service.observability.spans()[-1].attributes["url.query"]
    assert "&".join(f"{name}=[secret]" for name in names) + "&page=2&[email]=1" == shown
