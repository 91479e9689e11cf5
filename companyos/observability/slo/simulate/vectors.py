"""Operators on vectors, for all evaluation times at once: aggregation, arithmetic, comparison, sets, label matching.

Source: Prometheus 2.42 `promql/engine.go` (`VectorBinop`, `VectorscalarBinop`, `aggregation`) and
https://prometheus.io/docs/prometheus/2.42/querying/operators/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.observability.slo.simulate._numpy import np
from companyos.observability.slo.simulate.parser import COMPARISONS
from companyos.observability.slo.simulate.series import NAME, Labels, Row, keep, labels_of, shown, without

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from companyos.observability.slo.simulate.nodes import Aggregate, Binary
    from companyos.observability.slo.simulate.series import Mask, Values

__all__ = ("ARITHMETIC", "MatchingError", "aggregate", "combined", "scalars", "sets", "unique", "with_scalar")

ARITHMETIC: dict[str, Callable[[Values, Values], Values]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
}
_COMPARE: dict[str, Callable[[Values, Values], Mask]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


class MatchingError(Exception):
    """Label sets do not meet as an operator needs; the evaluator adds the place."""


def unique(rows: Iterable[Row]) -> list[Row]:
    """One row for each label set; two of them at the same time are an error.

    Raises:
        MatchingError: two rows of one label set are present at the same time.
    """
    found: dict[Labels, Row] = {}
    for row in rows:
        other = found.get(row.labels)
        if other is None:
            found[row.labels] = row
            continue
        if (other.present & row.present).any():
            raise MatchingError(f"two elements of the vector have the labels {shown(row.labels)}")
        values = np.where(row.present, row.values, other.values)
        found[row.labels] = Row(row.labels, values, other.present | row.present)
    return [row for row in found.values() if row.present.any()]


def aggregate(node: Aggregate, rows: list[Row]) -> list[Row]:
    """`sum`, `avg`, `min`, `max`, `count` or `group` of rows, by what is left of their labels."""
    groups: dict[Labels, list[Row]] = {}
    for row in rows:
        key = without(row.labels, {*node.labels, NAME}) if node.without else keep(row.labels, node.labels)
        groups.setdefault(key, []).append(row)
    return [Row(key, *_aggregated(node.op, members)) for key, members in groups.items()]


def _aggregated(op: str, members: list[Row]) -> tuple[Values, Mask]:
    present = np.array([row.present for row in members])
    values = np.array([row.values for row in members])
    number = present.sum(axis=0)
    there = number > 0
    with np.errstate(all="ignore"):
        if op in {"min", "max"}:
            # A NaN counts only where there is nothing else.
            kept = np.where(present, values, np.nan)
            return (np.fmin if op == "min" else np.fmax).reduce(kept, axis=0), there
        if op == "count":
            return number.astype(np.float64), there
        if op == "group":
            return np.ones(len(number)), there
        total = np.where(present, values, 0.0).sum(axis=0)
        return (total if op == "sum" else total / np.maximum(number, 1)), there


def scalars(op: str, left: Values, right: Values) -> Values:
    """An operator between scalars; a comparison gives 0 or 1."""
    with np.errstate(all="ignore"):
        if op in COMPARISONS:
            return _COMPARE[op](left, right).astype(np.float64)
        return ARITHMETIC[op](left, right)


def with_scalar(node: Binary, rows: list[Row], scalar: Values, *, scalar_first: bool) -> list[Row]:
    """An operator between a vector and a scalar."""
    found = []
    for row in rows:
        left, right = (scalar, row.values) if scalar_first else (row.values, scalar)
        found.append(_result(node, row.labels, left, right, row.present, kept=row.values))
    return unique(found)


def _result(node: Binary, labels: Labels, left: Values, right: Values, present: Mask, *, kept: Values) -> Row:
    """One element of the result; a comparison that filters keeps `kept` and the name."""
    if node.op in COMPARISONS and not node.to_bool:
        with np.errstate(invalid="ignore"):
            return Row(labels, kept, present & _COMPARE[node.op](left, right))
    return Row(without(labels, (NAME,)), scalars(node.op, left, right), present)


def _key(node: Binary, labels: Labels) -> Labels:
    return keep(labels, node.labels) if node.on else without(labels, {*node.labels, NAME})


def sets(node: Binary, left: list[Row], right: list[Row]) -> list[Row]:
    """`and`, `or` and `unless`, many to many."""
    if node.op == "or":
        there = _presence(node, left)
        added = [_restricted(row, there.get(_key(node, row.labels)), want=False) for row in right]
        return unique([*left, *added])
    there = _presence(node, right)
    return [_restricted(row, there.get(_key(node, row.labels)), want=node.op == "and") for row in left]


def _presence(node: Binary, rows: list[Row]) -> dict[Labels, Mask]:
    found: dict[Labels, Mask] = {}
    for row in rows:
        key = _key(node, row.labels)
        found[key] = found[key] | row.present if key in found else row.present
    return found


def _restricted(row: Row, mask: Mask | None, *, want: bool) -> Row:
    if mask is None:
        return Row(row.labels, row.values, np.zeros_like(row.present)) if want else row
    return Row(row.labels, row.values, row.present & (mask if want else ~mask))


def combined(node: Binary, left: list[Row], right: list[Row]) -> list[Row]:
    """Arithmetic or comparison between two vectors, one to one or many to one.

    Raises:
        MatchingError: the side of one has two elements for a group, or two results the same labels.
    """
    swapped = node.group == "right"
    many, one = (right, left) if swapped else (left, right)
    both = _any(many) & _any(one)
    partners = _partners(node, one, both)
    found, groups = [], []
    for row in many:
        for partner in partners.get(_key(node, row.labels), ()):
            sides = (partner, row) if swapped else (row, partner)
            labels = _matched_labels(node, row.labels, partner.labels)
            values = (sides[0].values, sides[1].values)
            result = _result(node, labels, *values, row.present & partner.present, kept=values[0])
            found.append(result)
            groups.append(_key(node, row.labels))
    if not node.group:
        _judge_one_to_one(found, groups)
    return unique(found)


def _any(rows: list[Row]) -> Mask:
    return np.any([row.present for row in rows], axis=0) if rows else np.zeros(1, dtype=np.bool_)


def _partners(node: Binary, one: list[Row], both: Mask) -> dict[Labels, list[Row]]:
    found: dict[Labels, list[Row]] = {}
    for row in one:
        key = _key(node, row.labels)
        for other in found.get(key, ()):
            # Prometheus looks only where both sides have something.
            if (other.present & row.present & both).any():
                raise MatchingError(f"many-to-many matching: two elements on the side of one for {shown(key)}")
        found.setdefault(key, []).append(row)
    return found


def _judge_one_to_one(found: list[Row], groups: list[Labels]) -> None:
    seen: dict[Labels, Mask] = {}
    for row, key in zip(found, groups, strict=True):
        if key in seen and (seen[key] & row.present).any():
            raise MatchingError(f"many-to-one matching must be explicit (group_left or group_right), for {shown(key)}")
        seen[key] = seen[key] | row.present if key in seen else row.present


def _matched_labels(node: Binary, many: Labels, one: Labels) -> Labels:
    labels = many if node.op in COMPARISONS else without(many, (NAME,))
    if not node.group:
        labels = keep(labels, node.labels) if node.on else without(labels, node.labels)
    taken = dict(one)
    return labels_of(dict(labels) | {name: taken.get(name, "") for name in node.include})
