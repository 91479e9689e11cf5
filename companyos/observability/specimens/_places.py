"""The places in which a value can leave, and what comes out of them."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from opentelemetry import baggage
from opentelemetry import context as otel_context

from companyos.observability.asgi import ASGIMiddleware
from companyos.observability.bridge import capture_stdlib_logging
from companyos.observability.exceptions import MAX_MESSAGE
from companyos.observability.exposition import metrics_text
from companyos.observability.logs import get_logger
from companyos.observability.meters import metrics
from companyos.observability.propagation import outgoing_headers
from companyos.observability.redaction import INTERNAL_HOSTS
from companyos.observability.runtime import current
from companyos.observability.scope import annotate, bind
from companyos.observability.specimens._quiet import observed
from companyos.observability.specimens._values import HOST, TENANT
from companyos.observability.tracing import start_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ("MARK", "PLACES", "SELECTIVE", "emitted")

RESOURCE = "a resource attribute"
MARK = "specimen-was-here"
"""What stands beside the value, so that silence is not taken for masking."""


def _say(**fields: Any) -> None:
    get_logger("specimen").info("specimen.said", mark=MARK, **fields)


def _field(key: str, value: str) -> None:
    _say(**{key: value})


def _sentence(key: str, value: str) -> None:
    _say(**{key: f"we met {value} today, and went on"})


def _nested(key: str, value: str) -> None:
    _say(request={"body": {key: value}})


def _list(key: str, value: str) -> None:
    _say(**{key: ["a", ["b", value]]})


def _tuple_in_dict(key: str, value: str) -> None:
    _say(data={"rows": ({key: (1, value)},)})


def _set(key: str, value: str) -> None:
    _say(**{key: {value}})


def _dict_key(key: str, value: str) -> None:
    _say(**{key: {value: 3}})


def _json_text(key: str, value: str) -> None:
    _say(payload=json.dumps({key: value}))


def _object(key: str, value: str) -> None:
    class Order:
        def __str__(self) -> str:
            return f"Order({key}={value})"

    _say(order=Order())


def _event(_: str, value: str) -> None:
    get_logger("specimen").info(f"met {value}", mark=MARK)


def _bound(key: str, value: str) -> None:
    with bind(**{key: value}):
        _say()


def _annotated(key: str, value: str) -> None:
    with bind(a=1):
        annotate(**{key: value})
        _say()


def _logger_field(key: str, value: str) -> None:
    get_logger("specimen").bind(**{key: value}).info("specimen.said", mark=MARK)


def _failing(error: Exception) -> None:
    try:
        _raise(error)
    except Exception:  # noqa: BLE001 - it was raised to be logged
        get_logger("specimen").exception("specimen.failed", mark=MARK)


def _raise(error: Exception) -> None:
    raise error


def _error(key: str, value: str) -> None:
    _failing(ValueError(f"{key}: {value}"))


def _cause(key: str, value: str) -> None:
    error = RuntimeError("wrapped")
    error.__cause__ = ValueError(f"{key}: {value}")
    _failing(error)


def _cut_cause(_: str, value: str) -> None:
    """Where a long message is cut, its last character is just beyond the cut."""
    error = RuntimeError("wrapped")
    error.__cause__ = ValueError(f"{'x' * (MAX_MESSAGE - len(value))} {value}")
    _failing(error)


def _request_id(_: str, value: str) -> str:
    """What a stranger sends as the id of a request: in the line, the answer, and the call to the next service."""
    sent: list[Any] = []

    async def application(*_: Any) -> None:
        _say()
        sent.append(outgoing_headers())

    async def receive() -> Any:
        return {"type": "http.request"}

    async def answered(message: Any) -> None:
        sent.append(message)

    text = value.encode()
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [(b"x-request-id", text), (b"x-correlation-id", text)],
    }
    asyncio.run(ASGIMiddleware(application)(scope, receive, answered))
    return repr(sent)


def _resource(_: str, __: str) -> str:
    """What the environment says of the service; `emitted` puts the value there."""
    with start_trace("specimen", attributes={"mark": MARK}):
        pass
    recorder = current().recorder
    return "" if recorder is None else "\n".join(_texts([dict(recorder.resource), metrics_text()]))


def _context(key: str, value: str) -> None:
    error = RuntimeError("while handling")
    error.__context__ = ValueError(f"{key}: {value}")
    _failing(error)


def _note(key: str, value: str) -> None:
    error = ValueError("plain")
    error.add_note(f"{key}: {value}")
    _failing(error)


def _group(key: str, value: str) -> None:
    _failing(ExceptionGroup("several", [KeyError("plain"), ValueError(f"{key}: {value}")]))


def _stdlib(key: str, value: str) -> None:
    with capture_stdlib_logging("companyos.specimens"):
        logging.getLogger("companyos.specimens").info("%s, %s: %s", MARK, key, value)


def _span_attribute(key: str, value: str) -> None:
    with start_trace("specimen", attributes={"mark": MARK, key: value}):
        pass


def _span_set(key: str, value: str) -> None:
    with start_trace("specimen") as span:
        span.set("mark", MARK)
        span.set(key, {"inner": [value]})


def _span_name(_: str, value: str) -> None:
    with start_trace(f"look up {value}", attributes={"mark": MARK}):
        pass


def _span_error(key: str, value: str) -> None:
    with start_trace("specimen", attributes={"mark": MARK}) as span:
        span.fail(ValueError(f"{key}: {value}"))


def _foreign_span(key: str, value: str) -> None:
    recorder = current().recorder
    if recorder is None:
        return
    with recorder.tracer_provider.get_tracer("a.library").start_as_current_span("specimen") as span:
        span.set_attribute("mark", MARK)
        span.set_attribute(key, value)


def _metric_tag(key: str, value: str) -> None:
    metrics.increment("specimens_total", {"mark": MARK, key: value})


def _baggage(key: str, value: str) -> str:
    """What goes to the next service; where baggage is not propagated, what would."""
    token = otel_context.attach(baggage.set_baggage(key, value, baggage.set_baggage("mark", MARK)))
    try:
        sent = outgoing_headers().get("baggage")
    finally:
        otel_context.detach(token)
    return unquote(sent) if sent else json.dumps(current().redactor.baggage({"mark": MARK, key: value}))


PLACES: dict[str, Callable[[str, str], str | None]] = {
    "a field": _field,
    "a sentence": _sentence,
    "a nested field": _nested,
    "a list": _list,
    "a tuple in a dict": _tuple_in_dict,
    "a set": _set,
    "the key of a dict": _dict_key,
    "a text that is JSON": _json_text,
    "an object's own text": _object,
    "the name of an event": _event,
    "a bound field": _bound,
    "an annotation": _annotated,
    "a logger's field": _logger_field,
    "an exception's text": _error,
    "an exception's cause": _cause,
    "an exception's cause, where it is cut": _cut_cause,
    "an exception's context": _context,
    "an exception's note": _note,
    "an exception in a group": _group,
    "the standard library's logging": _stdlib,
    "a span attribute": _span_attribute,
    "a structured span attribute": _span_set,
    "the name of a span": _span_name,
    "an exception of a span": _span_error,
    "a span of another library": _foreign_span,
    "a metric's tag": _metric_tag,
    "baggage": _baggage,
    "the id of a request": _request_id,
    RESOURCE: _resource,
}
"""Each takes the name of a field and a value, and lets them leave."""
SELECTIVE = frozenset({"an exception's cause, where it is cut", "the id of a request"})
"""Places that let out no text as it is, or only some."""
_RECORDED = frozenset(name for name in PLACES if "span" in name or "metric" in name)


def emitted(place: str, key: str, value: str) -> str:
    """All that comes out of a place: every text of every line, span, metric and header.

    Raises:
        MissingExtraError: spans and metrics are not recorded without the extra.
    """
    environ = {"OTEL_RESOURCE_ATTRIBUTES": f"mark={MARK},{key}={quote(value)}"} if place == RESOURCE else {}
    with observed(environ, redact=[TENANT], redact_hosts=[*INTERNAL_HOSTS, HOST]) as (runtime, stream):
        sent = PLACES[place](key, value)
        texts = [sent or "", *_lines(stream.getvalue())]
        if place in _RECORDED:
            texts += [text for span in runtime.spans() for text in _texts([span.name, span.attributes, span.events])]
            texts += [text for point in runtime.metrics() for text in _texts(point.attributes)]
    return "\n".join(texts)


def _lines(written: str) -> Iterator[str]:
    for line in written.splitlines():
        yield line
        yield from _texts(json.loads(line))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif hasattr(value, "items"):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    else:
        yield str(value)
