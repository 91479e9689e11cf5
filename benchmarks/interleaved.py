"""Measuring cases side by side: every round runs each once, in an order that rotates, so that a slow phase hits all."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ("Bar", "measure", "report")

OUTPUT = Path(__file__).resolve().parent.parent / "build" / "bench"


@dataclass(frozen=True, slots=True)
class Bar:
    """How one case has to compare with another in the same round."""

    case: str
    """Ours."""
    base: str
    """The rival, or the limit."""
    at_least: float | None = None
    """The least share of the base's rate."""
    at_most: float | None = None
    """The largest multiple of the base's time."""

    def ratio(self, seconds: Mapping[str, Sequence[float]]) -> float:
        """Median over the rounds of the ratio within one round: of rates for `at_least`, of times for `at_most`."""
        pairs = zip(seconds[self.case], seconds[self.base], strict=True)
        return statistics.median(b / a if self.at_least is not None else a / b for a, b in pairs)

    def holds(self, ratio: float) -> bool:
        """Whether the ratio passes."""
        return ratio >= self.at_least if self.at_least is not None else ratio <= (self.at_most or 0.0)

    def __str__(self) -> str:
        return f">= {self.at_least:g} x rate" if self.at_least is not None else f"<= {self.at_most:g} x time"


def measure(cases: Mapping[str, Callable[[], float]], *, rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds per unit of every case, one figure a round."""
    names = list(cases)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warm_up, rounds):
        for step in range(len(names)):
            name = names[(number + step) % len(names)]
            taken = cases[name]()
            if number >= 0:
                seconds[name].append(taken)
    return seconds


def report(name: str, seconds: Mapping[str, Sequence[float]], bars: Sequence[Bar], **more: Any) -> list[Bar]:
    """Print both tables, write `build/bench/NAME.json`, and return the bars that are missed."""
    print(f"\n{name}\n{'case':44}  {'median us':>11}  {'per second':>11}")
    for case, values in seconds.items():
        middle = statistics.median(values)
        print(f"{case:44}  {middle * 1e6:11.2f}  {1 / middle:11,.0f}")
    ratios = {f"{bar.case} / {bar.base}": bar.ratio(seconds) for bar in bars}
    if bars:
        print(f"\n{'ratio':84}  {'measured':>8}  bar")
    for bar, (label, ratio) in zip(bars, ratios.items(), strict=True):
        print(f"{label:84}  {ratio:8.3f}  {bar}  {'ok' if bar.holds(ratio) else 'MISSED'}")
    machine = {"python": sys.version.split()[0], "system": platform.platform(), "cores": os.cpu_count()}
    figures = {"machine": machine, "load": os.getloadavg()[0], "ratios": ratios, **more}
    OUTPUT.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures | {"seconds": {case: list(values) for case, values in seconds.items()}}, indent=2)
    (OUTPUT / f"{name}.json").write_text(f"{text}\n")
    return [bar for bar, ratio in zip(bars, ratios.values(), strict=True) if not bar.holds(ratio)]
