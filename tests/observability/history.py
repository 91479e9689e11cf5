"""A history of one service's metrics as OpenMetrics text: minutes of traffic, how slow it is and how much fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.3, 0.5, 1.0, 2.5, 5.0)
STEP = 15
"""Seconds between two scrapes."""


Sample = tuple[float, int, int]
"""Time, and how many fast and slow answers there were by then."""


@dataclass(frozen=True)
class Phase:
    """A stretch of time."""

    minutes: int
    rate: float = 20.0
    """Requests a second."""
    errors: float = 0.0
    """Share that fails."""
    slow: float = 0.0
    """Share that takes 0.8 s; the others take 0.04 s."""


def history(
    start: float,
    phases: Sequence[Phase],
    *,
    service: str = "orders",
    environment: str = "prod",
    metric: str = "http_server_request_duration_seconds",
) -> str:
    """The text, from `start` (Unix seconds) on; each answer lands in the bucket of its duration."""
    labels = f'service_name="{service}",deployment_environment_name="{environment}"'
    lines = [f"# TYPE {metric} histogram", f"# UNIT {metric} seconds"]
    for error in ("", "500"):
        samples = _counts(start, phases, failed=bool(error))
        if sum(samples[-1][1:]):
            lines += _series(metric, f'{labels},error_type="{error}"' if error else labels, samples)
    return "\n".join([*lines, "# EOF", ""])


def _counts(start: float, phases: Sequence[Phase], *, failed: bool) -> list[Sample]:
    """Time, and how many fast and slow answers there were by then."""
    samples: list[Sample] = []
    at, owed = start, [0.0, 0.0]
    for phase in phases:
        each = phase.rate * STEP * (phase.errors if failed else 1 - phase.errors)
        for _ in range(phase.minutes * 60 // STEP):
            owed = [owed[0] + each * (1 - phase.slow), owed[1] + each * phase.slow]
            at += STEP
            samples.append((at, int(owed[0]), int(owed[1])))
    return samples


def _series(metric: str, labels: str, samples: list[Sample]) -> Iterator[str]:
    for bound in (*BOUNDS, float("inf")):
        le = "+Inf" if bound == float("inf") else bound
        for at, fast, slow in samples:
            yield f'{metric}_bucket{{{labels},le="{le}"}} {fast * (bound >= 0.04) + slow * (bound >= 0.8)} {at}'
    for at, fast, slow in samples:
        yield f"{metric}_sum{{{labels}}} {fast * 0.04 + slow * 0.8:.3f} {at}"
    for at, fast, slow in samples:
        yield f"{metric}_count{{{labels}}} {fast + slow} {at}"
