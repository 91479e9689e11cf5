"""A whole dashboard as one SVG: every panel asked and laid out as in Grafana's grid, with words for all it shows."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from companyos.observability.dashboards.asking import Asking
from companyos.observability.dashboards.drawing.chart import MOST_LINES, Box, Chart, Line
from companyos.observability.dashboards.drawing.colours import style
from companyos.observability.dashboards.drawing.scales import clock
from companyos.observability.dashboards.drawing.svg import element, text, words
from companyos.observability.dashboards.drawing.table import Table
from companyos.observability.slo.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from companyos.observability.dashboards.prometheus import PrometheusOverTime, Series
    from companyos.observability.dashboards.reading import ReadDashboard, ReadPanel, ReadQuery, TimeRange

    Marks = tuple[tuple[float, str], ...]

__all__ = ("CAPTION", "draw")

CAPTION = "drawn by CompanyOS from Prometheus, not a Grafana screenshot"
_WIDTH, _COLUMN, _ROW, _GAP, _MARGIN, _HEAD, _FOOT, _LINE = 1200, 49, 31, 8, 12, 62, 14, 16
_LABEL = re.compile(r"\{\{\s*([\w.]+)\s*\}\}")
_MOST_EXEMPLARS = 60
_CAPTION_CHARACTERS = 170
"""What fits into one line of the caption."""


def draw(dashboard: ReadDashboard, prometheus: PrometheusOverTime, time: TimeRange, *, note: str = "") -> str:
    """The dashboard over the range, as an SVG text; `note` says where the figures come from, in the caption.

    A panel without data says so in its place, and one whose query is refused says why.

    Raises:
        PrometheusError: the Prometheus does not answer.
    """
    asking = Asking(dashboard, prometheus, time)
    marks = tuple(_marks(asking))
    parts = [_panel(asking, panel, number, marks) for number, panel in enumerate(dashboard.panels)]
    parts += [text(_MARGIN, _top(y) + 20, title, class_="r") for y, title in dashboard.rows]
    lowest = max((panel.place[1] + panel.place[3] for panel in dashboard.panels), default=0)
    caption = f"{CAPTION}. {note}".strip() if note else f"{CAPTION}."
    below = textwrap.wrap(caption, _CAPTION_CHARACTERS)
    height = _top(lowest) + _FOOT + _LINE * len(below)
    span = f"{clock(time.start)} to {clock(time.end)}, a point every {time.step_seconds:g} s"
    described = f"{len(dashboard.panels)} panels, {span}. {caption}"
    return (
        element(
            "svg",
            element("title", words(dashboard.title), id="t"),
            element("desc", words(described), id="d"),
            element("style", style()),
            element("rect", width="100%", height="100%", class_="ground"),
            text(_MARGIN, 28, dashboard.title, class_="h"),
            text(_MARGIN, 48, span, class_="q"),
            *parts,
            *(
                text(_MARGIN, _top(lowest) + _LINE * place + 3, line, class_="q")
                for place, line in enumerate(below, start=1)
            ),
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {_WIDTH} {height}",
            role="img",
            aria_labelledby="t d",
        ).replace("><g", ">\n<g")
        + "\n"
    )


def _top(y: int) -> int:
    return _HEAD + y * _ROW


def _panel(asking: Asking, panel: ReadPanel, number: int, marks: Marks) -> str:
    x, y, width, height = panel.place
    box = Box(_MARGIN + x * _COLUMN, _top(y) + _GAP / 2, width * _COLUMN - _GAP, height * _ROW - _GAP)
    try:
        drawn = _table(asking, panel) if panel.kind == "table" else _chart(asking, panel, marks)
        body, summary = drawn.drawn(box, asking.time), drawn.summary()
    except QueryError as error:
        summary = f"The query was refused: {error.got or error.what}"
        body = [text(box.x + 12, box.y + 44, _clipped(summary, int(box.width / 6)), class_="a")]
    return element(
        "g",
        element("title", words(panel.title), id=f"t{number}"),
        element("desc", words(f"{panel.description} {summary}".strip()), id=f"d{number}"),
        element("rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=4, class_="p"),
        text(box.x + 12, box.y + 20, panel.title, class_="t"),
        *body,
        role="img",
        aria_labelledby=f"t{number} d{number}",
    )


def _chart(asking: Asking, panel: ReadPanel, marks: Marks) -> Chart:
    answers = [(query, asking.series(query)) for query in panel.queries]
    lines = [Line(_name(query, series), series.points) for query, answer in answers for series in answer]
    exemplars = [found for query in panel.queries if query.exemplar for found in asking.exemplars(query)]
    # The largest are those that somebody looks for.
    shown = sorted(((one.time, one.value) for one in exemplars), key=lambda pair: pair[1])[-_MOST_EXEMPLARS:]
    return Chart(panel.unit, tuple(lines), panel.thresholds, marks, tuple(sorted(shown)), panel.minimum)


def _table(asking: Asking, panel: ReadPanel) -> Table:
    rows: dict[str, dict[str, float]] = {}
    for query in panel.queries:
        for series in asking.series(query):
            name = ", ".join(value for key, value in sorted(series.labels.items()) if key != "__name__") or "all"
            rows.setdefault(name, {})[query.ref] = series.points[-1][1]
    return Table(tuple(panel.columns.items()), rows)


def _name(query: ReadQuery, series: Series) -> str:
    if query.legend and query.legend != "__auto":
        return _LABEL.sub(lambda match: series.labels.get(match[1], ""), query.legend) or "(none)"
    return ", ".join(f"{key}={value}" for key, value in sorted(series.labels.items())) or query.expr


def _marks(asking: Asking) -> Iterator[tuple[float, str]]:
    """The first point of every series of every mark's query: when what it marks began."""
    for _, expr in asking.dashboard.marks:
        try:
            found = asking.over_time(asking.dashboard.filled_in(expr, asking.time))
        except QueryError:
            continue
        for series in found[:MOST_LINES]:
            name = " ".join(value for key, value in sorted(series.labels.items()) if key != "__name__")
            # What was there from the first point on did not begin in this range.
            if series.points[0][0] > asking.time.start + asking.time.step_seconds:
                yield series.points[0][0], name


def _clipped(content: str, longest: int) -> str:
    return content if len(content) <= longest else f"{content[: longest - 1]}…"
