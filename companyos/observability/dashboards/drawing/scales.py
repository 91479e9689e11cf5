"""Axes: round figures to label them with, and values as people write them with their unit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

__all__ = ("Unit", "clock", "round_ticks", "time_ticks", "unit_of")

_STEPS = (1, 2, 2.5, 5, 10)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TIME_STEPS = (
    *(1, 2, 5, 10, 15, 30),
    *(step * _MINUTE for step in (1, 2, 5, 10, 15, 30)),
    *(step * _HOUR for step in (1, 2, 3, 6, 12)),
    *(step * _DAY for step in (1, 2, 5, 7, 14, 30, 90, 365)),
)


@dataclass(frozen=True, slots=True)
class Unit:
    """How the values of a panel are written."""

    label: str
    """What stands at the axis."""
    suffix: str
    """What follows a single value."""
    factor: float
    """What a value is multiplied with before it is written."""

    def written(self, value: float) -> str:
        """A value with its unit; what is no number is `n/a`."""
        if not math.isfinite(value):
            return "n/a"
        scaled = value * self.factor
        if "%" in self.suffix and 90 < scaled < 100:
            # 99.995 % is not 100 %: what is missing is what matters.
            return f"{_decimals(scaled, max(2, 1 - math.floor(math.log10(100 - scaled))))}{self.suffix}"
        return f"{_short(scaled)}{self.suffix}"

    def tick(self, value: float, step: float) -> str:
        """A value at the axis, without its unit, as exact as steps of this size need it."""
        size = step * self.factor
        if size >= 1000:
            return _short(value * self.factor)
        return _decimals(value * self.factor, max(0, 1 - math.floor(math.log10(size) + 1e-9)))


def unit_of(name: str, highest: float) -> Unit:
    """How to write values of Grafana's unit `name` up to `highest`."""
    if name == "s":
        small = highest < 1
        return Unit("milliseconds (ms)", " ms", 1000) if small else Unit("seconds (s)", " s", 1)
    if name == "percentunit":
        return Unit("percent (%)", " %", 100)
    known = {
        "reqps": ("requests per second", "/s"),
        "ops": ("events per second", "/s"),
        "percent": ("percent (%)", " %"),
    }
    label, suffix = known.get(name, ("number", ""))
    return Unit(label, suffix, 1)


def round_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round values from at or below `low` to at or above `high`, about `count` steps apart."""
    if not high > low:
        high = low + (abs(low) or 1)
    rough = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(step * magnitude for step in _STEPS if step * magnitude >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [place * step for place in range(first, last + 1)]


def time_ticks(start: float, end: float, count: int = 6) -> list[tuple[float, str]]:
    """Round moments in the range, in UTC, with what is written at them."""
    rough = (end - start) / count
    step = next((step for step in _TIME_STEPS if step >= rough), _TIME_STEPS[-1])
    form = (
        "%H:%M:%S" if step < _MINUTE else "%H:%M" if end - start <= _DAY else "%d %b %H:%M" if step < _DAY else "%d %b"
    )
    places = range(math.ceil(start / step), math.floor(end / step) + 1)
    return [(place * step, clock(place * step, form)) for place in places]


def clock(moment: float, form: str = "%Y-%m-%d %H:%M:%S UTC") -> str:
    """A moment in UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime(form)


def _short(value: float) -> str:
    size = abs(value)
    for least, divisor, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if size >= least:
            return f"{_figures(value / divisor)}{letter}"
    return _figures(value)


def _figures(value: float) -> str:
    """Three figures, no exponent for what people still read without."""
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.1e}" if decimals > 8 else _decimals(value, decimals)


def _decimals(value: float, decimals: int) -> str:
    """So many decimals, no zeros at the end, no zero below zero."""
    written = f"{value:.{min(decimals, 12)}f}"
    written = written.rstrip("0").rstrip(".") if "." in written else written
    return "0" if written == "-0" else written
