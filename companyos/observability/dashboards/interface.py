"""What a dashboard is made of, before any tool's format: queries in panels, panels in rows."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from companyos.observability.dashboards.errors import DashboardError

__all__ = ("LONGEST_UID", "Dashboard", "Panel", "Query", "Row", "Threshold", "check_name", "uid_of")

LONGEST_UID = 40
"""Grafana refuses a longer uid."""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL query of a panel."""

    expr: str
    """PromQL; may hold Grafana's variables, such as `$__rate_interval`."""
    legend: str
    """What its series are called; `{{label}}` stands for a label's value. In a table: the heading of its column."""
    exemplar: bool = False
    """Whether single measurements with their trace ids are asked for too."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A line that means something."""

    value: float
    """Where it is, in the panel's unit."""
    colour: str = "red"
    """Grafana's name of the colour above it."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture with its queries."""

    title: str
    """What it shows, in a few words."""
    description: str
    """How to read it, and where its figures come from."""
    unit: str
    """Grafana's id of the unit: `s`, `reqps`, `ops`, `percentunit`, `short`."""
    queries: tuple[Query, ...]
    """What it asks; at least one."""
    kind: str = "timeseries"
    """`timeseries`, or `table`: one row for each value of `key`, one column a query."""
    key: str = ""
    """The label that the columns of a table are joined by."""
    units: tuple[str, ...] = ()
    """Units of a table's columns, in the order of the queries."""
    width: int = 12
    """Columns of Grafana's grid, of 24."""
    height: int = 8
    """Rows of Grafana's grid, about 30 pixels each."""
    thresholds: tuple[Threshold, ...] = ()
    """Lines to draw."""
    minimum: float | None = None
    """Where the axis begins at the latest; None leaves it to the figures."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    """The heading."""
    panels: tuple[Panel, ...]
    """Left to right, then downwards."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A whole dashboard."""

    uid: str
    """Its stable id, at most 40 characters."""
    title: str
    """What it is called."""
    description: str
    """What it is for."""
    rows: tuple[Row, ...]
    """From top to bottom."""
    environments: str = ""
    """Query that the choice of the environment is filled by; empty: no such choice."""
    releases: str = ""
    """PromQL that has a point where a version appeared; empty: none are marked."""
    tags: tuple[str, ...] = field(default=("companyos",))
    """Words it is found by."""


def check_name(name: str, what: str) -> str:
    """`name`, if it can stand in a query and in a uid without being quoted.

    Raises:
        DashboardError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise DashboardError(
            f"not a name of {what}", got=repr(name), expected="1 to 128 letters, digits, '.', '_', '/', '-'"
        )
    return name


def uid_of(name: str) -> str:
    """A uid for what is called `name`: itself, or, where it is too long or has a slash, its beginning and a digest."""
    if len(name) <= LONGEST_UID and "/" not in name:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name.replace('/', '-')[: LONGEST_UID - 9]}-{digest}"
