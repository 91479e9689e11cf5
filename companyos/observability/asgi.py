"""ASGI middleware: one server span, one access event and the golden metrics a request, by the HTTP conventions.

Pure ASGI 3: it needs no web framework and works under any.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from random import getrandbits
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from opentelemetry import context as otel_context
from opentelemetry import trace

from companyos.observability import access
from companyos.observability.golden import Golden
from companyos.observability.logs import get_logger
from companyos.observability.propagation import Incoming, extract, headers_of, safe_id
from companyos.observability.redaction import as_text
from companyos.observability.runtime import current
from companyos.observability.scope import boundary, enter, leave
from companyos.observability.semconv import (
    HTTP_SERVER_ACTIVE_REQUESTS,
    HTTP_SERVER_REQUEST_DURATION,
    KNOWN_METHODS,
)
from companyos.observability.spans import Span, Unsampled
from companyos.observability.tracing import begin, mark_failed, type_name
from companyos.observability.wire import known_method, shown_query, span_name

if TYPE_CHECKING:
    from collections.abc import Collection
    from contextvars import Token

__all__ = ("ASGIMiddleware",)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = get_logger(access.LOGGER)
_WANTED = frozenset(["traceparent", "tracestate", "baggage", "x-request-id", "x-correlation-id", "host", "user-agent"])
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._~-]{0,512}")
MAX_REMEMBERED = 1024
"""Entries of each memory of what was shown before."""
MAX_REMEMBERED_TEXT = 256
"""Characters of a text that is remembered."""
_HTTP = Golden(HTTP_SERVER_REQUEST_DURATION, HTTP_SERVER_ACTIVE_REQUESTS)
_ACTIVE = "active"
_OWN = (Span, Unsampled)
_SERVER = trace.SpanKind.SERVER


class ASGIMiddleware:
    """Wraps an ASGI application so that every HTTP request is traced, logged and measured.

    The incoming `traceparent` is the parent. A well-formed `X-Request-ID` is kept, else one is made; a well-formed
    `X-Correlation-ID` is kept, else the trace id ties events together. Both are sent back with the response, unless
    the application sends its own. Requests to `quiet_paths` (health checks, `/metrics`), with
    or without a slash at their end, get a request id and nothing more.
    Websockets and lifespan pass through untouched.

    An error of the application is recorded and goes on; an error of the recording is logged and goes nowhere.
    The address of the client is personal data and is recorded only with `record_client_address`.
    """

    def __init__(self, app: App, *, quiet_paths: Collection[str] = (), record_client_address: bool = False) -> None:
        self._app = app
        self._quiet = frozenset(path.rstrip("/") for path in quiet_paths)
        self._record_client_address = record_client_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(scope, send)
        if self._quiet and scope.get("path", "").rstrip("/") in self._quiet:
            with boundary(request_id=request.request_id):
                await self._app(scope, receive, request)
            return
        tokens = request.begin(self._record_client_address)
        try:
            await self._app(scope, receive, request)
        except BaseException as error:
            request.finish(error)
            raise
        else:
            request.finish(None)
        finally:
            leave(tokens[0])
            if tokens[1] is not None:
                otel_context.detach(tokens[1])


class _Request:
    """A request in hand; called, it is the `send` that the application gets."""

    __slots__ = (
        *("_headers", "_ids", "_method", "_recorder", "_root_path", "_scheme", "_scope", "_send", "_started"),
        *("active", "correlation_id", "request_id", "span", "status"),
    )

    def __init__(self, scope: Scope, send: Send) -> None:
        self._started = time.perf_counter()
        self._scope = scope
        self._send = send
        self._headers = headers = _wanted(scope.get("headers") or ())
        self.request_id = safe_id(headers.get("x-request-id")) or f"{getrandbits(128):032x}"
        method = scope.get("method", "")
        self._method: str = method if method in KNOWN_METHODS else known_method(method)
        self._scheme: str = scope.get("scheme", "http")
        self._root_path: str = scope.get("root_path", "")
        self._recorder = current().recorder
        self._ids: tuple[str, str, str, str] | None = None
        self.span: trace.Span | None = None
        self.active: Any = None
        self.correlation_id: str | None = None
        self.status: int | None = None

    def __call__(self, message: Message) -> Awaitable[None]:
        """Send a message of the application, with our ids among the headers."""
        if message.get("type") == "http.response.start":
            self.status = message.get("status")
            headers = list(message.get("headers") or ())
            own = _own_ids(headers)
            if "x-request-id" not in own:
                headers.append((b"x-request-id", self.request_id.encode("ascii")))
            if self.correlation_id is not None and "x-correlation-id" not in own:
                headers.append((b"x-correlation-id", self.correlation_id.encode("ascii")))
            message = {**message, "headers": headers}
        return self._send(message)

    def begin(self, record_client_address: bool) -> tuple[Token[Any], Token[Any] | None]:
        """Take up what the request says; what is returned undoes it."""
        attached = None
        try:
            incoming = extract(self._headers)
            self.span = span = self._begin_span(incoming, record_client_address)
            trace_id, span_id = _ids_of(span)
            self.correlation_id = incoming.correlation_id or trace_id
            self._ids = (trace_id, span_id, self.correlation_id, self.request_id)
            attached = otel_context.attach(incoming.context_of(span))
            if self._recorder is not None:
                key = (_ACTIVE, self._method, self._scheme)
                self.active = _HTTP.active(self._recorder, key, _active_tags)
                self.active.add(1)
        except Exception:  # noqa: BLE001 - observing must not break what it observes; the failure is logged
            _log.exception("observability.failed", action="begin")
        if self.correlation_id is None:
            return enter(request_id=self.request_id), attached
        return enter(request_id=self.request_id, correlation_id=self.correlation_id), attached

    def finish(self, error: BaseException | None) -> None:
        """Conclude the span, the metrics and the access event."""
        seconds = time.perf_counter() - self._started
        try:
            self._conclude(seconds, error)
        except Exception:  # noqa: BLE001 - observing must not break what it observes; the failure is logged
            _log.exception("observability.failed", action="finish")

    def _begin_span(self, incoming: Incoming, record_client_address: bool) -> trace.Span:
        if self._recorder is None:
            return begin(self._method, incoming.parent, trace.SpanKind.SERVER, {})
        tracing = self._recorder.tracing
        # Its attributes follow only if it is recorded.
        span = tracing.begin(span_name(self._method), incoming.parent, _SERVER, {})
        if type(span) is Span:
            span.attributes = tracing.fit(self._attributes(record_client_address))
        return span

    def _attributes(self, record_client_address: bool) -> dict[str, Any]:
        scope = self._scope
        attributes: dict[str, Any] = {
            "http.request.method": self._method,
            "url.scheme": self._scheme,
            "url.path": self._path(),
            "network.protocol.version": scope.get("http_version", "1.1"),
        }
        raw = scope.get("query_string", b"")
        query = shown_query(raw) if raw else None
        if query is not None:
            attributes["url.query"] = query
        host = self._headers.get("host")
        if host:
            attributes.update(self._shown(host, _server))
        agent = self._headers.get("user-agent")
        if agent is not None:
            attributes["user_agent.original"] = self._shown(agent, _text_of)
        if self._method == "_OTHER":
            attributes["http.request.method_original"] = current().redactor.text(as_text(scope.get("method", ""))[:64])
        client = scope.get("client")
        if record_client_address and client:
            attributes["client.address"] = client[0]
        return attributes

    def _route(self) -> str | None:
        """The template of the route that served it, with the path it is mounted under; known only afterwards."""
        path = getattr(self._scope.get("route"), "path", None)
        if not isinstance(path, str):
            return None
        mounted: str = self._scope.get("root_path", "")
        if mounted == self._root_path:
            return path
        return mounted.removeprefix(self._root_path) + path if mounted.startswith(self._root_path) else path

    def _path(self) -> str:
        path: str = self._shown(as_text(self._scope.get("path", "")), _shown_path)
        return path

    def _conclude(self, seconds: float, error: BaseException | None) -> None:
        if self.active is not None:
            self.active.add(-1)
        status = self.status
        if status is None and isinstance(error, Exception):
            # The server answers 500 for an application that raises before it has answered.
            status = 500
        route = self._route()
        shown = None if route is None else self._shown(route, _text_of)
        error_type = _error_type(status, error)
        span = self.span
        recorded = span if type(span) is Span else None
        if recorded is not None:
            self._complete(recorded, shown, status, error if isinstance(error, Exception) else error_type)
            # From the one clock that cannot be set back.
            recorded.end(recorded.start_ns + int(seconds * 1e9))
        if self._recorder is not None:
            version = self._scope.get("http_version", "1.1")
            key = (self._method, self._scheme, shown, status, version, error_type)
            _HTTP.record(self._recorder, key, _duration_tags, seconds, recorded)
        resource = self._path() if shown is None else shown
        access.write(access.Access(self._method, resource, status, seconds, shown is not None, self._ids), error)

    def _complete(self, span: Span, route: str | None, status: int | None, error: Exception | str | None) -> None:
        if status is not None:
            span.put("http.response.status_code", status)
        if route is not None:
            span.put("http.route", route)
            span.name = f"{span_name(self._method)} {route}"
        if error is not None:
            mark_failed(span, error)

    def _shown(self, text: str, show: Callable[[str], Any]) -> Any:
        """`show(text)`, remembered: hosts, user agents, routes and many paths come again and again."""
        if self._recorder is None:
            return show(text)
        known = self._recorder.shown
        found = known.get((show, text))
        if found is None:
            found = show(text)
            if len(text) <= MAX_REMEMBERED_TEXT:
                if len(known) >= MAX_REMEMBERED:
                    known.clear()
                known[show, text] = found
        return found


def _own_ids(headers: list[Any]) -> set[str | None]:
    try:
        return {_names[name] for name, _ in headers}
    except (KeyError, TypeError, ValueError):
        # What is no list of pairs is passed on: the server says what is wrong with it.
        return {_header_name(pair[0]) for pair in headers if isinstance(pair, tuple | list) and pair}


def _ids_of(span: trace.Span) -> tuple[str, str]:
    # Those of our own have their ids at hand; a context takes time to make.
    ids = span if isinstance(span, _OWN) else span.get_span_context()
    return f"{ids.trace_id:032x}", f"{ids.span_id:016x}"


def _active_tags(key: tuple[Any, ...]) -> dict[str, Any]:
    return {"http.request.method": key[1], "url.scheme": key[2]}


def _duration_tags(key: tuple[Any, ...]) -> dict[str, Any]:
    names = (
        "http.request.method",
        "url.scheme",
        "http.route",
        "http.response.status_code",
        "network.protocol.version",
        "error.type",
    )
    return {name: value for name, value in zip(names, key, strict=True) if value is not None}


def _error_type(status: int | None, error: BaseException | None) -> str | None:
    if error is not None:
        # A cancelled request (its client has gone) is no error of ours.
        return type_name(error) if isinstance(error, Exception) else None
    if status is None:
        return "no_response"
    return str(status) if status >= 500 else None


def _shown_path(path: str) -> str:
    # Escaped, because ASGI hands it over decoded and a decoded path may hold line breaks.
    plain = path if _PLAIN_PATH.fullmatch(path) else quote(path, safe="/:@!$&'()*+,;=~-._")
    return current().redactor.text(plain)


def _text_of(text: str) -> str:
    return current().redactor.text(text)


def _server(host: str) -> dict[str, Any]:
    name, _, port = host.rpartition(":")
    if not (port.isascii() and port.isdecimal() and len(port) < 19):
        name, port = host, ""
    found: dict[str, Any] = {"server.address": current().redactor.text(name)} if name else {}
    return {**found, "server.port": int(port)} if port else found


def _wanted(headers: Iterable[Any]) -> dict[str, str]:
    """The headers that we look at, by their names in lower case."""
    found: dict[str, str] = {}
    try:
        for name, value in headers:
            key = _names[name] if name in _names else _header_name(name)
            if key is not None:
                text = value.decode("latin-1")
                # RFC 9110 5.2: repeated fields are one list. A repeated traceparent so becomes malformed.
                found[key] = f"{found[key]},{text}" if key in found else text
    except (AttributeError, TypeError, ValueError):
        # Not the pairs of bytes that ASGI promises: slower, and whatever can be read is.
        return {key: value for key, value in headers_of(headers).items() if key in _WANTED}
    return found


_names: dict[Any, str | None] = {}


def _header_name(raw: Any) -> str | None:
    """The header that we look at, or None; remembered for spellings seen before."""
    try:
        return _names[raw]
    except KeyError:
        pass
    except TypeError:
        return _learnt(raw)
    found = _learnt(raw)
    if len(_names) < MAX_REMEMBERED:
        _names[raw] = found
    return found


def _learnt(raw: Any) -> str | None:
    text = bytes(raw).decode("latin-1") if isinstance(raw, bytes | bytearray | memoryview) else as_text(raw)
    return text.lower() if text.lower() in _WANTED else None
