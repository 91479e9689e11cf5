"""SLO, Service and DataSource: OpenSLO v1, sections of the same names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.observability.slo import alerting
from companyos.observability.slo.indicators import Queries, sli
from companyos.observability.slo.metadata import described, header
from companyos.observability.slo.openslo import (
    AlertPolicy,
    BudgetingMethod,
    DataSource,
    Indicator,
    Metadata,
    Objective,
    Place,
    Service,
    Slo,
    ThresholdMetric,
)
from companyos.observability.slo.periods import time_window

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from companyos.observability.slo.fields import Fields

__all__ = ("Known", "data_source", "objective", "service", "slo")

OPERATORS = ("lte", "gte", "lt", "gt")
METHODS = tuple(method.value for method in BudgetingMethod)


@dataclass(frozen=True, slots=True)
class Known:
    """What an SLO may refer to; None for what is there but wrong, and reported already."""

    queries: Queries
    """Reads inline indicators."""
    slis: Mapping[str, Indicator | None]
    """By name."""
    alerting: alerting.Known
    """For inline policies."""
    policies: Mapping[str, AlertPolicy | None]
    """By name."""


def service(top: Fields) -> Service:
    """A Service."""
    spec = top.fields("spec", required=True)
    if spec is not None:
        spec.only("description")
        described(spec)
    return Service(header(top) or Metadata("", "", {}, {}, Place(top.file, top.line)))


def data_source(top: Fields) -> DataSource:
    """A DataSource; its connection details belong to whoever connects, and are not looked at."""
    spec = top.fields("spec", required=True)
    kind = ""
    if spec is not None:
        spec.only("description", "type", "connectionDetails")
        described(spec)
        kind = spec.text("type", required=True)
    return DataSource(header(top) or Metadata("", "", {}, {}, Place(top.file, top.line)), kind)


def slo(top: Fields, known: Known) -> Slo | None:
    """An SLO, or None where something that it cannot do without is missing."""
    metadata = header(top)
    spec = top.fields("spec", required=True)
    if metadata is None or spec is None:
        return None
    spec.only(
        "description",
        "service",
        "indicator",
        "indicatorRef",
        "timeWindow",
        "budgetingMethod",
        "objectives",
        "alertPolicies",
    )
    description = described(spec)
    owner = spec.name("service")
    indicator = _indicator(spec, known)
    window = time_window(spec)
    method = spec.choice("budgetingMethod", METHODS, required=True)
    policies = tuple(_policies(spec, known))
    objectives = tuple(_objectives(spec, method, indicator))
    if not owner or indicator is None or window is None or method is None:
        return None
    _check_slices(spec, objectives, window.seconds)
    return Slo(metadata, description, owner, indicator, window, BudgetingMethod(method), objectives, policies)


def _indicator(spec: Fields, known: Known) -> Indicator | None:
    if ("indicator" in spec) == ("indicatorRef" in spec):
        spec.problem("indicator", "expected an SLI: exactly one of indicator and indicatorRef")
        return None
    inline = spec.fields("indicator")
    if inline is not None:
        inline.only("metadata", "spec")
        return sli(inline, known.queries)
    name = spec.name("indicatorRef")
    if name and name not in known.slis:
        spec.problem("indicatorRef", f"no SLI {name!r} is defined")
    return known.slis.get(name)


def _objectives(spec: Fields, method: str | None, indicator: Indicator | None) -> list[Objective]:
    found = []
    items = list(spec.items("objectives", required=True))
    threshold = indicator is not None and isinstance(indicator.metric, ThresholdMetric)
    if threshold and len(items) > 1:
        spec.problem("objectives", f"got {len(items)}; the specification allows one with a thresholdMetric")
    for node, fields in items:
        if fields is None:
            spec.problem("objectives", "expected a list of mappings", line=node.line)
            continue
        fields.only("displayName", "op", "value", "target", "targetPercent", "timeSliceTarget", "timeSliceWindow")
        held = objective(fields, method or "", threshold=threshold)
        if held is not None:
            found.append(held)
    return found


def objective(fields: Fields, method: str, *, threshold: bool) -> Objective | None:
    """One objective; what it must hold depends on the method, and on whether values are compared."""
    target = _target(fields)
    op = fields.choice("op", OPERATORS, required=threshold)
    value = fields.number("value", required=threshold)
    if not threshold and op in {"lt", "lte"}:
        fields.problem("op", f"got {op}: of good events there cannot be too many; op is for a thresholdMetric")
    sliced = method in {BudgetingMethod.TIMESLICES.value, BudgetingMethod.RATIO_TIMESLICES.value}
    window = fields.duration("timeSliceWindow", required=sliced, minutes=True)
    goal = fields.number("timeSliceTarget", required=method == BudgetingMethod.TIMESLICES.value)
    if goal is not None and not 0 < goal <= 1:
        fields.problem("timeSliceTarget", f"got {goal}, expected a share above 0 and up to 1")
    if target is None:
        return None
    place = Place(fields.file, fields.line)
    shown = fields.text("displayName")
    return Objective(shown, target, op, None if value is None else float(value), goal, window, place)


def _target(fields: Fields) -> Decimal | None:
    if ("target" in fields) == ("targetPercent" in fields):
        fields.problem("target", "expected exactly one of target and targetPercent")
        return None
    percent = "targetPercent" in fields
    key = "targetPercent" if percent else "target"
    given = fields.number(key)
    if given is None:
        return None
    share = given / 100 if percent else given
    if share == 1:
        fields.problem(key, f"got {given}: without an error budget every single error breaks the promise; use less")
    elif not 0 < share < 1:
        hint = "; did you mean targetPercent?" if not percent and 1 < given < 100 else ""
        fields.problem(key, f"got {given}, expected more than 0 and less than {100 if percent else 1}{hint}")
    else:
        return share
    return None


def _policies(spec: Fields, known: Known) -> list[AlertPolicy]:
    found: list[AlertPolicy | None] = []
    for node, fields in spec.items("alertPolicies"):
        if fields is not None and "alertPolicyRef" not in fields:
            fields.only("apiVersion", "kind", "metadata", "spec")
            fields.choice("kind", ("AlertPolicy",), required=True)
            found.append(alerting.policy(fields, known.alerting))
            continue
        if fields is not None:
            fields.only("alertPolicyRef")
        name = node.value if fields is None else fields.name("alertPolicyRef")
        if not isinstance(name, str) or name not in known.policies:
            spec.problem("alertPolicies", f"no AlertPolicy {str(name)[:80]!r} is defined", line=node.line)
        else:
            found.append(known.policies[name])
    return [policy for policy in found if policy is not None]


def _check_slices(spec: Fields, objectives: tuple[Objective, ...], period: int) -> None:
    for objective in objectives:
        if objective.slice_seconds is not None and objective.slice_seconds * 2 > period:
            spec.problem("objectives", "a time slice longer than half of the time window", line=objective.place.line)
