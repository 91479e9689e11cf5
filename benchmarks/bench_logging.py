"""What one log event costs: ours against structlog as tuned as its documentation advises, and the least that could do.

Run `python benchmarks/bench_logging.py`. Every case writes each event with one unbuffered write to the same file and
carries the same fields; only ours masks, and only ours and structlog's look up the trace themselves. The values of some
fields change from event to event, as they do in a service. Measured is the processor's time of the thread, which other
work on the machine disturbs less than the clock on the wall.
"""

from __future__ import annotations

import io
import itertools
import logging
import os
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from opentelemetry import trace

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.interleaved import Bar, measure, report
from companyos import observability

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS = 2_000
ROUNDS = 21
WHO: dict[str, Any] = {"service": "bench", "env": "dev", "version": "1.0.0"}

TUNED = "structlog tuned (orjson), no redaction"
DEFAULT = "structlog default JSON, no redaction"
LEAST = "orjson and one write (limit)"
OURS = "ours: required fields, ids, redaction"
OURS_DEBUG = "ours, filtered-out debug"
TUNED_DEBUG = "structlog, filtered-out debug"
BARS = (
    Bar(OURS, TUNED, at_most=1.6),
    Bar(OURS, DEFAULT, at_most=1.0),
    Bar(OURS_DEBUG, TUNED_DEBUG, at_most=1.5),
)


def main() -> int:
    """Measure and print; 1 if a bar is missed."""
    directory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - only where the file lies
    with (
        tempfile.TemporaryFile(buffering=0, dir=directory) as file,
        observability.setup(service="bench", version="1.0.0", stream=io.TextIOWrapper(io.BufferedWriter(file))),
        observability.start_trace("bench"),
    ):
        ours = observability.get_logger("bench")
        tuned = _tuned(file)
        says: dict[str, Callable[..., Any]] = {
            LEAST: _least(file),
            TUNED: tuned.info,
            DEFAULT: _default(file).info,
            OURS: ours.info,
            "ours, typed event with a hashed field": _typed(ours),
            "ours, with what has to be masked": lambda event, **fields: ours.info(event, **fields, note=MAIL),
            OURS_DEBUG: ours.debug,
            TUNED_DEBUG: tuned.debug,
        }
        cases = {name: _case(say, file) for name, say in says.items()}
        return 1 if report("logging", measure(cases, rounds=ROUNDS), BARS) else 0


MAIL = "sent to ann@example.org"


def _case(say: Callable[..., Any], file: Any) -> Callable[[], float]:
    numbers = itertools.count()

    def run() -> float:
        file.truncate(0)
        file.seek(0)
        given = [
            {"action": "create", "resource": f"order/{n}", "outcome": "success", "latency_ms": n / 16}
            | {"request_id": uuid.uuid4().hex, "subject_id": "u-1"}
            for n in itertools.islice(numbers, EVENTS)
        ]
        started = time.thread_time()
        for fields in given:
            say("orders.created", **fields)
        return (time.thread_time() - started) / EVENTS

    return run


def _least(file: Any) -> Callable[..., None]:
    span = trace.get_current_span().get_span_context()
    ids = {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}

    def say(event: str, **fields: Any) -> None:
        now = datetime.now(UTC).isoformat()
        file.write(orjson.dumps({"timestamp": now, "level": "info", "event": event, **WHO, **ids, **fields}) + b"\n")

    return say


def _ids(_logger: Any, _method: str, event: Any) -> Any:
    span = trace.get_current_span().get_span_context()
    event["trace_id"] = event["correlation_id"] = f"{span.trace_id:032x}"
    event["span_id"] = f"{span.span_id:016x}"
    return event


def _tuned(file: Any) -> Any:
    """As structlog's chapter on performance advises: orjson, bytes, a filtering logger, cached."""
    return structlog.wrap_logger(
        structlog.BytesLogger(file),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _ids,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
        **WHO,
    ).bind()


def _default(file: Any) -> Any:
    return structlog.wrap_logger(
        structlog.WriteLogger(io.TextIOWrapper(file, write_through=True)),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _ids,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        cache_logger_on_first_use=True,
        **WHO,
    ).bind()


def _typed(ours: observability.Logger) -> Callable[..., None]:
    from typing import Annotated

    from companyos.observability import Event, non_sensitive, pii, telemetry

    class OrderCreated(Event, name="orders.created"):
        action: Annotated[str, telemetry]
        resource: Annotated[str, non_sensitive]
        outcome: Annotated[str, telemetry]
        latency_ms: Annotated[float, telemetry]
        request_id: Annotated[str, telemetry]
        subject_id: Annotated[str, pii]

    return lambda _event, **fields: ours.emit(OrderCreated(**fields))


if __name__ == "__main__":
    sys.exit(main())
