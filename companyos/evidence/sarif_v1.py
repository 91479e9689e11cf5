"""Levels of SARIF 2.1.0 results, for version 1 of the figures. It never changes, as `figures_v1` does not.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/ sections 3.27.9 (kind), 3.27.10 (level), 3.52 (which rule).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

__all__ = ("count_results",)

_LEVELS = ("error", "warning", "note", "none")
_FOUND = ("fail", "open", "review", "informational")
_NOT_FOUND = ("pass", "notApplicable")


def count_results(run: dict[str, Any]) -> Counter[str]:
    """How many findings of each level a run has; results that say `pass` or `notApplicable` are no findings.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: it is not a run.
    """
    count: Counter[str] = Counter()
    for result in run["results"]:
        kind = result.get("kind", "fail")
        level = _level(run, result, kind)
        if kind not in _FOUND + _NOT_FOUND or level not in _LEVELS:
            raise ValueError(f"result of the kind {kind!r} and the level {level!r}")
        if kind != "fail" and level != "none":
            raise ValueError(f"result of the kind {kind!r} has the level {level!r}, which only a failure can have")
        if kind in _FOUND:
            count[level] += 1
    return count


def _level(run: dict[str, Any], result: dict[str, Any], kind: Any) -> Any:
    if "level" in result:
        return result["level"]
    if kind != "fail":
        return "none"
    rule = _rule(run, _reference(result))
    return "warning" if rule is None else _configured(run, result, rule)


def _reference(result: dict[str, Any]) -> dict[str, Any]:
    """Which rule a result names: `ruleId` and `ruleIndex` are short for `rule.id` and `rule.index`."""
    named = dict(result.get("rule", {}))
    for short, long in (("ruleId", "id"), ("ruleIndex", "index")):
        if short in result:
            named.setdefault(long, result[short])
    return named


def _configured(run: dict[str, Any], result: dict[str, Any], rule: dict[str, Any]) -> Any:
    index = result.get("provenance", {}).get("invocationIndex", -1)
    invocation = run["invocations"][index] if index >= 0 else {}
    for override in invocation.get("ruleConfigurationOverrides", ()):
        if _rule(run, override["descriptor"]) is rule and "level" in override["configuration"]:
            return override["configuration"]["level"]
    return rule.get("defaultConfiguration", {}).get("level", "warning")


def _rule(run: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any] | None:
    rules: list[dict[str, Any]] = _component(run, reference.get("toolComponent", {})).get("rules", [])
    index: int = reference.get("index", -1)
    if index < -1:
        raise ValueError(f"rule index {index}")
    if index >= 0:
        return rules[index]
    if "guid" in reference:
        return _only([rule for rule in rules if rule.get("guid") == reference["guid"]])
    name: str = reference.get("id", "")
    while name:
        found = _only([rule for rule in rules if rule["id"] == name])
        if found is not None:
            return found
        name = name.rpartition("/")[0]  # section 3.27.5: an id may add components to that of its rule
    return None


def _component(run: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    tool = run.get("tool", {})
    index = reference.get("index", -1)
    if index >= 0:
        extension: dict[str, Any] = tool["extensions"][index]
        return extension
    wanted = {key: reference[key] for key in ("guid", "name") if key in reference}
    candidates = [tool.get("driver", {}), *tool.get("extensions", [])]
    fitting: list[dict[str, Any]] = [one for one in candidates if wanted.items() <= one.items()]
    return fitting[0]


def _only(rules: list[dict[str, Any]]) -> dict[str, Any] | None:
    return rules[0] if rules else None
