"""The mathematics of burn-rate alerts, apart from any evaluator: when an alert must fire, and when it must end.

Let E(t) be the errors up to t, in seconds of full outage, under even traffic. Over a window W the error ratio at t is
(E(t) - E(t - W)) / W. A condition *long and short window above the threshold* holds where that is so for both. For an
error ratio e that begins in a healthy service it first holds after W * threshold / e of the longer window; with the
threshold F * budget and e = B * budget that is W * F / B. It ends after w * (1 - F / B) of the shorter window w, once
the errors are over. Source: Google, The Site Reliability Workbook, chapter 5, "Alerting on SLOs", approaches 5 and 6,
https://sre.google/workbook/alerting-on-slos/.

E is linear between the ends of the phases, so all crossings are solved exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from companyos.observability.slo.simulate._numpy import np
from companyos.observability.slo.simulate.evaluator import Evaluator
from companyos.observability.slo.simulate.nodes import Aggregate, Binary, Node, Selector
from companyos.observability.slo.simulate.parser import kind_of
from companyos.observability.slo.simulate.series import Store
from companyos.observability.slo.simulate.subjects import SLI_PREFIX, window_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.observability.slo.simulate.engine import Placed
    from companyos.observability.slo.simulate.incidents import Stretch
    from companyos.observability.slo.simulate.subjects import Subject

__all__ = ("Breach", "conditions", "requests_needed", "spent", "true_spans")


@dataclass(frozen=True, slots=True)
class Breach:
    """The error ratio over a window is above a threshold."""

    window_seconds: float
    """Of the recorded ratio."""
    threshold: float
    """A share of events: burn-rate factor times budget."""


Conjunction = tuple[Breach, ...]
"""All of them at the same time."""


def conditions(alert: Placed, subject: Subject) -> list[Conjunction] | None:
    """What an alert asks for: it fires while any of these holds. None if it is not a burn-rate alert."""
    return _alternatives(alert.rule.node, subject)


def _alternatives(node: Node, subject: Subject) -> list[Conjunction] | None:
    if isinstance(node, Aggregate) and node.op in {"max", "min", "avg", "sum"}:
        return _alternatives(node.expr, subject)
    if not isinstance(node, Binary):
        return None
    if node.op in {">", ">="} and not node.to_bool:
        breach = _breach(node, subject)
        return None if breach is None else [(breach,)]
    if node.op not in {"and", "or"}:
        return None
    left, right = _alternatives(node.left, subject), _alternatives(node.right, subject)
    if left is None or right is None:
        return None
    return left + right if node.op == "or" else [one + other for one in left for other in right]


def _breach(node: Binary, subject: Subject) -> Breach | None:
    if not isinstance(node.left, Selector) or kind_of(node.right) != "scalar":
        return None
    name = node.left.name
    rule = next((one.rule for one in subject.rules if one.rule.name == name), None)
    if rule is None or not name.startswith(SLI_PREFIX) or not all(each.range_ms for each in rule.selectors):
        return None
    threshold = Evaluator(Store()).vector(node.right, np.zeros(1, np.int64))[0].values[0]
    return Breach(window_ms(rule) / 1000, float(threshold))


def true_spans(alternatives: Sequence[Conjunction], stretches: Sequence[Stretch]) -> list[tuple[float, float]]:
    """When any alternative holds, in seconds since the first stretch began; before and after it nothing fails."""
    edges, errors = _errors(stretches)
    spans: list[tuple[float, float]] = []
    for conjunction in alternatives:
        spans += _spans_of(conjunction, edges, errors)
    merged: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    return merged


def _errors(stretches: Sequence[Stretch]) -> tuple[list[float], list[float]]:
    """E at the ends of the stretches."""
    edges, errors = [0.0], [0.0]
    for stretch in stretches:
        edges.append(edges[-1] + stretch.seconds)
        errors.append(errors[-1] + stretch.seconds * stretch.errors)
    return edges, errors


def spent(stretches: Sequence[Stretch], *, until: float, budget: float, period_seconds: float) -> float:
    """The share of the period's budget that is spent at a time since the beginning, under even traffic."""
    edges, errors = _errors(stretches)
    return float(np.interp(until, edges, errors)) / (budget * period_seconds)


def _spans_of(conjunction: Conjunction, edges: list[float], errors: list[float]) -> list[tuple[float, float]]:
    bends = sorted({edge + shift for edge in edges for shift in (0.0, *(one.window_seconds for one in conjunction))})
    spans: list[tuple[float, float]] = []
    for begin, end in pairwise(bends):
        low, high = begin, end
        for breach in conjunction:
            at_begin, at_end = (_excess(breach, at, edges, errors) for at in (begin, end))
            if at_begin <= 0 and at_end <= 0:
                low = high
            elif (at_begin > 0) != (at_end > 0):
                crossing = begin + (end - begin) * at_begin / (at_begin - at_end)
                low, high = (low, min(high, crossing)) if at_begin > 0 else (max(low, crossing), high)
        if low < high:
            spans.append((low, high))
    return spans


def _excess(breach: Breach, at: float, edges: list[float], errors: list[float]) -> float:
    inside = np.interp(at, edges, errors) - np.interp(at - breach.window_seconds, edges, errors)
    excess = float(inside) / breach.window_seconds - breach.threshold
    # What is equal on paper must not breach by a rest of floating point.
    return 0.0 if abs(excess) < 1e-12 else excess


def requests_needed(alternatives: Sequence[Conjunction]) -> tuple[float, Breach] | None:
    """From how many requests a second on one failed request alone cannot fire an alert; and the window that asks it.

    Of n requests in a window one failure is the ratio 1 / n, which must not exceed the threshold in at least one of the
    windows of each alternative.
    """
    needed = [
        min(((1 / (one.threshold * one.window_seconds), one) for one in conjunction), key=lambda pair: pair[0])
        for conjunction in alternatives
        if all(one.threshold > 0 for one in conjunction)
    ]
    return max(needed, key=lambda pair: pair[0], default=None)
