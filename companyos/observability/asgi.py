"""ASGI middleware: one server span, one access event and the golden metrics a request, by the HTTP conventions.

Pure ASGI 3: it needs no web framework and works under any.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

from companyos.observability.logs import get_logger
from companyos.observability.meters import metrics
from companyos.observability.redaction import SECRET, as_text, is_secret_key
from companyos.observability.runtime import current
from companyos.observability.scope import bind, boundary, current_fields
from companyos.observability.semconv import (
    HTTP_SERVER_ACTIVE_REQUESTS,
    HTTP_SERVER_REQUEST_DURATION,
    KNOWN_METHODS,
)
from companyos.observability.tracing import Trace, safe_id, start_trace, type_name

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ("ASGIMiddleware",)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID = "x-request-id"
_log = get_logger("companyos.observability.asgi")


class ASGIMiddleware:
    """Wraps an ASGI application so that every HTTP request is traced, logged and measured.

    The incoming `traceparent` is the parent. A well-formed `X-Request-ID` is kept, else one is made; it is sent back
    with the response. `X-Correlation-ID` is kept if well-formed, else the trace id ties events together. Requests to
    `quiet_paths` (health checks) get a request id and nothing more. Websockets and lifespan pass through untouched.

    An error of the application is recorded and goes on; an error of the recording is logged and goes nowhere.
    The address of the client is personal data and is recorded only with `record_client_address`.
    """

    def __init__(self, app: App, *, quiet_paths: Collection[str] = (), record_client_address: bool = False) -> None:
        self._app = app
        self._quiet = frozenset(quiet_paths)
        self._record_client_address = record_client_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        request_id = safe_id(headers.get("x-request-id")) or uuid.uuid4().hex
        reply = _Reply(send, request_id)
        if scope.get("path") in self._quiet:
            with boundary(request_id=request_id):
                await self._app(scope, receive, reply)
            return
        with boundary(request_id=request_id), ExitStack() as stack:
            request = self._begin(stack, scope, headers)
            try:
                await self._app(scope, receive, reply)
            except BaseException as error:
                _finish(request, reply, error)
                raise
            _finish(request, reply, None)

    def _begin(self, stack: ExitStack, scope: Scope, headers: dict[str, str]) -> _Request | None:
        try:
            attributes = _request_attributes(scope, headers)
            client = scope.get("client")
            if self._record_client_address and client:
                attributes["client.address"] = client[0]
            method = str(attributes["http.request.method"])
            trace = stack.enter_context(
                start_trace(_span_name(method), headers=headers, kind="server", attributes=attributes)
            )
            correlation = current_fields().get("correlation_id") or trace.trace_id
            stack.enter_context(bind(correlation_id=correlation))
            request = _Request(scope, trace, attributes)
            metrics.change(HTTP_SERVER_ACTIVE_REQUESTS, 1, request.active_tags)
        except Exception:  # noqa: BLE001 - observing must not break what it observes; the failure is logged
            _log.exception("observability.failed", action="begin")
            return None
        return request


class _Request:
    __slots__ = ("active_tags", "attributes", "root_path", "scope", "started", "trace")

    def __init__(self, scope: Scope, trace: Trace, attributes: dict[str, Any]) -> None:
        self.scope = scope
        self.trace = trace
        self.attributes = attributes
        self.root_path: str = scope.get("root_path", "")
        self.active_tags = {key: attributes[key] for key in ("http.request.method", "url.scheme")}
        self.started = time.perf_counter()

    def route(self) -> str | None:
        """The template of the route that served it, with the path it is mounted under; known only afterwards."""
        path = getattr(self.scope.get("route"), "path", None)
        if not isinstance(path, str):
            return None
        mounted: str = self.scope.get("root_path", "")
        return mounted.removeprefix(self.root_path) + path if mounted.startswith(self.root_path) else path


class _Reply:
    __slots__ = ("_request_id", "_send", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id.encode("ascii")
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message.get("type") == "http.response.start":
            self.status = message.get("status")
            headers = list(message.get("headers") or ())
            # What is no list of pairs is passed on: the server says what is wrong with it.
            if REQUEST_ID not in {
                _text(pair[0]).lower() for pair in headers if isinstance(pair, tuple | list) and pair
            }:
                headers.append((REQUEST_ID.encode("ascii"), self._request_id))
            message = {**message, "headers": headers}
        await self._send(message)


def _finish(request: _Request | None, reply: _Reply, error: BaseException | None) -> None:
    if request is None:
        return
    try:
        _conclude(request, reply.status, error)
    except Exception:  # noqa: BLE001 - observing must not break what it observes; the failure is logged
        _log.exception("observability.failed", action="finish")


def _conclude(request: _Request, status: int | None, error: BaseException | None) -> None:
    seconds = time.perf_counter() - request.started
    failed = isinstance(error, Exception)
    if failed and status is None:
        # The server answers 500 for an application that raises before it has answered.
        status = 500
    route = request.route()
    method = str(request.attributes["http.request.method"])
    error_type = _error_type(status, error)
    tags = request.active_tags | {
        key: value
        for key, value in (
            ("http.route", route),
            ("http.response.status_code", status),
            ("network.protocol.version", request.attributes.get("network.protocol.version")),
            ("error.type", error_type),
        )
        if value is not None
    }
    metrics.change(HTTP_SERVER_ACTIVE_REQUESTS, -1, request.active_tags)
    metrics.record(HTTP_SERVER_REQUEST_DURATION, seconds, tags)
    request.trace.set("http.response.status_code", status)
    if route is not None:
        request.trace.set("http.route", route)
        request.trace.rename(f"{_span_name(method)} {route}")
    # An exception marks the span itself, on its way out.
    if error_type is not None and not failed:
        request.trace.fail(error_type)
    _access_event(request, route, status, seconds, error)


def _error_type(status: int | None, error: BaseException | None) -> str | None:
    if error is not None:
        # A cancelled request (its client has gone) is no error of ours.
        return type_name(error) if isinstance(error, Exception) else None
    if status is None:
        return "no_response"
    return str(status) if status >= 500 else None


def _access_event(
    request: _Request, route: str | None, status: int | None, seconds: float, error: BaseException | None
) -> None:
    fields: dict[str, Any] = {
        "action": request.attributes["http.request.method"],
        "resource": route or request.attributes["url.path"],
        "outcome": _outcome(status, error),
        "latency_ms": round(seconds * 1000, 3),
        "status": status,
    }
    # What the application said about itself (`annotate(action=...)`) is better than what the wire shows.
    fields = {key: value for key, value in fields.items() if key not in current_fields()}
    if isinstance(error, Exception):
        _log.error("http.request", exc_info=error, **fields)
    elif status is not None and status >= 500:
        _log.error("http.request", **fields)
    elif status in {408, 429} or status is None:
        _log.warning("http.request", **fields)
    else:
        _log.info("http.request", **fields)


def _outcome(status: int | None, error: BaseException | None) -> str:
    if error is not None and not isinstance(error, Exception):
        # Cancelled: whether the work was done is not known.
        return "unknown"
    return "success" if error is None and status is not None and status < 400 else "failure"


def _request_attributes(scope: Scope, headers: dict[str, str]) -> dict[str, Any]:
    method = str(scope.get("method", "")).upper()
    host, _, port = headers.get("host", "").rpartition(":")
    if not port.isdecimal():
        host, port = headers.get("host", ""), ""
    attributes: dict[str, Any] = {
        "http.request.method": method if method in KNOWN_METHODS else "_OTHER",
        "url.scheme": scope.get("scheme", "http"),
        # Escaped, because ASGI hands it over decoded and a decoded path may hold line breaks.
        "url.path": current().redactor.text(quote(str(scope.get("path", "")), safe="/:@!$&'()*+,;=~-._")),
        "network.protocol.version": scope.get("http_version", "1.1"),
        "url.query": _query(scope.get("query_string", b"")),
        "server.address": host or None,
        "server.port": int(port) if port else None,
        "user_agent.original": headers.get("user-agent"),
    }
    if method not in KNOWN_METHODS:
        attributes["http.request.method_original"] = method[:64]
    return {key: value for key, value in attributes.items() if value is not None}


def _query(raw: bytes) -> str | None:
    if not raw:
        return None
    mask = current().redactor.text
    pairs = parse_qsl(raw[:4096].decode("latin-1"), keep_blank_values=True)
    return urlencode([(mask(k), SECRET if _is_secret(k) else mask(v)) for k, v in pairs], safe="[]@/:") or None


def _is_secret(name: str) -> bool:
    # In a query, unlike elsewhere, `code` is what an authorization server hands out (RFC 6749, section 4.1.2).
    return name.lower() == "code" or is_secret_key(name)


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for pair in scope.get("headers") or ():
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            continue
        key, text = _text(pair[0]).lower(), _text(pair[1])
        # RFC 9110 5.2: repeated fields are one list. A repeated traceparent so becomes malformed and is not followed.
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers


def _text(value: object) -> str:
    """A header's name or value; ASGI says bytes, but the application's own mistake is not ours to raise."""
    return bytes(value).decode("latin-1") if isinstance(value, bytes | bytearray | memoryview) else as_text(value)


def _span_name(method: str) -> str:
    return "HTTP" if method == "_OTHER" else method
