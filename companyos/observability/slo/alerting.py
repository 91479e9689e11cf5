"""Policies, conditions and targets: OpenSLO v1, sections "AlertPolicy", "AlertCondition", "AlertNotificationTarget"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.observability.slo.metadata import described, header
from companyos.observability.slo.openslo import AlertCondition, AlertNotificationTarget, AlertPolicy, Place

if TYPE_CHECKING:
    from companyos.observability.slo.fields import Fields

__all__ = ("Known", "condition", "policy", "target")

Conditions = Mapping[str, AlertCondition | None]
Targets = Mapping[str, AlertNotificationTarget | None]


@dataclass(frozen=True, slots=True)
class Known:
    """What policies may refer to; None for what is there but wrong, and reported already."""

    conditions: Conditions
    """By name."""
    targets: Targets
    """By name."""


def target(top: Fields) -> AlertNotificationTarget | None:
    """An AlertNotificationTarget."""
    metadata = header(top)
    spec = top.fields("spec", required=True)
    if metadata is None or spec is None:
        return None
    spec.only("target", "description")
    described(spec)
    return AlertNotificationTarget(metadata, spec.text("target", required=True))


def condition(top: Fields) -> AlertCondition | None:
    """An AlertCondition of the kind `burnrate`, the only one there is."""
    metadata = header(top)
    spec = top.fields("spec", required=True)
    if metadata is None or spec is None:
        return None
    spec.only("description", "severity", "condition")
    severity = spec.text("severity", required=True)
    rule = spec.fields("condition", required=True)
    if rule is None:
        return None
    rule.only("kind", "op", "threshold", "lookbackWindow", "alertAfter")
    rule.choice("kind", ("burnrate",))
    op = rule.choice("op", ("gt", "gte"))
    threshold = rule.number("threshold", required=True)
    lookback = rule.duration("lookbackWindow", required=True)
    after = rule.duration("alertAfter", zero=True) or 0
    if threshold is not None and threshold <= 0:
        rule.problem("threshold", f"got {threshold}, expected a burn rate above 0")
    if threshold is None or lookback is None:
        return None
    place = Place(rule.file, rule.line_of("threshold"))
    return AlertCondition(metadata, described(spec), severity, threshold, op == "gte", lookback, after, place)


def policy(top: Fields, known: Known) -> AlertPolicy | None:
    """An AlertPolicy; its condition and targets are inline or referred to."""
    metadata = header(top)
    spec = top.fields("spec", required=True)
    if metadata is None or spec is None:
        return None
    spec.only(
        "description", "alertWhenNoData", "alertWhenResolved", "alertWhenBreaching", "conditions", "notificationTargets"
    )
    described(spec)
    breaching = spec.boolean("alertWhenBreaching")
    no_data = spec.boolean("alertWhenNoData")
    if spec.boolean("alertWhenResolved"):
        spec.warning("alertWhenResolved", "is for Alertmanager: set send_resolved on its receiver")
    if breaching is False and not no_data:
        spec.warning(None, "this policy alerts neither when breaching nor without data")
    targets = _targets(spec, known.targets)
    found = _condition(spec, known.conditions)
    return None if found is None else AlertPolicy(metadata, found, breaching is not False, no_data, targets)


def _condition(spec: Fields, known: Conditions) -> AlertCondition | None:
    items = list(spec.items("conditions", required=True))
    if len(items) > 1:
        spec.problem("conditions", f"got {len(items)}; the specification allows one")
    if not items:
        return None
    node, fields = items[0]
    if fields is None:
        spec.problem("conditions", "expected a mapping with conditionRef or a whole AlertCondition", line=node.line)
        return None
    if "conditionRef" not in fields:
        fields.only("apiVersion", "kind", "metadata", "spec")
        fields.choice("kind", ("AlertCondition",), required=True)
        return condition(fields)
    fields.only("conditionRef")
    name = fields.name("conditionRef")
    if name and name not in known:
        fields.problem("conditionRef", f"no AlertCondition {name!r} is defined")
    return known.get(name)


def _targets(spec: Fields, known: Targets) -> tuple[AlertNotificationTarget, ...]:
    found = []
    for node, fields in spec.items("notificationTargets"):
        if fields is None:
            spec.problem("notificationTargets", "expected a mapping with targetRef, or a whole target", line=node.line)
        elif "targetRef" in fields:
            fields.only("targetRef")
            name = fields.name("targetRef")
            if name and name not in known:
                fields.problem("targetRef", f"no AlertNotificationTarget {name!r} is defined")
            found.append(known.get(name))
        else:
            fields.only("apiVersion", "kind", "metadata", "spec")
            fields.choice("kind", ("AlertNotificationTarget",), required=True)
            found.append(target(fields))
    return tuple(item for item in found if item is not None)
