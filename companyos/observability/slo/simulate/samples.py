"""Values that a label may have, so that the selectors of a rule match, or do not."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from companyos.observability.slo.simulate.nodes import Matcher

__all__ = ("candidates",)

_USUAL = ("", "200", "500", "404", "429", "prod", "GET", "ok", "error", "other")
_MOST = 16
"""Alternatives of a regular expression that are tried."""


def candidates(matchers: Iterable[Matcher]) -> list[str]:
    """Values of one label that satisfy its matchers in all ways that were found, the plainest first.

    Among values that no matcher tells apart only one is given.
    """
    matchers = list(matchers)
    pool = [*_USUAL]
    for matcher in matchers:
        pool += [matcher.value] if matcher.pattern is None else _of_pattern(matcher.value)
    if any(matcher.name == "le" for matcher in matchers):
        pool = [value for value in pool if _is_number(value)] + ["+Inf"]
    found: dict[tuple[bool, ...], str] = {}
    for value in pool:
        found.setdefault(tuple(matcher.matches(value) for matcher in matchers), value)
    return list(found.values())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _of_pattern(pattern: str) -> list[str]:
    """Some strings that match a regular expression, from its parse tree."""
    tree = import_module("re._parser").parse(pattern)
    return _of_sequence(list(tree))[:_MOST]


def _of_sequence(items: list[tuple[Any, Any]]) -> list[str]:
    found = [""]
    for item in items:
        found = [head + tail for head in found for tail in _of_item(item)][:_MOST]
    return found


def _of_item(item: tuple[Any, Any]) -> list[str]:
    kind, value = str(item[0]), item[1]
    if kind == "LITERAL":
        return [chr(value)]
    if kind == "BRANCH":
        return [text for branch in value[1] for text in _of_sequence(list(branch))]
    if kind == "SUBPATTERN":
        return _of_sequence(list(value[3]))
    if kind in {"MAX_REPEAT", "MIN_REPEAT"}:
        # More repetitions than any label is long are not tried out.
        least = _of_sequence(list(value[2]) * min(value[0], 64))
        return least if value[0] else [*least, *_of_sequence(list(value[2]))]
    if kind == "IN":
        return _of_set(value)
    # Anything else stands for one character, or for a place without any.
    return [""] if kind == "AT" else ["0", "x"]


def _of_set(members: list[tuple[Any, Any]]) -> list[str]:
    kind, value = str(members[0][0]), members[0][1]
    if kind == "LITERAL":
        return [chr(value)]
    if kind == "RANGE":
        return [chr(value[0])]
    return ["0", "x", "-"]
