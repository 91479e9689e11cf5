"""What one log event costs: ours against structlog's own JSON and against the least that could do, interleaved.

Run `python benchmarks/bench_logging.py`; prints microseconds an event (median of rounds) and ratios to the least.
"""

from __future__ import annotations

import io
import json
import statistics
import time
from typing import TYPE_CHECKING, Any

import structlog

from companyos import observability

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS = 2_000
ROUNDS = 9
FIELDS: dict[str, Any] = {"action": "create", "resource": "order/7", "outcome": "success", "latency_ms": 1.25}


def main() -> None:
    """Measure and print."""
    stream = io.StringIO()
    theirs = structlog.wrap_logger(
        structlog.PrintLogger(io.StringIO()),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
    )
    least = io.StringIO()

    def bare(event: str, **fields: Any) -> None:
        least.write(json.dumps({"timestamp": time.time(), "event": event, **fields}) + "\n")

    with observability.setup(service="bench", version="1", stream=stream), observability.start_trace("bench"):
        ours = observability.get_logger("bench")
        cases: dict[str, Callable[..., Any]] = {
            "json.dumps and one write": bare,
            "structlog JSON, no ids, no masking": theirs.info,
            "ours, ids and masking": ours.info,
            "ours, below the level": ours.debug,
        }
        taken: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(ROUNDS):
            for name, say in cases.items():
                taken[name].append(_round(say))
    base = statistics.median(taken["json.dumps and one write"])
    for name, seconds in taken.items():
        middle = statistics.median(seconds)
        print(f"{name:36} {middle * 1e6:8.2f} us  {middle / base:6.2f} x")


def _round(say: Callable[..., Any]) -> float:
    started = time.perf_counter()
    for _ in range(EVENTS):
        say("orders.created", **FIELDS)
    return (time.perf_counter() - started) / EVENTS


if __name__ == "__main__":
    main()
