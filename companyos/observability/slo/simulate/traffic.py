"""Events over time: an incident after a quiet time, or a healthy month with its days, nights and accidents."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.observability.slo.simulate._numpy import np

if TYPE_CHECKING:
    from companyos.observability.slo.simulate.incidents import Stretch
    from companyos.observability.slo.simulate.series import Times, Values

__all__ = ("Events", "healthy", "of_incident", "single_failure")

DAY_SECONDS = 86_400
HEALTHY_SHARE = 0.2
"""Of its error budget a healthy service spends so much."""


@dataclass(frozen=True, slots=True)
class Events:
    """Numbers of events from each time to the one before."""

    times: Times
    """Milliseconds."""
    good: Values
    """That went well."""
    bad: Values
    """That failed."""


def of_incident(stretches: tuple[Stretch, ...], *, begin_ms: int, until_ms: int, step_ms: int, rate: float) -> Events:
    """Even traffic of `rate` events a second without any noise; failures only in the stretches, from `begin_ms` on.

    A step that a stretch ends within gets its share.
    """
    times = np.arange(0, until_ms + 1, step_ms, dtype=np.int64)
    edges = np.cumsum([begin_ms, *(stretch.seconds * 1000 for stretch in stretches)])
    failed = np.cumsum([0.0, *(stretch.seconds * stretch.errors for stretch in stretches)])
    bad = np.diff(np.interp(times, edges, failed), prepend=0.0) * rate
    total = np.full(len(times), step_ms / 1000 * rate)
    return Events(times, total - bad, bad)


def single_failure(*, per_hour: int, begin_ms: int, until_ms: int, step_ms: int) -> Events:
    """One request every so often, and the first one after `begin_ms` fails."""
    times = np.arange(0, until_ms + 1, step_ms, dtype=np.int64)
    total = np.diff(times * per_hour // 3_600_000, prepend=0).astype(np.float64)
    bad = np.zeros(len(times))
    failing = np.flatnonzero((times > begin_ms) & (total > 0))
    bad[failing[0]] = 1.0
    return Events(times, total - bad, bad)


def healthy(*, days: int, step_ms: int, rate: float, budget: float, seed: int, warm_up_ms: int) -> Events:
    """Days with a quiet night and a busy noon, weekends with two thirds of the traffic, a fifth of the budget spent.

    Events arrive by chance (Poisson), and fail by chance (binomial), the same for the same seed.
    """
    times = np.arange(0, warm_up_ms + days * DAY_SECONDS * 1000 + 1, step_ms, dtype=np.int64)
    chance = np.random.Generator(np.random.PCG64(seed))
    day = times / (DAY_SECONDS * 1000)
    weekend = np.where(day.astype(np.int64) % 7 >= 5, 2 / 3, 1.0)
    wave = (1.0 - 0.7 * np.cos(2 * math.pi * day)) * weekend
    total = chance.poisson(rate * step_ms / 1000 * wave / wave.mean())
    bad = chance.binomial(total, HEALTHY_SHARE * budget)
    return Events(times, (total - bad).astype(np.float64), bad.astype(np.float64))
