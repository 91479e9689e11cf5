"""Changes of a request that its policies could notice: the attributes they read, with the constants they name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.authz.derived import CLEARANCES, LOW_SENSITIVITY, MULTI_FACTOR
from companyos.authz.engines._syntax import WILD
from companyos.authz.request import attribute_type, copy_json, request_from_dict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from companyos.authz.engines._syntax import Path, Rule
    from companyos.ports import AccessRequest

__all__ = ("ABSENT", "Change", "Said", "candidates", "changed", "said_by")

ABSENT = object()
"""Stands for an attribute that is not there."""
EXAMPLE = "example"
"""A text where any will do."""
_FIXED = frozenset(
    {
        ("subject", "id"),
        ("subject", "type"),
        ("resource", "id"),
        ("resource", "type"),
        ("resource", "domain"),
        ("resource", "service"),
    }
)
"""Who asks and for what: with another the request would be another one."""
_PLACES = ("eu-west-1", "us-east-1", ABSENT)
_DERIVED: Mapping[Path, tuple[tuple[Path, tuple[Any, ...]], ...]] = {
    ("resource", "in_eea"): ((("resource", "region"), _PLACES), (("resource", "jurisdiction"), _PLACES)),
    ("resource", "jurisdiction"): ((("resource", "region"), _PLACES), (("resource", "jurisdiction"), _PLACES)),
    ("resource", "personal"): (
        (("resource", "contains_pii"), (False, True, ABSENT)),
        (("resource", "classification"), ("public", "personal", ABSENT)),
    ),
    ("resource", "required_clearance"): ((("resource", "required_clearance"), (*CLEARANCES, ABSENT)),),
    ("resource", "high_sensitivity"): ((("resource", "sensitivity"), (min(LOW_SENSITIVITY), "high", ABSENT)),),
    ("destination",): (
        (("resource", "destination_region"), _PLACES),
        (("environment", "destination_region"), _PLACES),
    ),
    ("subject", "clearance"): ((("subject", "attributes", "clearance"), (*CLEARANCES, ABSENT)),),
    ("subject",): ((("subject", "attributes", "region"), _PLACES), (("subject", "region"), _PLACES)),
    ("multi_factor",): ((("environment", "auth_strength"), (min(MULTI_FACTOR), ABSENT)),),
}
"""Which attributes a derived fact rests on, by the beginning of its path, with values that make a difference."""
_ORDER = ("environment", "subject", "resource", "action")


@dataclass(frozen=True, slots=True)
class Change:
    """One attribute with another value."""

    path: Path
    """Where it is, for example `("environment", "auth_strength")`."""
    before: Any
    """What it is; `ABSENT` where it is not there."""
    after: Any
    """What it would be; `ABSENT` where it would be left out."""

    def to_dict(self) -> dict[str, Any]:
        """The change as a JSON object; a value that is not there is left out."""
        values = {"attribute": ".".join(self.path), "from": self.before, "to": self.after}
        return {key: value for key, value in values.items() if value is not ABSENT}


@dataclass(frozen=True, slots=True)
class Said:
    """What one rule of any engine says about requests."""

    paths: Sequence[Path]
    """The attributes that it reads; derived facts begin with `derived`."""
    constants: Sequence[Any]
    """What it may compare them with."""


def said_by(rule: Rule, data: Mapping[str, Any]) -> Said:
    """What a rule in Rego says, with the data that it reads by name."""
    paths = [path[1:] for path in rule.inputs if path[0] == "input" and WILD not in path and len(path) > 1]
    return Said(paths, [*_constants(rule.bodies), *_named(rule, data)])


def candidates(request: AccessRequest, rules: Iterable[Said]) -> list[Change]:
    """The changes worth trying, those of the environment first, for they are the easiest to make."""
    document = request.to_dict()
    found: dict[tuple[Path, str], Change] = {}
    for rule in rules:
        for path, values in _options(rule, document):
            before = _held(document, path)
            for value in values:
                if value is not before and (value != before or type(value) is not type(before)):
                    found.setdefault((path, repr(value)), Change(path, before, value))
    return sorted(found.values(), key=lambda change: _ORDER.index(change.path[0]))


def changed(request: AccessRequest, changes: Iterable[Change]) -> AccessRequest:
    """The request with these changes, checked anew.

    Raises:
        RequestError: such a request would be malformed.
    """
    document: dict[str, Any] = copy_json(request.to_dict())
    for change in changes:
        *way, last = change.path
        held = document
        for part in way:
            held = held.setdefault(part, {})
        if change.after is ABSENT:
            held.pop(last, None)
        else:
            held[last] = change.after
    return request_from_dict(document)


def _options(rule: Said, document: Mapping[str, Any]) -> Iterator[tuple[Path, tuple[Any, ...]]]:
    for path in rule.paths:
        if path[0] == "derived":
            yield from _derived(path[1:])
        elif path[0] in _ORDER and path not in _FIXED and (len(path) > 1 or path == ("action",)):
            others = [_held(document, other) for other in rule.paths if other != path and other[0] != "derived"]
            yield path, tuple(_fitting(path, [*rule.constants, *others]))


def _derived(path: Path) -> Iterator[tuple[Path, tuple[Any, ...]]]:
    for beginning, places in _DERIVED.items():
        if path[: len(beginning)] == beginning:
            yield from places


def _fitting(path: Path, values: Iterable[Any]) -> Iterator[Any]:
    """The values, as the attribute's type wants them."""
    kind = attribute_type(path)
    if path != ("action",):
        yield ABSENT
    if kind is bool:
        yield from (True, False)
    elif kind is list:
        yield from ([value] for value in values if isinstance(value, str))
    else:
        for value in (EXAMPLE, *values) if kind is str and path != ("action",) else values:
            if value is not ABSENT and not isinstance(value, list | dict):
                yield value
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield from (value - 1, value + 1)


def _constants(node: Any) -> Iterator[Any]:
    """The texts, numbers and truth values in a part of the tree."""
    if isinstance(node, list):
        for item in node:
            yield from _constants(item)
    elif isinstance(node, dict):
        for kind, item in node.items():
            if kind in {"String", "RawString", "Number", "Bool"} and isinstance(item, dict) and "value" in item:
                yield item["value"]
            elif kind != "span" and isinstance(item, dict | list):
                yield from _constants(item)


def _named(rule: Rule, data: Mapping[str, Any]) -> Iterator[str]:
    """The texts in the data that the rule reads, and the keys by which it looks something up there."""
    for path in rule.references:
        held: Any = data
        for part in path[1:]:
            if part == WILD or not isinstance(held, dict):
                break
            held = held.get(part)
        if isinstance(held, list | dict):
            yield from (item for item in held if isinstance(item, str))


def _held(document: Mapping[str, Any], path: Path) -> Any:
    held: Any = document
    for part in path:
        if not isinstance(held, dict) or part not in held:
            return ABSENT
        held = held[part]
    return held
