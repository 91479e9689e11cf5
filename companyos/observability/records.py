"""Spans and metrics as plain values, so that tests and smoke runs need to know nothing of how they are recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("MetricPoint", "SpanRecord")


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """A finished span."""

    name: str
    """What was done."""
    trace_id: str
    """32 lower-case hexadecimal digits."""
    span_id: str
    """16 lower-case hexadecimal digits."""
    parent_id: str | None
    """Span id of the parent, here or in another process; None for a root."""
    kind: str
    """`internal`, `server`, `client`, `producer` or `consumer`."""
    status: str
    """`unset`, `ok` or `error`."""
    duration_ms: float
    """How long it took."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Its attributes."""
    events: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """Name and attributes of each of its events, in order."""
    links: tuple[tuple[str, str], ...] = ()
    """Trace id and span id of each span that it is linked to."""
    resource: Mapping[str, Any] = field(default_factory=dict)
    """Who produced it: `service.name`, `service.version`, `vcs.ref.head.revision`, ..."""


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """The present state of one series of one instrument."""

    name: str
    """Name of the instrument."""
    kind: str
    """`counter`, `updown`, `gauge` or `histogram`."""
    unit: str
    """Its unit, as in UCUM: `s`, `ms`, `{request}`, `1`."""
    attributes: Mapping[str, Any]
    """What tells this series from the others."""
    value: float
    """The sum of what was added or recorded; of a gauge, the latest value."""
    count: int
    """How many values were recorded; 0 for counters, which do not keep it."""
