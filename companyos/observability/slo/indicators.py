"""The SLI and its queries: OpenSLO v1, sections "SLI" and "Ratio Metric"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.observability.slo.metadata import header
from companyos.observability.slo.openslo import EventRatio, Indicator, RawRatio, ThresholdMetric
from companyos.observability.slo.promql import (
    Query,
    UnusableQueryError,
    is_counter,
    masks_absence,
    read_query,
    require_promql,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from companyos.observability.slo.fields import Fields
    from companyos.observability.slo.openslo import DataSource

__all__ = ("Queries", "query", "ratio", "sli")

SOURCES = ("prometheus", "any")
"""Types of sources that rules can be made for; `Any` is what the specification's examples write for *yours*."""


class Queries:
    """Reads metric sources; knows the data sources that they may refer to."""

    def __init__(self, sources: Mapping[str, DataSource]) -> None:
        self._sources = sources

    def metric(self, fields: Fields) -> tuple[str, Fields] | None:
        """The query of a metric, and the fields that hold it."""
        fields.only("metricSource")
        source = fields.fields("metricSource", required=True)
        if source is None:
            return None
        source.only("metricSourceRef", "type", "spec")
        self._check_type(source)
        spec = source.fields("spec", required=True)
        if spec is None:
            return None
        text = spec.text("query", required=True)
        return (text, spec) if text else None

    def _check_type(self, source: Fields) -> None:
        reference = source.name("metricSourceRef", required=False)
        kind = source.text("type")
        if reference and reference not in self._sources:
            # The specification lets the source be defined elsewhere when the type is said.
            if not kind:
                source.problem("metricSourceRef", f"no DataSource {reference!r} is defined, and no type is given")
            return
        if reference:
            kind = kind or self._sources[reference].type
        if not kind:
            source.problem("type", "is missing, and there is no metricSourceRef; expected Prometheus")
        elif kind.lower() not in SOURCES:
            source.problem("type", f"got {kind[:60]!r}; rules can only be made for Prometheus")


def sli(top: Fields, queries: Queries) -> Indicator | None:
    """A whole object of kind SLI, or the `indicator` of an SLO."""
    metadata = header(top)
    spec = top.fields("spec", required=True)
    if metadata is None or spec is None:
        return None
    spec.only("description", "thresholdMetric", "ratioMetric")
    spec.text("description")
    if ("thresholdMetric" in spec) == ("ratioMetric" in spec):
        spec.problem(None, "expected exactly one of ratioMetric and thresholdMetric")
        return None
    threshold, measured = spec.fields("thresholdMetric"), spec.fields("ratioMetric")
    metric: EventRatio | RawRatio | ThresholdMetric | None = None
    if threshold is not None:
        held = _read(threshold, queries)
        metric = None if held is None else ThresholdMetric(held[0])
    elif measured is not None:
        metric = ratio(measured, queries)
    return None if metric is None else Indicator(metadata, metric)


def ratio(fields: Fields, queries: Queries) -> EventRatio | RawRatio | None:
    """A `ratioMetric`."""
    fields.only("counter", "good", "bad", "total", "raw", "rawType")
    counter = fields.boolean("counter") or False
    raw_type = fields.choice("rawType", ("success", "failure"), required="raw" in fields)
    given = {key for key in ("good", "bad", "total", "raw") if key in fields}
    if given not in ({"good", "total"}, {"bad", "total"}, {"raw"}):
        expected = "expected good and total, bad and total, or raw alone"
        fields.problem(None, f"got {', '.join(sorted(given)) or 'none of them'}; {expected}")
        return None
    found = {key: _read(metric, queries) for key in given if (metric := fields.fields(key)) is not None}
    raw = found.get("raw")
    if raw is not None:
        return RawRatio(raw[0], raw_type == "failure")
    key = "bad" if "bad" in given else "good"
    counted, total = (
        None if held is None else _events(*held, counter=counter) for held in map(found.get, (key, "total"))
    )
    return None if counted is None or total is None else EventRatio(counted, key == "bad", total)


def _read(metric: Fields, queries: Queries) -> tuple[Query, Fields] | None:
    found = queries.metric(metric)
    held = None if found is None else query(*found)
    return None if found is None or held is None else (held, found[1])


def query(text: str, fields: Fields) -> Query | None:
    """A query taken apart; what is wrong with it is reported at `fields`."""
    try:
        found = read_query(text)
    except UnusableQueryError as error:
        fields.problem("query", str(error))
        return None
    try:
        require_promql(found.over("5m"))
    except UnusableQueryError as error:
        lacks = "" if found.has_window else "has no place for the window, and as it stands "
        fields.problem("query", f"{lacks}{error}")
        return None
    if masks_absence(text):
        fields.warning("query", "`or vector(…)` makes missing data look like a measured value; leave it out")
    return found


def _events(found: Query, fields: Fields, *, counter: bool) -> Query | None:
    """A query that counts events over a window, made from a bare metric where need be."""
    if found.has_window:
        return found.in_sum()
    if found.selector is None:
        fields.problem("query", "has no place for the window; write [{{.window}}] or the same range, such as [5m]")
        return None
    if not counter and is_counter(found.selector):
        fields.problem("query", "counts, by the end of its name; write counter: true beside good, bad and total")
        return None
    function = "rate" if counter else "sum_over_time"
    return Query((f"sum({function}({found.selector}[", "]))"), found.selector, summed=True)
