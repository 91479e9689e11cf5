"""Any Grafana dashboard as its panels and queries, with Grafana's variables filled in as Grafana would."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos._json import strict_loads
from companyos.observability.dashboards.errors import DashboardError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ("ReadDashboard", "ReadPanel", "ReadQuery", "TimeRange", "read")

LONGEST_CHARACTERS = 4 * 1024 * 1024
_SILENT = frozenset({"row", "text", "dashlist", "news", "alertlist", "annolist"})
"""Panels without queries."""
_VARIABLE = re.compile(r"\$\{(\w+)(?:\.[^:{}]*)?(?::[^{}]*)?\}|\[\[(\w+)(?::\w+)?\]\]|\$(\w+)")
_POINTS = 300
"""How many points a panel of ordinary width asks for."""
_STEPS_SECONDS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """What is looked at, in Unix seconds."""

    start: float
    """The beginning."""
    end: float
    """The end, later than the beginning."""
    scrape_seconds: float = 15.0
    """How often the Prometheus scrapes; Grafana's setting of the data source, by default 15 s."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.end) and self.start < self.end):
            raise DashboardError(
                "not a range of time", got=f"{self.start:g} to {self.end:g}", expected="from before to"
            )
        if not self.scrape_seconds > 0:
            raise DashboardError("not an interval of scrapes", got=self.scrape_seconds, expected="more than 0 s")

    @property
    def step_seconds(self) -> float:
        """The distance of points, as round as Grafana's, not below the interval of the scrapes."""
        least = max((self.end - self.start) / _POINTS, self.scrape_seconds)
        return float(next((step for step in _STEPS_SECONDS if step >= least), math.ceil(least)))

    def variables(self) -> dict[str, str]:
        """Grafana's built-in variables for this range (`$__rate_interval`: step + scrape, at least four scrapes)."""
        step, length = self.step_seconds, self.end - self.start
        return {
            "__interval": f"{step:.0f}s",
            "__interval_ms": f"{step * 1000:.0f}",
            "__rate_interval": f"{max(step + self.scrape_seconds, 4 * self.scrape_seconds):.0f}s",
            "__range": f"{length:.0f}s",
            "__range_s": f"{length:.0f}",
            "__range_ms": f"{length * 1000:.0f}",
            "__from": f"{self.start * 1000:.0f}",
            "__to": f"{self.end * 1000:.0f}",
        }


@dataclass(frozen=True, slots=True)
class ReadQuery:
    """One query of a panel."""

    ref: str
    """Its letter in the panel."""
    expr: str
    """PromQL as written, variables and all; empty for a query to something that is no Prometheus."""
    legend: str
    """What its series are called."""
    instant: bool
    """Whether one moment is asked for, not a range."""
    exemplar: bool
    """Whether exemplars are asked for too."""


@dataclass(frozen=True, slots=True)
class ReadPanel:
    """One panel."""

    title: str
    """Its title, or its type and number if it has none."""
    description: str
    """What it says of itself."""
    kind: str
    """Grafana's type of panel."""
    unit: str
    """Grafana's id of the unit."""
    queries: tuple[ReadQuery, ...]
    """What it asks."""
    place: tuple[int, int, int, int]
    """x, y, width and height in Grafana's grid."""
    columns: Mapping[str, tuple[str, str]]
    """Heading and unit of a table's columns, by the letter of the query."""
    thresholds: tuple[float, ...]
    """Lines to draw."""
    minimum: float | None
    """Where the axis begins at the latest."""


@dataclass(frozen=True, slots=True)
class ReadDashboard:
    """A dashboard as read."""

    title: str
    """What it is called."""
    panels: tuple[ReadPanel, ...]
    """Those that ask for something, those in collapsed rows among them."""
    rows: tuple[tuple[int, str], ...]
    """Headings with their place (y) in the grid."""
    marks: tuple[tuple[str, str], ...]
    """Name and PromQL of what is marked on every panel."""
    variables: Mapping[str, str]
    """What each variable stands for as the dashboard is saved."""

    def filled_in(self, text: str, time: TimeRange) -> str:
        """`text` with every known variable replaced; an unknown one stays, and the Prometheus will refuse it."""
        values = {**self.variables, **time.variables()}

        def value(match: re.Match[str]) -> str:
            name = match[1] or match[2] or match[3]
            return values.get(name, match[0])

        # Twice, because a variable may stand for text with a built-in one.
        return _VARIABLE.sub(value, _VARIABLE.sub(value, text))


def read(text: str, *, name: str = "the dashboard") -> ReadDashboard:
    """The dashboard in a JSON text, as exported, or wrapped as the API gives it (`{"dashboard": ...}`).

    Raises:
        DashboardError: it is not the JSON of a dashboard; the message names `name`.
    """
    if len(text) > LONGEST_CHARACTERS:
        raise DashboardError(f"{name} is too long", got=f"{len(text)} characters", expected=f"{LONGEST_CHARACTERS}")
    try:
        data = strict_loads(text)
        data = data["dashboard"] if isinstance(data, dict) and "panels" not in data and "dashboard" in data else data
        return _dashboard(data)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise DashboardError(f"{name} is no Grafana dashboard", got=f"{type(error).__name__}: {error}") from error


def _dashboard(data: dict[str, Any]) -> ReadDashboard:
    if not isinstance(data["panels"], list):
        raise TypeError("`panels` is no list")
    panels = list(_flat(data["panels"]))
    annotations = (data.get("annotations") or {}).get("list") or []
    templating = (data.get("templating") or {}).get("list") or []
    return ReadDashboard(
        title=str(data.get("title") or "untitled"),
        panels=tuple(_panel(panel) for panel in panels if panel.get("type") not in _SILENT and "targets" in panel),
        rows=tuple((_place(panel)[1], str(panel.get("title", ""))) for panel in panels if panel.get("type") == "row"),
        marks=tuple((str(mark.get("name", "")), mark["expr"]) for mark in annotations if mark.get("expr")),
        variables={str(one["name"]): _value(one) for one in templating if one.get("type") != "datasource"},
    )


def _flat(panels: list[Any]) -> Iterator[dict[str, Any]]:
    for panel in panels:
        yield panel
        if panel.get("type") == "row":
            yield from panel.get("panels") or ()


def _panel(data: dict[str, Any]) -> ReadPanel:
    defaults = (data.get("fieldConfig") or {}).get("defaults") or {}
    steps = (defaults.get("thresholds") or {}).get("steps") or []
    styled = ((defaults.get("custom") or {}).get("thresholdsStyle") or {}).get("mode", "off") != "off"
    queries = tuple(_query(target) for target in data["targets"] if not target.get("hide"))
    minimum = defaults.get("min")
    return ReadPanel(
        title=str(data.get("title") or f"{data.get('type')} {data.get('id')}"),
        description=str(data.get("description") or ""),
        kind=str(data.get("type")),
        unit=str(defaults.get("unit") or "short"),
        queries=queries,
        place=_place(data),
        columns=_columns(data, queries),
        thresholds=tuple(float(step["value"]) for step in steps if styled and step.get("value") is not None),
        minimum=None if minimum is None else float(minimum),
    )


def _query(target: dict[str, Any]) -> ReadQuery:
    return ReadQuery(
        ref=str(target.get("refId", "?")),
        expr=str(target.get("expr") or ""),
        legend=str(target.get("legendFormat") or ""),
        instant=bool(target.get("instant")) and not target.get("range"),
        exemplar=bool(target.get("exemplar")),
    )


def _place(data: dict[str, Any]) -> tuple[int, int, int, int]:
    grid = data.get("gridPos") or {}
    return int(grid.get("x", 0)), int(grid.get("y", 0)), int(grid.get("w", 12)), int(grid.get("h", 8))


def _columns(data: dict[str, Any], queries: tuple[ReadQuery, ...]) -> dict[str, tuple[str, str]]:
    """What a table's transformations and overrides say of the column of each query."""
    if data.get("type") != "table":
        return {}
    names: dict[str, str] = {}
    for one in data.get("transformations") or ():
        names |= (one.get("options") or {}).get("renameByName") or {}
    units = {}
    for override in (data.get("fieldConfig") or {}).get("overrides") or ():
        for setting in override.get("properties") or ():
            if setting.get("id") == "unit":
                units[(override.get("matcher") or {}).get("options")] = str(setting.get("value"))
    headings = {query.ref: str(names.get(f"Value #{query.ref}", query.legend or query.ref)) for query in queries}
    return {ref: (heading, units.get(heading, "short")) for ref, heading in headings.items()}


def _value(variable: dict[str, Any]) -> str:
    """What a variable is replaced by: its saved value, several of them as a regular expression, all as `.*`."""
    value = (variable.get("current") or {}).get("value", variable.get("query", ""))
    values = [str(one) for one in value] if isinstance(value, list) else [str(value)]
    if "$__all" in values or not values:
        return str(variable.get("allValue") or ".*")
    return values[0] if len(values) == 1 else f"({'|'.join(values)})"
