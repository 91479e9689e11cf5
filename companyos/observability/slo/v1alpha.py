"""SLOs of `openslo/v1alpha`, as Sloth reads them: queries stand in the objectives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.observability.slo.durations import UNITS
from companyos.observability.slo.indicators import query
from companyos.observability.slo.metadata import described, header
from companyos.observability.slo.objects import METHODS, objective
from companyos.observability.slo.openslo import BudgetingMethod, EventRatio, Indicator, Objective, Slo, TimeWindow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from companyos.observability.slo.fields import Fields
    from companyos.observability.slo.openslo import Metadata
    from companyos.observability.slo.promql import Query

__all__ = ("slo",)

_UNITS = {"Day": "d", "Week": "w", "Month": "M", "Quarter": "Q", "Year": "Y"}


def slo(top: Fields) -> Slo | None:
    """An SLO with one ratio; what v1alpha has besides is refused by name."""
    metadata = header(top)
    spec = top.fields("spec", required=True)
    if metadata is None or spec is None:
        return None
    spec.only("description", "service", "budgetingMethod", "objectives", "timeWindows")
    description = described(spec)
    service = spec.name("service")
    method = spec.choice("budgetingMethod", METHODS[:2], required=True)
    window = _window(spec)
    found = list(_objectives(spec, metadata, method or ""))
    if not service or method is None or window is None or not found:
        return None
    indicator = found[0][0]
    for other, held in found[1:]:
        if other.metric != indicator.metric:
            spec.problem("objectives", "queries that differ: write one SLO for each", line=held.place.line)
    objectives = tuple(held for _, held in found)
    return Slo(metadata, description, service, indicator, window, BudgetingMethod(method), objectives, ())


def _objectives(spec: Fields, metadata: Metadata, method: str) -> Iterator[tuple[Indicator, Objective]]:
    for node, fields in spec.items("objectives", required=True):
        if fields is None:
            spec.problem("objectives", "expected a list of mappings", line=node.line)
            continue
        fields.only("displayName", "value", "op", "target", "timeSliceTarget", "timeSliceWindow", "ratioMetrics")
        held = objective(fields, method, threshold=False)
        measured = fields.fields("ratioMetrics", required=True)
        ratio = None if measured is None else _ratio(measured)
        if held is not None and ratio is not None:
            yield Indicator(metadata, ratio), held


def _ratio(fields: Fields) -> EventRatio | None:
    fields.only("counter", "incremental", "good", "total")
    fields.boolean("counter")
    fields.boolean("incremental")
    good, total = _query(fields, "good"), _query(fields, "total")
    return None if good is None or total is None else EventRatio(good, are_bad=False, total=total)


def _query(fields: Fields, key: str) -> Query | None:
    metric = fields.fields(key, required=True)
    if metric is None:
        return None
    metric.only("source", "queryType", "query")
    source = metric.text("source", required=True)
    if source and source.lower() != "prometheus":
        metric.problem("source", f"got {source!r}; rules can only be made for prometheus")
    metric.choice("queryType", ("promql",))
    text = metric.text("query", required=True)
    found = query(text, metric) if text else None
    if found is not None and not found.has_window:
        metric.problem("query", "has no place for the window; write [{{.window}}]")
        return None
    return None if found is None else found.in_sum()


def _window(spec: Fields) -> TimeWindow | None:
    items = list(spec.items("timeWindows", required=True))
    if len(items) != 1 or items[0][1] is None:
        spec.problem("timeWindows", "expected a list of exactly one time window")
        return None
    fields = items[0][1]
    fields.only("count", "unit", "isRolling")
    unit = fields.choice("unit", tuple(_UNITS), required=True)
    count = fields.number("count", required=True)
    if fields.boolean("isRolling") is False:
        fields.problem("isRolling", "calendar-aligned windows are read from openslo/v1 only")
        return None
    if unit is None or count is None:
        return None
    if count != int(count) or not 0 < count * UNITS[_UNITS[unit]] <= UNITS["Y"] * 10:
        fields.problem("count", f"got {count}, expected a whole number above zero, up to ten years")
        return None
    shorthand = f"{int(count)}{_UNITS[unit]}"
    return TimeWindow(int(count) * UNITS[_UNITS[unit]], shorthand, None)
