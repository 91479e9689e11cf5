"""Whether a series moved when a release was made: how far, how clearly, and when."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("Shift", "shift_in")

SPIKE_RATIO = 1.5
"""From this many times the earlier value on, latency is said to have risen."""
CLEAR = 0.5
"""From this correlation on, the release explains the rise: that much of the spread lies between before and after."""
FEWEST = 3
"""Points that each side must have."""


@dataclass(frozen=True, slots=True)
class Shift:
    """How one series moved across a release."""

    name: str
    """Which: `p95`, `p99`."""
    before: float | None
    """Mean before, seconds; None without enough points."""
    after: float | None
    """Mean after, seconds."""
    correlation: float | None
    """Between the values and "the release was made", -1 to 1 (point-biserial); None if nothing varies."""
    began_seconds: float | None
    """When the one change that splits the series best began, in seconds after the release; negative: before it."""
    lag_seconds: float
    """How late a change may show, because each point looks back that far."""
    points: tuple[tuple[float, float], ...] = ()
    """The series itself: Unix seconds and value."""

    @property
    def ratio(self) -> float | None:
        """How many times the earlier value the later one is."""
        return self.after / self.before if self.before and self.after is not None else None

    @property
    def follows_release(self) -> bool:
        """Whether it rose, clearly, and began with the release and not earlier or later."""
        return (
            self.ratio is not None
            and self.ratio >= SPIKE_RATIO
            and self.correlation is not None
            and self.correlation >= CLEAR
            and self.began_seconds is not None
            and -self.lag_seconds / 2 <= self.began_seconds <= self.lag_seconds
        )

    def sentence(self) -> str:
        """The same for a person, with the numbers."""
        if self.before is None or self.after is None or self.ratio is None:
            return f"{self.name}: too few values to tell"
        text = (
            f"{self.name} went from {self.before * 1000:.0f} ms to {self.after * 1000:.0f} ms ({self.ratio:.1f} times)"
        )
        if self.correlation is None or self.began_seconds is None:
            return text
        when = f"{abs(self.began_seconds):.0f} s {'after' if self.began_seconds >= 0 else 'before'} the release"
        return f"{text}; it began {when}, correlation {self.correlation:.2f}"

    def to_dict(self) -> dict[str, Any]:
        """The shift as a JSON object, without the series."""
        names = ("name", "before", "after", "ratio", "correlation", "began_seconds", "follows_release")
        return {name: getattr(self, name) for name in names}


def shift_in(name: str, points: Sequence[tuple[float, float]], released: float, *, lag_seconds: float) -> Shift:
    """The shift of a series of (Unix seconds, value) across `released`; values that are no numbers are left out."""
    known = tuple((at, value) for at, value in points if math.isfinite(value))
    before = [value for at, value in known if at <= released]
    # What still looks back across the release is neither before nor after.
    after = [value for at, value in known if at >= released + lag_seconds]
    if min(len(before), len(after)) < FEWEST:
        return Shift(name, None, None, None, None, lag_seconds, known)
    began = _best_split(known)
    return Shift(
        name,
        _mean(before),
        _mean(after),
        _biserial(before, after),
        None if began is None else began - released,
        lag_seconds,
        known,
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _biserial(before: Sequence[float], after: Sequence[float]) -> float | None:
    """Pearson's correlation between a value and whether it came after (0 or 1)."""
    values = [*before, *after]
    mean = _mean(values)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    if spread == 0:
        return None
    share = len(after) / len(values)
    return (_mean(after) - _mean(before)) / spread * math.sqrt(share * (1 - share))


def _best_split(points: Sequence[tuple[float, float]]) -> float | None:
    """The time of the first point after the split that leaves the least squared error on both sides."""
    total, count = math.fsum(value for _, value in points), len(points)
    best, at, left = 0.0, None, 0.0
    for number in range(1, count):
        left += points[number - 1][1]
        gain = (left / number - (total - left) / (count - number)) ** 2 * number * (count - number)
        if gain > best and min(number, count - number) >= FEWEST:
            best, at = gain, points[number][0]
    return at
