"""Prometheus rule files as value objects, and their text: prometheus.io/docs/prometheus/latest/configuration/."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from companyos.observability.slo.errors import Problem

__all__ = ("Group", "Rule", "Rules")

HEADER = """\
# Rules for Prometheus, compiled from OpenSLO by `companyos slo compile`. Do not edit: compile again.
# source: {digest}
"""


@dataclass(frozen=True, slots=True)
class Rule:
    """A recording rule, or an alerting rule where `alert` is set."""

    name: str
    """Of the recorded series, or of the alert."""
    expr: str
    """PromQL, possibly of several lines."""
    labels: Mapping[str, str]
    """Added to the result, in the order in which they are written."""
    alert: bool = False
    """Whether it alerts."""
    after: str | None = None
    """`for` of an alert, in Prometheus's notation."""
    annotations: Mapping[str, str] | None = None
    """Of an alert; templates of Prometheus."""

    def to_dict(self) -> dict[str, Any]:
        """The rule as it stands in a rule file."""
        held: dict[str, Any] = {"alert" if self.alert else "record": self.name, "expr": self.expr}
        if self.after is not None:
            held["for"] = self.after
        held["labels"] = dict(self.labels)
        if self.annotations is not None:
            held["annotations"] = dict(self.annotations)
        return held


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that Prometheus evaluates one after the other."""

    name: str
    """Unique in the file."""
    rules: tuple[Rule, ...]
    """In the order of evaluation."""
    interval: str | None = None
    """How often; the Prometheus's own `evaluation_interval` where None."""

    def to_dict(self) -> dict[str, Any]:
        """The group as it stands in a rule file."""
        held: dict[str, Any] = {"name": self.name}
        if self.interval is not None:
            held["interval"] = self.interval
        return held | {"rules": [rule.to_dict() for rule in self.rules]}


@dataclass(frozen=True, slots=True)
class Rules:
    """What was compiled."""

    groups: tuple[Group, ...]
    """Sorted by name."""
    warnings: tuple[Problem, ...]
    """What its author should know, those of the reader included."""
    digest: str
    """Of the files it was compiled from."""
    slo_ids: tuple[str, ...]
    """One for each objective, sorted."""

    def to_dict(self) -> dict[str, Any]:
        """The content of the rule file."""
        return {"groups": [group.to_dict() for group in self.groups]}

    def to_yaml(self) -> str:
        """The rule file; the same input gives the same bytes, whatever the order of the files."""
        # Written by hand: a general dumper spends most of its time on finding out which style fits each text.
        return "".join((HEADER.format(digest=self.digest), "groups:\n", *map(_group, self.groups)))


def _group(group: Group) -> str:
    interval = "" if group.interval is None else f"    interval: {group.interval}\n"
    return f"  - name: {_text(group.name)}\n{interval}    rules:\n{''.join(map(_rule, group.rules))}"


def _rule(rule: Rule) -> str:
    return "".join(_lines(rule))


def _lines(rule: Rule) -> Iterator[str]:
    yield f"      - {'alert' if rule.alert else 'record'}: {rule.name}\n"
    if "\n" in rule.expr:
        body = rule.expr.replace("\n", "\n          ")
        yield f"        expr: |-\n          {body}\n"
    else:
        yield f"        expr: {_text(rule.expr)}\n"
    if rule.after is not None:
        yield f"        for: {rule.after}\n"
    yield _pairs("labels", rule.labels)
    if rule.annotations is not None:
        yield _pairs("annotations", rule.annotations)


def _pairs(name: str, held: Mapping[str, str]) -> str:
    lines = [f"          {key}: {_text(value)}\n" for key, value in held.items()]
    return f"        {name}:\n{''.join(lines)}"


@lru_cache(maxsize=4096)
def _text(value: str) -> str:
    # A string of JSON is one of YAML; the reader has refused the characters for which that does not hold.
    return json.dumps(value, ensure_ascii=False)
