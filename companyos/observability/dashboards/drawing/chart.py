"""One panel of lines: axes with units, gaps where there are no figures, lines to keep to, a legend with figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.observability.dashboards.drawing.colours import DASHES
from companyos.observability.dashboards.drawing.scales import round_ticks, time_ticks, unit_of
from companyos.observability.dashboards.drawing.svg import element, number, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from companyos.observability.dashboards.drawing.scales import Unit
    from companyos.observability.dashboards.reading import TimeRange

__all__ = ("Box", "Chart", "Line")

MOST_LINES = 12
"""More lines than this nobody tells apart; the rest are counted, not drawn."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 34, 40
_LEGEND_ROW = 15
_CHARACTER = 5.9
"""How wide a character of 11 pixels is at most, on average."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of the picture, in its units."""

    x: float
    """Left edge."""
    y: float
    """Upper edge."""
    width: float
    """To the right."""
    height: float
    """Downwards."""


@dataclass(frozen=True, slots=True)
class Line:
    """One series as drawn."""

    name: str
    """What the legend calls it."""
    points: tuple[tuple[float, float], ...]
    """Unix seconds and value, oldest first; what is not finite is a gap."""

    @property
    def figures(self) -> list[float]:
        """The finite values."""
        return [value for _, value in self.points if math.isfinite(value)]


@dataclass(frozen=True, slots=True)
class Chart:
    """A panel of lines, ready to be drawn."""

    unit: str
    """Grafana's id of the unit."""
    lines: tuple[Line, ...]
    """What to draw; those without a finite value are left out."""
    thresholds: tuple[float, ...] = ()
    """Lines to keep to."""
    marks: tuple[tuple[float, str], ...] = ()
    """Moments with a name, drawn upright."""
    exemplars: tuple[tuple[float, float], ...] = ()
    """Single measurements: Unix seconds and value."""
    minimum: float | None = None
    """Where the axis begins at the latest."""

    def drawn(self, box: Box, time: TimeRange) -> list[str]:
        """The elements of the panel below its title."""
        lines = [line for line in self.lines if line.figures][:MOST_LINES]
        if not lines:
            return [text(box.x + box.width / 2, box.y + box.height / 2, "no data", class_="a t", text_anchor="middle")]
        ticks, unit = self._scale(lines)
        rows = math.ceil(len(lines) / _columns(box))
        height = box.height - _TOP - _BOTTOM - rows * _LEGEND_ROW
        plot = Box(box.x + _LEFT, box.y + _TOP, box.width - _LEFT - _RIGHT, height)
        frame = _Frame(plot, time, ticks[0], ticks[-1])
        parts = [*_axes(frame, ticks, unit), *self._thresholds(frame), *self._marks(frame)]
        parts += [
            element("path", d=path, class_=f"s s{place % len(DASHES)}")
            for place, line in enumerate(lines)
            if (path := frame.path(line, time.step_seconds))
        ]
        parts += [_diamond(frame.x(moment), frame.y(value)) for moment, value in self.exemplars if frame.shows(moment)]
        return [*parts, *self._legend(lines, unit, box, frame)]

    def summary(self) -> str:
        """The panel in words, for those who do not see it."""
        lines = [line for line in self.lines if line.figures]
        if not lines:
            return "No data."
        unit = unit_of(self.unit, max(max(line.figures) for line in lines))
        said = [
            f"{line.name}: last {unit.written(line.figures[-1])}, lowest {unit.written(min(line.figures))},"
            f" highest {unit.written(max(line.figures))}"
            for line in lines[:MOST_LINES]
        ]
        return "; ".join(said) + "."

    def _scale(self, lines: Sequence[Line]) -> tuple[list[float], Unit]:
        values = [value for line in lines for value in line.figures]
        values += [value for _, value in self.exemplars]
        low, high = min(values), max(values)
        # A line to keep to is shown if it is near what was measured; a far one would flatten everything.
        near = [value for value in self.thresholds if low - (high - low) <= value <= high + (high - low)]
        low, high = min([low, *near, *([] if self.minimum is None else [self.minimum])]), max([high, *near])
        return round_ticks(low, high), unit_of(self.unit, high)

    def _thresholds(self, frame: _Frame) -> Iterator[str]:
        for value in self.thresholds:
            if frame.low <= value <= frame.high:
                y = frame.y(value)
                yield element("path", d=f"M{number(frame.box.x)} {number(y)}h{number(frame.box.width)}", class_="l")

    def _marks(self, frame: _Frame) -> Iterator[str]:
        for moment, name in self.marks:
            if frame.shows(moment):
                x, top = frame.x(moment), frame.box.y
                yield element("path", d=f"M{number(x)} {number(top)}v{number(frame.box.height)}", class_="m")
                yield text(x + 3, top + 9, name, class_="k")

    def _legend(self, lines: Sequence[Line], unit: Unit, box: Box, frame: _Frame) -> Iterator[str]:
        top = frame.box.y + frame.box.height + _BOTTOM
        hidden = sum(1 for line in self.lines if line.figures) - len(lines)
        columns = _columns(box)
        width = (box.width - 24) / columns
        for place, line in enumerate(lines):
            x, y = box.x + 12 + (place % columns) * width, top + (place // columns) * _LEGEND_ROW
            yield element("path", d=f"M{number(x)} {number(y - 4)}h22", class_=f"s s{place % len(DASHES)}")
            figures = f": last {unit.written(line.figures[-1])}, max {unit.written(max(line.figures))}"
            more = f" (and {hidden} more, not drawn)" if hidden and place == len(lines) - 1 else ""
            longest = int((width - 34) / _CHARACTER) - len(figures) - len(more)
            yield text(x + 28, y, f"{_clipped(line.name, longest)}{figures}{more}")


def _columns(box: Box) -> int:
    return 2 if box.width > 500 else 1


@dataclass(frozen=True, slots=True)
class _Frame:
    """The plot itself, and where in it a figure is."""

    box: Box
    time: TimeRange
    low: float
    high: float

    def x(self, moment: float) -> float:
        return self.box.x + (moment - self.time.start) / (self.time.end - self.time.start) * self.box.width

    def y(self, value: float) -> float:
        return self.box.y + (self.high - value) / (self.high - self.low) * self.box.height

    def shows(self, moment: float) -> bool:
        return self.time.start <= moment <= self.time.end

    def path(self, line: Line, step: float) -> str:
        """The line as path data: broken where figures are missing, without points that change nothing."""
        pieces: list[list[tuple[str, str]]] = [[]]
        before = -math.inf
        for moment, value in line.points:
            if not math.isfinite(value):
                continue
            if moment - before > 1.5 * step:
                pieces.append([])
            pieces[-1].append((number(self.x(moment)), number(self.y(value))))
            before = moment
        return "".join(map(_drawn_piece, filter(None, pieces)))


def _drawn_piece(points: list[tuple[str, str]]) -> str:
    if len(points) == 1:
        return f"M{points[0][0]} {points[0][1]}h1.5"
    kept = [
        point
        for place, point in enumerate(points)
        if place in {0, len(points) - 1} or not points[place - 1][1] == point[1] == points[place + 1][1]
    ]
    return f"M{kept[0][0]} {kept[0][1]}L" + " ".join(f"{x} {y}" for x, y in kept[1:])


def _axes(frame: _Frame, ticks: Sequence[float], unit: Unit) -> Iterator[str]:
    box = frame.box
    bottom = box.y + box.height
    for value in ticks:
        y = frame.y(value)
        yield element("path", d=f"M{number(box.x)} {number(y)}h{number(box.width)}", class_="g")
        yield text(box.x - 5, y + 4, unit.tick(value, ticks[1] - ticks[0]), class_="q", text_anchor="end")
    for moment, label in time_ticks(frame.time.start, frame.time.end, max(3, int(box.width / 95))):
        x = frame.x(moment)
        yield element("path", d=f"M{number(x)} {number(bottom)}v4", class_="e")
        yield text(x, bottom + 15, label, class_="q", text_anchor="middle")
    corner = f"M{number(box.x)} {number(box.y)}V{number(bottom)}H{number(box.x + box.width)}"
    yield element("path", d=corner, class_="e")
    middle = box.y + box.height / 2
    x = box.x - 46
    turned = f"rotate(-90 {number(x)} {number(middle)})"
    yield text(x, middle, unit.label, class_="q", text_anchor="middle", transform=turned)
    yield text(box.x + box.width, bottom + 26, "time (UTC)", class_="q", text_anchor="end")


def _diamond(x: float, y: float) -> str:
    return element("path", d=f"M{number(x - 3)} {number(y)}l3-3 3 3-3 3z", class_="x")


def _clipped(name: str, longest: int) -> str:
    longest = max(longest, 8)
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
