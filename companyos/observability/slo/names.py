"""Which metrics a query reads, and which labels it asks of each: what has to exist for the query to mean anything."""

from __future__ import annotations

from functools import lru_cache

__all__ = ("labels_by_metric", "names_of")

_NAME = "__name__"


@lru_cache(maxsize=4096)
def labels_by_metric(text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Each metric with the labels that its selectors ask for, both sorted.

    Empty where that cannot be told: names that are patterns, and PromQL that is not evaluated here.
    """
    from companyos.observability.slo.simulate.errors import RuleFileError, UnsupportedRuleError
    from companyos.observability.slo.simulate.nodes import Selector, walk
    from companyos.observability.slo.simulate.parser import parse

    try:
        selectors = [node for node in walk(parse(text)) if isinstance(node, Selector)]
    except (RuleFileError, UnsupportedRuleError):
        return ()
    found: dict[str, set[str]] = {}
    for selector in selectors:
        exact = [one.value for one in selector.matchers if one.name == _NAME and one.op == "="]
        name = selector.name or next(iter(exact), "")
        if not name:
            return ()
        found.setdefault(name, set()).update(one.name for one in selector.matchers if one.name != _NAME)
    return tuple((name, tuple(sorted(labels))) for name, labels in sorted(found.items()))


def names_of(text: str) -> frozenset[str]:
    """The metrics that a query reads; none where that cannot be told."""
    return frozenset(name for name, _ in labels_by_metric(text))
