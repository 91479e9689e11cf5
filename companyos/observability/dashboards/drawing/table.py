"""One panel that is a table: a row for each value of its key, a column for each query."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.observability.dashboards.drawing.scales import unit_of
from companyos.observability.dashboards.drawing.svg import element, number, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from companyos.observability.dashboards.drawing.chart import Box
    from companyos.observability.dashboards.reading import TimeRange

__all__ = ("Table",)

_LINE = 22
_FIRST = 0.34
"""The share of the width that the key takes."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table, ready to be drawn."""

    columns: tuple[tuple[str, tuple[str, str]], ...]
    """The letter of each query, with its heading and unit."""
    rows: Mapping[str, Mapping[str, float]]
    """By key, the value of each query."""

    def drawn(self, box: Box, _: TimeRange) -> list[str]:
        """The elements of the panel below its title; rows that do not fit are counted."""
        if not self.rows:
            return [text(box.x + box.width / 2, box.y + box.height / 2, "no data", class_="a t", text_anchor="middle")]
        top = box.y + 46
        fit = max(1, int((box.y + box.height - top - 8) // _LINE))
        parts = [text(self._x(box, place), top, name, class_="q") for place, name in enumerate(self._headings())]
        shown = sorted(self.rows)[: fit if len(self.rows) <= fit else fit - 1]
        for line, key in enumerate(shown, start=1):
            y = top + line * _LINE
            parts.append(
                element("path", d=f"M{number(box.x + 12)} {number(y - 15)}h{number(box.width - 24)}", class_="g")
            )
            parts.append(text(self._x(box, 0), y, key))
            parts += [
                text(self._x(box, place), y, cell) for place, cell in enumerate(self._cells(self.rows[key]), start=1)
            ]
        if len(shown) < len(self.rows):
            more = f"and {len(self.rows) - len(shown)} more"
            parts.append(text(self._x(box, 0), top + (len(shown) + 1) * _LINE, more, class_="q"))
        return parts

    def summary(self) -> str:
        """The table in words."""
        if not self.rows:
            return "No data."
        headings = self._headings()[1:]
        said = (
            f"{key}: {', '.join(map(' '.join, zip(headings, self._cells(values), strict=True)))}"
            for key, values in sorted(self.rows.items())
        )
        return "; ".join(said) + "."

    def _headings(self) -> list[str]:
        return ["Name", *(name for _, (name, _) in self.columns)]

    def _cells(self, values: Mapping[str, float]) -> list[str]:
        return [
            unit_of(unit, values.get(ref, 0.0)).written(values.get(ref, math.nan)) for ref, (_, unit) in self.columns
        ]

    def _x(self, box: Box, place: int) -> float:
        if place == 0:
            return box.x + 12
        wide = box.width * (1 - _FIRST)
        return box.x + box.width * _FIRST + (place - 1) * wide / max(1, len(self.columns))
