"""Prometheus rule files, read as Prometheus reads them.

Source: https://prometheus.io/docs/prometheus/2.42/configuration/recording_rules/ and .../alerting_rules/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from companyos._yaml import StrictLoader
from companyos.observability.slo.simulate.errors import RuleFileError, UnsupportedRuleError
from companyos.observability.slo.simulate.lexer import duration_ms
from companyos.observability.slo.simulate.nodes import Selector, walk
from companyos.observability.slo.simulate.parser import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from companyos.observability.slo.simulate.nodes import Node

__all__ = ("DEFAULT_INTERVAL_MS", "Rule", "RuleGroup", "read_rules")

DEFAULT_INTERVAL_MS = 60_000
"""Of a group without one: the default of `global.evaluation_interval`."""
_GROUP_KEYS = frozenset({"name", "interval", "limit", "rules"})
_RULE_KEYS = frozenset({"record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"})
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


@dataclass(frozen=True, slots=True)
class Rule:
    """A recording rule or an alerting rule."""

    name: str
    """What it records, or of the alert."""
    alerts: bool
    """Whether it is an alerting rule."""
    text: str
    """The expression as written."""
    node: Node
    """The expression as read."""
    selectors: tuple[Selector, ...]
    """What the expression reads."""
    labels: Mapping[str, str]
    """What the rule adds."""
    annotations: Mapping[str, str]
    """Of an alert, as written, templates and all."""
    for_ms: int
    """How long the condition must hold before an alert fires."""
    keep_firing_ms: int
    """How long an alert goes on firing after its condition ended."""
    place: str
    """File, line, group and name, for errors."""


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Rules that are evaluated together, in order."""

    name: str
    """Unique within a file."""
    interval_ms: int
    """Between evaluations."""
    rules: tuple[Rule, ...]
    """In order."""


def read_rules(text: str, *, name: str) -> tuple[RuleGroup, ...]:
    """The groups of a rule file, in the order of the file; `name` begins the text of every error.

    Raises:
        RuleFileError: it is not a rule file that Prometheus would load.
        UnsupportedRuleError: a rule is outside of what the simulator evaluates.
    """
    loader = StrictLoader(text)
    try:
        root = loader.get_single_node()
        document = None if root is None else loader.construct_document(root)
    except (yaml.YAMLError, ValueError) as error:
        raise RuleFileError(
            f"{name}: not YAML that is read here", got=error, hint="mend it at the place named"
        ) from error
    finally:
        loader.dispose()
    if not isinstance(document, dict) or not isinstance(document.get("groups"), list):
        raise RuleFileError(f"{name}: no list `groups`", got=document, expected="a Prometheus rule file")
    lines = _lines(root)
    groups = tuple(_group(value, name, lines.get(number, [])) for number, value in enumerate(document["groups"]))
    names = [group.name for group in groups]
    for each in names:
        if names.count(each) > 1:
            raise RuleFileError(f"{name}: the group name {each!r} is repeated", expected="each name once in a file")
    return groups


def _lines(root: yaml.Node | None) -> dict[int, list[int]]:
    """The line of each rule, by the number of its group."""
    found: dict[int, list[int]] = {}
    groups = _child(root, "groups")
    for number, group in enumerate(groups.value if isinstance(groups, yaml.SequenceNode) else ()):
        rules = _child(group, "rules")
        if isinstance(rules, yaml.SequenceNode):
            found[number] = [rule.start_mark.line + 1 for rule in rules.value]
    return found


def _child(node: yaml.Node | None, name: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if key.value == name), None)


def _group(value: Any, file: str, lines: Sequence[int]) -> RuleGroup:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise RuleFileError(f"{file}: a group without a name", got=value, expected="name, rules")
    place = f"{file}: group {value['name']}"
    _known(value, _GROUP_KEYS, place)
    if value.get("limit"):
        raise UnsupportedRuleError(f"{place}: `limit` is not simulated", hint="leave it out for the simulation")
    rules = value.get("rules")
    if not isinstance(rules, list):
        raise RuleFileError(f"{place}: no list `rules`", got=rules)
    interval = _duration(value, "interval", place)
    return RuleGroup(
        value["name"],
        interval or DEFAULT_INTERVAL_MS,
        tuple(_rule(rule, file, value["name"], line) for rule, line in zip(rules, lines, strict=True)),
    )


def _rule(value: Any, file: str, group: str, line: int) -> Rule:
    place = f"{file}:{line}: group {group}"
    if not isinstance(value, dict):
        raise RuleFileError(f"{place}: a rule is not a mapping", got=value, expected="record or alert, and expr")
    _known(value, _RULE_KEYS, place)
    alerts = "alert" in value
    if alerts == ("record" in value):
        raise RuleFileError(
            f"{place}: a rule with both or none of `record` and `alert`", got=", ".join(map(str, value))
        )
    name = value["alert"] if alerts else value["record"]
    if not isinstance(name, str) or not name or not (alerts or _METRIC.fullmatch(name)):
        raise RuleFileError(f"{place}: not a name", got=name, expected="the name of an alert or of a metric")
    place += f", {'alert' if alerts else 'record'} {name}"
    if not alerts and {"for", "keep_firing_for", "annotations"} & set(value):
        raise RuleFileError(f"{place}: `for`, `keep_firing_for` and `annotations` belong to alerts")
    text = str(value.get("expr", ""))
    node = parse(text, place=place)
    return Rule(
        name,
        alerts,
        text,
        node,
        tuple(each for each in walk(node) if isinstance(each, Selector)),
        _labels(value, place, alerts=alerts),
        _texts(value, "annotations", place),
        _duration(value, "for", place),
        _duration(value, "keep_firing_for", place),
        place,
    )


def _known(value: Mapping[Any, Any], keys: frozenset[str], place: str) -> None:
    for key in value:
        if key not in keys:
            raise RuleFileError(f"{place}: unknown field", got=key, expected=", ".join(sorted(keys)))


def _duration(value: Mapping[str, Any], field: str, place: str) -> int:
    given = value.get(field)
    if given is None or str(given) == "0":
        return 0
    found = duration_ms(str(given))
    if found is None:
        raise RuleFileError(f"{place}: `{field}` is not a duration", got=given, expected="such as 5m or 1h30m")
    return found


def _texts(value: Mapping[str, Any], field: str, place: str) -> dict[str, str]:
    given = value.get(field) or {}
    if not isinstance(given, dict) or not all(isinstance(text, str) for text in given.values()):
        raise RuleFileError(f"{place}: `{field}` is not a mapping to strings", got=given, hint="quote the values")
    return {str(key): text for key, text in given.items()}


def _labels(value: Mapping[str, Any], place: str, *, alerts: bool) -> dict[str, str]:
    labels = _texts(value, "labels", place)
    for name in labels:
        if not _LABEL.fullmatch(name) or name == "__name__":
            raise RuleFileError(f"{place}: not the name of a label", got=name)
    if alerts and any("{{" in text for text in labels.values()):
        raise UnsupportedRuleError(
            f"{place}: a label that is a template is not simulated", got=labels, hint="templates belong in annotations"
        )
    return labels
