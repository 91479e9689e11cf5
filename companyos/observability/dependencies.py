"""Calls to other services and to databases: one client span and the conventions' duration metric for each.

`http.client.request.duration` and `db.client.operation.duration`, as the stable HTTP and database conventions name
them and their attributes. A call that did not end well carries `error.type`.
"""

from __future__ import annotations

import re
import time
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from opentelemetry import context as otel_context
from opentelemetry import trace

from companyos._extras import require
from companyos.observability.golden import Golden
from companyos.observability.logs import get_logger
from companyos.observability.propagation import outgoing_headers
from companyos.observability.runtime import current
from companyos.observability.semconv import DB_CLIENT_OPERATION_DURATION, HTTP_CLIENT_REQUEST_DURATION
from companyos.observability.spans import Span
from companyos.observability.tracing import begin, mark_failed, type_name
from companyos.observability.wire import known_method, place_of, shown_url, span_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Token
    from types import TracebackType

__all__ = ("Call", "database_call", "http_call", "observe_engine", "observed_transport")

T = TypeVar("T")
Described = tuple[str, dict[str, Any], dict[str, Any]]
"""Name of the span, attributes of the span and the metric, attributes of the span alone; None is left out."""

_log = get_logger("companyos.observability.dependencies")
_GOLDEN = {name: Golden(name) for name in (HTTP_CLIENT_REQUEST_DURATION, DB_CLIENT_OPERATION_DURATION)}
_STATUS = "http.response.status_code"
_TRACE_HEADERS = frozenset({"traceparent", "tracestate"})
_SYSTEMS = {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}
"""Dialects of SQLAlchemy that the conventions (`db.system.name`) know by another name."""
_VERB = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|MERGE|REPLACE|CREATE|ALTER|DROP|TRUNCATE|CALL|PRAGMA|SET|SHOW|EXPLAIN|COPY)\b",
    re.IGNORECASE,
)
"""What a statement may begin with to name its operation; any other beginning names none."""
_IN_HAND = "companyos_call"


def http_call(method: str, url: str, *, propagate: bool = True) -> Call:
    """A request to another service, for a `with`: send `headers` along, and say what came back by `answered`.

    The span and `http.client.request.duration` (seconds) have `http.request.method`, `server.address`, `server.port`,
    `http.response.status_code` and `error.type`, which is the status if that is 400 or above, else the exception. The
    span also has `url.full`, masked. Without `propagate`, for a stranger's service, no header is sent.
    """

    def describe() -> Described:
        shown = known_method(method)
        address, port = place_of(url)
        return (
            span_name(shown),
            {"http.request.method": shown, "server.address": address, "server.port": port},
            {"url.full": shown_url(url)},
        )

    return Call(HTTP_CLIENT_REQUEST_DURATION, describe, propagate=propagate)


def database_call(
    system: str,
    operation: str | None = None,
    *,
    namespace: str | None = None,
    collection: str | None = None,
    server: str | None = None,
    port: int | None = None,
) -> Call:
    """An operation on a database, for a `with`.

    `system` is `db.system.name` as the conventions have it (`postgresql`, `sqlite`, `redis`, ...), `operation` a word
    of few values (`SELECT`, `save_order`), `namespace` the database, `collection` the table. With `server` and `port`
    they are attributes of the span and of `db.client.operation.duration` (seconds), with `error.type` if it failed.
    """

    def describe() -> Described:
        target = collection or namespace
        name = " ".join(word for word in (operation, target) if word) or system
        attributes = {
            "db.system.name": system,
            "db.operation.name": operation,
            "db.namespace": namespace,
            "db.collection.name": collection,
            "server.address": server,
            "server.port": port,
        }
        return name, attributes, {}

    return Call(DB_CLIENT_OPERATION_DURATION, describe, propagate=False)


class Call:
    """A call in hand.

    What the call raises marks it as failed and goes on, a cancellation too: what did not answer in time did not
    answer. An error of the recording is logged and goes nowhere.
    """

    def __init__(self, metric: str, describe: Callable[[], Described], *, propagate: bool) -> None:
        self.headers: dict[str, str] = {}
        """What carries the trace, the baggage and the correlation id to who is called; empty outside the `with`."""
        self._metric = metric
        self._describe = describe
        self._propagate = propagate
        self._tags: dict[str, Any] = {}
        self._wrong: BaseException | str | None = None
        self._span: trace.Span | None = None
        self._token: Token[Any] | None = None
        self._started = 0.0

    def __enter__(self) -> Self:
        self.start()
        try:
            if self._span is not None:
                self._token = otel_context.attach(trace.set_span_in_context(self._span))
                self.headers = outgoing_headers() if self._propagate else {}
        except Exception:  # noqa: BLE001 - observing must not break what it observes; the failure is logged
            _log.exception("observability.failed", action="begin")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.finish(error)
        if self._token is not None:
            otel_context.detach(self._token)

    def answered(self, status: int) -> None:
        """Say which status an HTTP call came back with; 400 and above is a failure of the call."""
        self._tags[_STATUS] = status
        if status >= 400:
            self._wrong = str(status)

    def fail(self, error: BaseException | str) -> None:
        """Say that the call failed although nothing is raised: with an exception, or a word of few values."""
        self._wrong = error

    def start(self) -> None:
        """Begin without becoming the span in hand, for hooks that are called before and after; `finish` ends it."""
        try:
            name, tags, more = self._describe()
            self._tags = {key: value for key, value in tags.items() if value is not None}
            parent = trace.get_current_span().get_span_context()
            self._span = begin(name, parent, trace.SpanKind.CLIENT, {**self._tags, **more})
        except Exception:  # noqa: BLE001 - observing must not break what it observes; the failure is logged
            _log.exception("observability.failed", action="begin")
        self._started = time.perf_counter()

    def finish(self, error: BaseException | None = None) -> None:
        """Conclude the span and the metric."""
        seconds = time.perf_counter() - self._started
        try:
            self._conclude(seconds, error if self._wrong is None else self._wrong)
        except Exception:  # noqa: BLE001 - observing must not break what it observes; the failure is logged
            _log.exception("observability.failed", action="finish")

    def _conclude(self, seconds: float, wrong: BaseException | str | None) -> None:
        if self._span is None:
            return
        recorded = self._span if isinstance(self._span, Span) else None
        if recorded is not None:
            if _STATUS in self._tags:
                recorded.put(_STATUS, self._tags[_STATUS])
            if wrong is not None:
                mark_failed(recorded, wrong)
            # From the one clock that cannot be set back.
            recorded.end(recorded.start_ns + int(seconds * 1e9))
        recorder = current().recorder
        if recorder is not None:
            tags = dict(self._tags)
            if wrong is not None:
                tags["error.type"] = wrong if isinstance(wrong, str) else type_name(wrong)
            _GOLDEN[self._metric].record(recorder, (self._metric, *tags.items()), _tags, seconds, recorded)


def _tags(key: tuple[Any, ...]) -> dict[str, Any]:
    return dict(key[1:])


def observed_transport(inner: T, *, propagate: bool = True) -> T:
    """A transport of httpx, sync or async, every request through which is an `http_call`; of the type it was given.

    `httpx.Client(transport=observed_transport(httpx.HTTPTransport()))`. The duration ends when the headers of the
    response have come. Headers of the trace are those of the call; a `baggage` or `x-correlation-id` that the request
    has already is kept.
    """
    return cast("T", _Transport(inner, propagate=propagate))


class _Transport:
    """Needs nothing of httpx but the shape of its transports, which its successors share."""

    def __init__(self, inner: Any, *, propagate: bool) -> None:
        self._inner = inner
        self._propagate = propagate

    def handle_request(self, request: Any) -> Any:
        with self._call(request) as call:
            _put(call.headers, request.headers)
            response = self._inner.handle_request(request)
            call.answered(response.status_code)
            return response

    async def handle_async_request(self, request: Any) -> Any:
        with self._call(request) as call:
            _put(call.headers, request.headers)
            response = await self._inner.handle_async_request(request)
            call.answered(response.status_code)
            return response

    def _call(self, request: Any) -> Call:
        return http_call(request.method, str(request.url), propagate=self._propagate)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(self, *ending: object) -> None:
        self._inner.__exit__(*ending)

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *ending: object) -> None:
        await self._inner.__aexit__(*ending)


def _put(ours: Mapping[str, str], headers: Any) -> None:
    for name, value in ours.items():
        if name in _TRACE_HEADERS or name not in headers:
            headers[name] = value


def observe_engine(engine: Any) -> None:
    """Make every statement of an engine of SQLAlchemy a `database_call`; once for each engine.

    The system is the dialect, the operation the first word of the statement (with `BATCH ` for many rows at once), the
    namespace the name of the database, or of its file. Neither statement nor values are recorded.

    Raises:
        MissingExtraError: SQLAlchemy is not installed.
    """
    event = require("sqlalchemy.event", extra="state")
    url = engine.url
    options: dict[str, Any] = {"namespace": PurePath(url.database).name if url.database else None}
    if url.host:
        options |= {"server": url.host, "port": url.port}
    system = _SYSTEMS.get(engine.dialect.name, engine.dialect.name)

    def before(connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        verb = _VERB.match(statement)
        operation = None if verb is None else verb[1].upper()
        if operation and many and len(parameters) > 1:
            operation = f"BATCH {operation}"
        call = connection.info[_IN_HAND] = database_call(system, operation, **options)
        call.start()

    def after(connection: Any, *_: Any) -> None:
        _finish(connection, None)

    def failed(context: Any) -> None:
        if context.connection is not None:
            _finish(context.connection, context.original_exception)

    for name, listener in (
        ("before_cursor_execute", before),
        ("after_cursor_execute", after),
        ("handle_error", failed),
    ):
        event.listen(engine, name, listener)


def _finish(connection: Any, error: BaseException | None) -> None:
    # No call is in hand where a commit failed, or a statement could not be made. To ask a lost connection for what it
    # holds would connect anew.
    lost = connection.closed or connection.invalidated
    call = None if lost else connection.info.pop(_IN_HAND, None)
    if call is not None:
        call.finish(error)
