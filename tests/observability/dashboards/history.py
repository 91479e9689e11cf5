"""The past of a service that never was, as OpenMetrics text with the names that a real one exposes.

`promtool tsdb create-blocks-from openmetrics` makes a Prometheus remember it, so that thirty days take seconds. The
same seed gives the same past.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("Disturbance", "Past", "openmetrics")

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.3, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
SLO_BOUNDS = ("0.3", "10.0")
"""The bounds that the kits' objectives ask for."""
ROUTES = {"/documents": (9.0, 0.04), "/documents/{id}": (14.0, 0.025), "/search": (4.0, 0.11)}
"""Events a second and median seconds of each route."""
QUEUES = {"mail": (3.0, 0.2), "invoices": (0.8, 0.9)}
"""The same of each destination of a worker."""
DAY = 86400


@dataclass(frozen=True, slots=True)
class Disturbance:
    """A time in which something is wrong."""

    start: float
    """Unix seconds."""
    end: float
    """Unix seconds."""
    failing: float
    """The share of the events that fails then."""
    slower: float = 1.0
    """What durations are multiplied with."""
    error_type: str = "TimeoutError"
    """Why they fail."""

    def covers(self, moment: float) -> bool:
        """Whether it is then."""
        return self.start <= moment < self.end


@dataclass(frozen=True, slots=True)
class Past:
    """What happened."""

    start: int
    """Unix seconds of the first sample."""
    end: int
    """Unix seconds of the last."""
    step: int = 15
    """Seconds from one sample to the next."""
    fine_from: int = 0
    """Before this moment there is a sample every `coarse_step` seconds, and only what objectives ask for."""
    coarse_step: int = 120
    """Seconds from one sample to the next before that."""
    service: str = "orders"
    """The service's name."""
    kind: str = "api"
    """`api`, `frontend` or `worker`."""
    incidents: tuple[Disturbance, ...] = ()
    """What went wrong in production."""
    canary: Disturbance | None = None
    """When a canary took a tenth of the traffic, and how it did."""
    parts: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Routes or destinations, with events a second and median seconds; by default those of the kind."""
    seed: int = 7
    """Of all that is left to chance."""


class _Histogram:
    """One series of a histogram that grows."""

    def __init__(self, labels: str) -> None:
        self.labels = labels
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0
        self.lines: list[str] = []

    def add(self, events: int, median: float) -> None:
        """So many events, spread around a median as durations are: lognormal."""
        below = 0
        for place, bound in enumerate(BOUNDS):
            share = 0.5 * (1 + math.erf(math.log(bound / median) / (0.6 * math.sqrt(2))))
            upto = round(events * share)
            self.counts[place] += upto - below
            below = upto
        self.counts[-1] += events - below
        self.total += events * median * 1.2

    def sample(self, name: str, moment: int, *, coarse: bool = False) -> None:
        """What an exposition would say at the moment; if `coarse`, only what objectives ask for."""
        below = 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            below += count
            if not coarse or bound in SLO_BOUNDS:
                self.lines.append(f'{name}_bucket{{{self.labels},le="{bound}"}} {below} {moment}')
        self.lines.append(f"{name}_count{{{self.labels}}} {below} {moment}")
        if not coarse:
            self.lines.append(f"{name}_sum{{{self.labels}}} {self.total:.3f} {moment}")


def openmetrics(past: Past) -> Iterator[str]:
    """The lines of the whole past as one exposition, with a time at each sample."""
    for line in _lines(past):
        yield f"{line}\n"


def _lines(past: Past) -> Iterator[str]:
    chance = random.Random(past.seed)
    worker = past.kind == "worker"
    work = "messaging_process_duration_seconds" if worker else "http_server_request_duration_seconds"
    active = "messaging_client_active_jobs" if worker else "http_server_active_requests"
    yield f"# TYPE {work} histogram"
    yield from _work(past, work, chance)
    yield f"# TYPE {active} gauge"
    yield from _active(past, active, chance)
    for name, label, value, median in (
        ("http_client_request_duration_seconds", "server_address", "payments.example", 0.08),
        ("db_client_operation_duration_seconds", "db_system_name", "postgresql", 0.006),
    ):
        yield f"# TYPE {name} histogram"
        yield from _calls(past, name, f'{label}="{value}"', median, chance)
    yield "# TYPE target info"
    yield from _info(past)
    yield "# EOF"


def _moments(past: Past) -> Iterator[tuple[int, int]]:
    """Every moment of a sample, with the seconds since the one before."""
    fine_from = past.fine_from or past.start
    yield from ((moment, past.coarse_step) for moment in range(past.start, fine_from, past.coarse_step))
    yield from ((moment, past.step) for moment in range(fine_from, past.end + 1, past.step))


def _fine(past: Past) -> range:
    return range(past.fine_from or past.start, past.end + 1, past.step)


def _environments(past: Past) -> dict[str, str]:
    return {"prod": "1.4.0", **({"canary": "1.5.0"} if past.canary else {})}


def _who(past: Past, environment: str) -> str:
    version = _environments(past)[environment]
    return f'service_name="{past.service}",service_version="{version}",deployment_environment_name="{environment}"'


def _work(past: Past, name: str, chance: random.Random) -> Iterator[str]:
    parts = past.parts or (QUEUES if past.kind == "worker" else ROUTES)
    for environment in _environments(past):
        for part, (rate, median) in parts.items():
            outcomes = {kind: _Histogram(labels) for kind, labels in _outcomes(past, environment, part).items()}
            for moment, seconds in _moments(past):
                if environment == "canary" and not _canary_runs(past, moment):
                    continue
                _happen(past, environment, moment, (rate * seconds, median), outcomes, chance)
                for histogram in outcomes.values():
                    if histogram.counts != [0] * len(histogram.counts):
                        histogram.sample(name, moment, coarse=moment < past.fine_from)
            for histogram in outcomes.values():
                yield from histogram.lines


def _canary_runs(past: Past, moment: int) -> bool:
    return past.canary is not None and past.canary.covers(moment)


def _outcomes(past: Past, environment: str, part: str) -> dict[str, str]:
    """Labels of the series of one part by what happened: `good`, `refused`, and one for each kind of failure."""
    troubles = (*past.incidents, *([past.canary] if past.canary else []))
    failures = ("ConnectionError", *dict.fromkeys(trouble.error_type for trouble in troubles))
    who = _who(past, environment)
    if past.kind == "worker":
        base = (
            f'{who},messaging_system="companyos",messaging_operation_name="process",messaging_destination_name="{part}"'
        )
        return {"good": base, **{error: f'{base},error_type="{error}"' for error in failures}}
    base = f'{who},http_request_method="GET",http_route="{part}",url_scheme="https",network_protocol_version="1.1"'
    return {
        "good": f'{base},http_response_status_code="200"',
        "refused": f'{base},http_response_status_code="404"',
        **{error: f'{base},http_response_status_code="500",error_type="{error}"' for error in failures},
    }


def _happen(
    past: Past,
    environment: str,
    moment: int,
    usual: tuple[float, float],
    outcomes: dict[str, _Histogram],
    chance: random.Random,
) -> None:
    usual_events, median = usual
    trouble = (
        next((one for one in past.incidents if one.covers(moment)), None) if environment == "prod" else past.canary
    )
    day = 1 + 0.45 * math.sin(2 * math.pi * (moment % DAY) / DAY - 2)
    expected = usual_events * day * (0.1 if environment == "canary" else 1)
    events = max(0, round(chance.gauss(expected, math.sqrt(expected))))
    slower = (trouble.slower if trouble else 1) * chance.lognormvariate(0, 0.06)
    failed = _drawn(events, trouble.failing if trouble else 0.0, chance)
    stray = _drawn(events, 0.0001, chance)
    refused = _drawn(events, 0.004, chance) if "refused" in outcomes else 0
    if trouble:
        outcomes[trouble.error_type].add(failed, median * slower * 3)
    outcomes["ConnectionError"].add(stray, median * 4)
    if "refused" in outcomes:
        outcomes["refused"].add(refused, median / 2)
    outcomes["good"].add(max(0, events - failed - stray - refused), median * slower)


def _drawn(events: int, share: float, chance: random.Random) -> int:
    expected = events * share
    whole = math.floor(expected)
    return min(events, whole + (chance.random() < expected - whole))


def _active(past: Past, name: str, chance: random.Random) -> Iterator[str]:
    for environment in _environments(past):
        for moment in _fine(past):
            if environment == "canary" and not _canary_runs(past, moment):
                continue
            trouble = any(one.covers(moment) for one in past.incidents) and environment == "prod"
            level = max(0, round(chance.gauss(12 if trouble else 3, 1)))
            yield f"{name}{{{_who(past, environment)}}} {level} {moment}"


def _calls(past: Past, name: str, label: str, median: float, chance: random.Random) -> Iterator[str]:
    who = f"{_who(past, 'prod')},{label}"
    good, bad = _Histogram(who), _Histogram(f'{who},error_type="TimeoutError"')
    for moment in _fine(past):
        trouble = next((one for one in past.incidents if one.covers(moment)), None)
        events = max(0, round(chance.gauss(8 * past.step, 5)))
        failed = _drawn(events, trouble.failing * 1.2 if trouble else 0.00005, chance)
        good.add(events - failed, median * (trouble.slower if trouble else 1) * chance.lognormvariate(0, 0.06))
        bad.add(failed, 2.0)
        good.sample(name, moment)
        bad.sample(name, moment)
    yield from (*good.lines, *bad.lines)


def _info(past: Past) -> Iterator[str]:
    for environment in _environments(past):
        for moment in _fine(past):
            if environment == "prod" or _canary_runs(past, moment):
                yield f'target_info{{{_who(past, environment)},vcs_ref_head_revision="3f2c1ab"}} 1 {moment}'
