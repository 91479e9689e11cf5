"""OpenSLO in, recording and alerting rules of Prometheus out.

The names of the recorded series are those that Sloth made common (https://sloth.dev); labels begin with `slo_`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from companyos.observability.slo.alertrules import burn_rules, doubt_rules, no_data_rules
from companyos.observability.slo.compiled import Compiled, Found, compiled, objectives, percent
from companyos.observability.slo.durations import DAY, notation
from companyos.observability.slo.errors import Problem, SloError
from companyos.observability.slo.expressions import RATIO
from companyos.observability.slo.promql import number
from companyos.observability.slo.ruleset import Group, Rule, Rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from companyos.observability.slo.openslo import Documents

__all__ = ("Compiled", "compile_rules", "objectives", "percent")

_RESERVED = re.compile(r"slo_.*|severity|alertname|__.*")
_NOT_A_LABEL = re.compile(r"[^a-zA-Z0-9_]")


def compile_rules(documents: Documents) -> Rules:
    """Compile what was read; the same documents give the same rules.

    Raises:
        SloError: two objectives of the same identity, an alert that could never fire, a label that is taken.
    """
    found = Found(warnings=list(documents.warnings))
    items = compiled(documents, found)
    groups = [group for item in items for group in _groups(item, found)]
    if found.problems:
        raise SloError(found.problems)
    groups.sort(key=lambda group: group.name)
    ids = tuple(sorted(item.slo_id for item in items))
    return Rules(tuple(groups), tuple(sorted(set(found.warnings))), documents.digest, ids)


def _groups(item: Compiled, found: Found) -> Iterator[Group]:
    sliced = item.measure.slice_record()
    if sliced is not None:
        name, expr = sliced
        yield Group(
            f"slo-{item.slo_id}-slices", (Rule(name, expr, item.identity),), notation(item.measure.slice_seconds)
        )
    extra = _extra_labels(item, found)
    alerts = (*burn_rules(item, extra), *no_data_rules(item, extra), *doubt_rules(item, extra))
    rules = (*_ratios(item), *_meta(item, extra), *alerts)
    yield Group(f"slo-{item.slo_id}", rules)


def _ratios(item: Compiled) -> Iterator[Rule]:
    for name, expr in item.measure.records():
        yield Rule(name, expr, item.identity)
    for size in item.windows:
        window = notation(size)
        labels = item.identity | {"slo_window": window}
        yield Rule(f"{RATIO}{window}", item.measure.error_ratio(window), labels)
    period = notation(item.slo.window.seconds)
    labels = item.identity | {"slo_window": period}
    yield Rule(f"{RATIO}{period}", item.measure.period_error_ratio(period), labels)


def _meta(item: Compiled, extra: Mapping[str, str]) -> Iterator[Rule]:
    identity, selector = item.identity, item.selector
    over_budget = f"/ on (slo_id, slo_service, slo_name) group_left ()\nslo:error_budget:ratio{selector}"
    yield Rule("slo:objective:ratio", f"vector({number(item.objective.target)})", identity)
    yield Rule("slo:error_budget:ratio", f"vector({number(item.budget)})", identity)
    yield Rule("slo:time_period:days", f"vector({number(item.slo.window.seconds / DAY)})", identity)
    now, period = notation(item.base_seconds), notation(item.slo.window.seconds)
    yield Rule("slo:current_burn_rate:ratio", f"{RATIO}{now}{selector}\n{over_budget}", identity)
    yield Rule("slo:period_burn_rate:ratio", f"{RATIO}{period}{selector}\n{over_budget}", identity)
    yield Rule("slo:period_error_budget_remaining:ratio", f"1 - slo:period_burn_rate:ratio{selector}", identity)
    about = {
        "slo_objective": percent(item.objective),
        "slo_method": item.slo.method.value,
        "slo_period": period,
        "slo_display_name": item.slo.metadata.display_name,
    }
    if item.slo.window.calendar is not None:
        about["slo_calendar"] = item.slo.window.shorthand
    yield Rule("companyos_slo_info", "vector(1)", {**identity, **about, **extra})


def _extra_labels(item: Compiled, found: Found) -> dict[str, str]:
    metadata = item.slo.metadata
    labels = {}
    for key, value in metadata.labels.items():
        name = _NOT_A_LABEL.sub("_", key)
        name = f"_{name}" if name[:1].isdigit() else name
        if not name or _RESERVED.fullmatch(name) or name in labels:
            what = f"becomes the label {name!r} of alerts, which is taken; use another name"
            found.problems.append(Problem(metadata.place.file, metadata.place.line, f"metadata.labels.{key}", what))
        labels[name] = value
    return labels
