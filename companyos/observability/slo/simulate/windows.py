"""Functions over ranges, for all evaluation times at once.

Each window is put together from blocks of a power of two, as in a segment tree, so that a month of ticks costs a
handful of array operations. Nothing is subtracted: differences of running sums would leave rests where there is
nothing, and spread one NaN over everything after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.observability.slo.simulate._numpy import np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from companyos.observability.slo.simulate.series import Labels, Mask, Times, Values

    Indices = NDArray[np.intp]

__all__ = ("OVER_TIME", "Windows", "increase")


@dataclass(frozen=True, slots=True)
class Windows:
    """For each evaluation time, the samples of one series in a range: those from `low` up to and without `high`."""

    labels: Labels
    """Of the series."""
    times: Times
    """Of its samples, in milliseconds."""
    values: Values
    """Of its samples."""
    low: Indices
    """The first in the range, one for each evaluation time."""
    high: Indices
    """One past the last in the range."""
    start: Times
    """Where the range begins; a sample exactly there is inside, as before Prometheus 3."""
    end: Times
    """Where it ends; a sample exactly there is inside."""

    @property
    def count(self) -> Indices:
        """How many samples are in each."""
        found: Indices = np.maximum(self.high - self.low, 0)
        return found


def increase(windows: Windows) -> tuple[Values, Mask]:
    """By how much a counter rose in each range, extrapolated to the edges of the range.

    It is present where there are two samples. Resets are added up; where an edge is far, half an average distance of
    samples is extrapolated, and never below zero. Source: Prometheus 2.42, `promql/functions.go`.
    """
    times, values = windows.times, windows.values
    present = windows.count >= 2
    if not present.any():
        return np.zeros(len(present)), present
    first = np.minimum(windows.low, len(times) - 1)
    last = np.maximum(windows.high, 1) - 1
    fell = np.zeros(len(values))
    fell[1:] = np.where(values[1:] < values[:-1], values[:-1], 0.0)
    risen = values[last] - values[first] + (_sums(fell, first + 1, last + 1) if fell.any() else 0.0)
    sampled = np.where(present, (times[last] - times[first]) / 1000.0, 1.0)
    average = sampled / np.maximum(windows.count - 1, 1)
    to_start = (times[first] - windows.start) / 1000.0
    to_end = (windows.end - times[last]) / 1000.0
    with np.errstate(all="ignore"):
        to_zero = sampled * (values[first] / risen)
    bounded = (risen > 0) & (values[first] >= 0) & (to_zero < to_start)
    return _extrapolated(risen, sampled, average, np.where(bounded, to_zero, to_start), to_end), present


def _extrapolated(risen: Values, sampled: Values, average: Values, to_start: Values, to_end: Values) -> Values:
    near = average * 1.1
    whole = sampled + np.where(to_start < near, to_start, average / 2) + np.where(to_end < near, to_end, average / 2)
    return risen * (whole / sampled)


def _over_blocks(
    values: Values, low: Indices, high: Indices, combine: Callable[[Values, Values], Values], nothing: float
) -> Values:
    result = np.full(len(low), nothing)
    low, high = low.copy(), np.maximum(high, low)
    level = values
    while (low < high).any():
        odd = (low < high) & (low & 1 == 1)
        result[odd] = combine(result[odd], level[low[odd]])
        low[odd] += 1
        odd = (low < high) & (high & 1 == 1)
        high[odd] -= 1
        result[odd] = combine(result[odd], level[high[odd]])
        low >>= 1
        high >>= 1
        if len(level) % 2:
            level = np.append(level, nothing)
        level = combine(level[0::2], level[1::2])
    return result


def _sums(values: Values, low: Indices, high: Indices) -> Values:
    with np.errstate(invalid="ignore", over="ignore"):
        return _over_blocks(values, low, high, np.add, 0.0)


def _sum(windows: Windows) -> Values:
    return _sums(windows.values, windows.low, windows.high)


def _average(windows: Windows) -> Values:
    return _sum(windows) / np.maximum(windows.count, 1)


def _least(windows: Windows) -> Values:
    return _over_blocks(windows.values, windows.low, windows.high, np.fmin, np.nan)


def _greatest(windows: Windows) -> Values:
    return _over_blocks(windows.values, windows.low, windows.high, np.fmax, np.nan)


def _count(windows: Windows) -> Values:
    found: Values = windows.count.astype(np.float64)
    return found


def _last(windows: Windows) -> Values:
    if not len(windows.values):
        return np.zeros(len(windows.low))
    found: Values = windows.values[np.maximum(windows.high, 1) - 1]
    return found


def _one(windows: Windows) -> Values:
    return np.ones(len(windows.low))


OVER_TIME: dict[str, Callable[[Windows], Values]] = {
    "avg_over_time": _average,
    "count_over_time": _count,
    "last_over_time": _last,
    "max_over_time": _greatest,
    "min_over_time": _least,
    "present_over_time": _one,
    "sum_over_time": _sum,
}
"""What each gives, for windows with at least one sample."""
