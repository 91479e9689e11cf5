"""The requirements model of FOCUS: its rules, and how one stands above another."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from companyos.finops.errors import RuleModelError

__all__ = ("Model", "Rule", "load_model")

SHIPPED = Path(__file__).with_name("model-1.2.json.gz")
"""The official model of FOCUS 1.2; see NOTICE.md beside it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the model."""

    id: str
    """Such as `BilledCost-C-001-M`."""
    text: str
    """What must hold, in the specification's words."""
    keyword: str
    """`MUST`, `SHOULD`, `MAY`, … as in RFC 2119."""
    function: str
    """`Presence`, `Type`, `Format`, `Nullability`, `Validation` or `Composite`."""
    dynamic: bool
    """Whether the model says that data alone cannot tell."""
    criteria: tuple[str, ...]
    """What a provider must support for the rule to apply."""
    requirement: dict[str, Any]
    """The check."""
    condition: dict[str, Any]
    """When it applies; empty for always."""

    @property
    def children(self) -> tuple[str, ...]:
        """The rules that this one is made of."""
        items = self.requirement.get("Items", [self.requirement])
        return tuple(item["ModelRuleId"] for item in items if item.get("CheckFunction") == "CheckModelRule")


class Model:
    """The rules of one version, by id."""

    def __init__(self, version: str, rules: dict[str, Rule]) -> None:
        self.version = version
        """The FOCUS version."""
        self.rules = rules
        """By id, in the model's order."""

    @cached_property
    def parents(self) -> dict[str, tuple[str, ...]]:
        """For each rule those that it is a part of."""
        found: dict[str, list[str]] = {}
        for rule in self.rules.values():
            for child in rule.children:
                found.setdefault(child, []).append(rule.id)
        return {child: tuple(above) for child, above in found.items()}


def load_model(path: Path | None = None) -> Model:
    """The model in `path`, JSON or gzipped JSON, or the one that ships with the package.

    Raises:
        RuleModelError: it cannot be read, or is no such model.
    """
    source = path or SHIPPED
    try:
        content = source.read_bytes()
        data = json.loads(gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content)
        rules = {name: _rule(name, rule) for name, rule in data["ModelRules"].items()}
        return Model(str(data["Details"]["FOCUSVersion"]), rules)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RuleModelError(
            f"cannot read the rules in {source.name}",
            got=f"{type(error).__name__}: {error}",
            expected="a FOCUS requirements model: JSON with Details and ModelRules",
        ) from error


def _rule(name: str, rule: dict[str, Any]) -> Rule:
    criteria = rule["ValidationCriteria"]
    return Rule(
        id=name,
        text=criteria["MustSatisfy"],
        keyword=criteria["Keyword"],
        function=rule["Function"],
        dynamic=rule["Type"] == "Dynamic",
        criteria=tuple(rule["ApplicabilityCriteria"]),
        requirement=criteria["Requirement"],
        condition=criteria["Condition"],
    )
