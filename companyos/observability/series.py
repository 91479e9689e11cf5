"""Instruments and their series: what a measurement costs is a look-up and an addition.

A series is one object, found by its attributes. An instrument has at most `limit` of them; what would be one more goes
to a series whose only attribute is `otel.metric.overflow` (metrics SDK specification, "Cardinality limits").
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from companyos.observability.redaction import as_text
from companyos.observability.spans import PLAIN, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from companyos.observability.redaction import Redactor

__all__ = (
    "DEFAULT_BUCKETS",
    "OVERFLOW",
    "Exemplar",
    "Histogram",
    "HistogramSeries",
    "Instrument",
    "Number",
    "Series",
    "clean_tags",
)

OVERFLOW: Mapping[str, Any] = {"otel.metric.overflow": True}
"""The attributes of the series that takes what had no room."""
DEFAULT_BUCKETS = (0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000)
"""Bounds where nothing is said (metrics SDK specification, "Explicit Bucket Histogram Aggregation")."""

Exemplar = tuple[float, float, int, int]
"""Value, Unix time in seconds, trace id, span id."""


class Number:
    """A series of a counter, an up-down counter or a gauge."""

    __slots__ = ("_lock", "attributes", "exemplar", "labels", "value")

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self.attributes = attributes
        self.value: float = 0
        self.exemplar: Exemplar | None = None
        self.labels: str | None = None
        """The attributes as the exposition writes them, kept by it."""
        self._lock = threading.Lock()

    def add(self, by: float) -> None:
        """Add to it."""
        with self._lock:
            self.value += by

    def set(self, value: float) -> None:
        """Replace it."""
        self.value = value


class HistogramSeries:
    """A series of a histogram with explicit bounds."""

    __slots__ = ("_bounds", "_lock", "attributes", "counts", "exemplars", "labels", "largest", "smallest", "total")

    def __init__(self, attributes: Mapping[str, Any], bounds: tuple[float, ...]) -> None:
        self.attributes = attributes
        self.counts = [0] * (len(bounds) + 1)
        """How many values were in each bucket, the last one without a bound."""
        self.total: float = 0
        self.smallest: float = float("inf")
        self.largest: float = float("-inf")
        self.exemplars: list[Exemplar | None] = [None] * (len(bounds) + 1)
        """The latest of each bucket."""
        self.labels: str | None = None
        """The attributes as the exposition writes them, kept by it."""
        self._bounds = bounds
        self._lock = threading.Lock()

    def record(self, value: float, exemplar: Exemplar | None = None) -> None:
        """Add one value; bounds are inclusive above."""
        place = bisect_left(self._bounds, value)
        with self._lock:
            self.counts[place] += 1
            self.total += value
            if value < self.smallest:  # noqa: PLR1730 - twice as fast as min()
                self.smallest = value
            if value > self.largest:  # noqa: PLR1730 - the same
                self.largest = value
            if exemplar is not None:
                self.exemplars[place] = exemplar

    def snapshot(self) -> tuple[list[int], float]:
        """Counts and sum that belong together."""
        with self._lock:
            return self.counts[:], self.total


Series = Number | HistogramSeries


class Instrument:
    """One named instrument."""

    def __init__(
        self,
        kind: str,
        name: str,
        unit: str,
        description: str,
        *,
        scope: tuple[str, str],
        limit: int,
        overflowed: Callable[[str], None],
        exemplars: str = "trace_based",
    ) -> None:
        self.kind = kind
        """`counter`, `updown`, `gauge` or `histogram`."""
        self.name = name
        self.unit = unit
        self.description = description
        self.scope = scope
        """Name and version of what instruments."""
        self.observe: list[Callable[[], Iterable[tuple[float, Mapping[str, Any]]]]] = []
        """Called when read, for instruments that are observed rather than told."""
        self._series: dict[frozenset[tuple[str, Any]], Any] = {}
        self._limit = limit
        self._overflowed = overflowed
        self._exemplars = exemplars
        self._lock = threading.Lock()

    def series(self, attributes: Mapping[str, Any]) -> Any:
        """The series of these attributes, made if there is room, else the one that takes the rest."""
        key = frozenset(attributes.items())
        found = self._series.get(key)
        return self._add(key, attributes) if found is None else found

    def all(self) -> list[Any]:
        """Every series there is, freshly observed."""
        for callback in self.observe:
            for value, attributes in callback():
                self.series(attributes).set(value)
        with self._lock:
            return list(self._series.values())

    def exemplar(self, value: float) -> Exemplar | None:
        """What ties a value recorded now to the trace in hand, if the filter lets it (SDK, "ExemplarFilter")."""
        if self._exemplars == "always_off":
            return None
        span = trace.get_current_span()
        if type(span) is Span:
            return (value, time.time(), span.trace_id, span.span_id)
        context = span.get_span_context()
        if self._exemplars == "always_on" or context.trace_flags.sampled:
            return (value, time.time(), context.trace_id, context.span_id)
        return None

    def _add(self, key: frozenset[tuple[str, Any]], attributes: Mapping[str, Any]) -> Any:
        with self._lock:
            found = self._series.get(key)
            if found is not None:
                return found
            if len(self._series) < self._limit - 1:
                made = self._series[key] = self._make(dict(attributes))
                return made
            rest = frozenset(OVERFLOW.items())
            if rest not in self._series:
                self._series[rest] = self._make(OVERFLOW)
            overflow = self._series[rest]
        self._overflowed(self.name)
        return overflow

    def _make(self, attributes: Mapping[str, Any]) -> Any:
        return Number(attributes)


class Histogram(Instrument):
    """A histogram with explicit bounds."""

    def __init__(self, *args: Any, bounds: Sequence[float], **options: Any) -> None:
        super().__init__("histogram", *args, **options)
        self.bounds = tuple(bounds)
        """Upper bounds, inclusive, rising."""

    def _make(self, attributes: Mapping[str, Any]) -> HistogramSeries:
        return HistogramSeries(attributes, self.bounds)


def clean_tags(redactor: Redactor, tags: Mapping[str, Any] | None) -> dict[str, Any]:
    """Attributes of a measurement, masked and plain; None is left out."""
    result: dict[str, Any] = {}
    for key, value in (tags or {}).items():
        plain = redactor.field(key, value)
        if plain is not None:
            result[redactor.text(as_text(key))] = plain if isinstance(plain, PLAIN) else as_text(plain)
    return result
