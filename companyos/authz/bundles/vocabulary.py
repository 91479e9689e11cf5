"""What two policy sets talk about: the constants and the paths into the request that occur in their syntax trees."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from companyos.authz.engines._cedar_policies import policy_tree
from companyos.authz.engines._cedar_terms import comparisons, terms
from companyos.authz.engines._cedar_text import statements
from companyos.authz.engines._regorus import prepare
from companyos.authz.engines.embedded import SUFFIXES
from companyos.authz.request import attribute_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ("Vocabulary", "read_vocabulary")

_MAX_CONSTANTS = 400
_MAX_TEXT = 200
_MAX_BODIES = 2000
_MAX_VARIANTS = 27
_MAX_MARK = 3
_OF_TYPE: dict[Any, Any] = {bool: True, dict: {}, list: ["x"]}
_KNOWN: dict[tuple[str, ...], tuple[Any, ...]] = {
    ("subject", "id"): ("u-1", "u-2"),
    ("subject", "type"): ("user", "service"),
    ("subject", "status"): ("active", "suspended"),
    ("subject", "org_id"): ("acme", "other"),
    ("subject", "attributes", "roles"): ([], ["editor"], ["admin"]),
    ("subject", "attributes", "clearance"): ("none", "low", "medium", "high", "top"),
    ("subject", "attributes", "region"): ("eu", "us"),
    ("resource", "id"): ("r-1",),
    ("resource", "type"): ("document", "table"),
    ("resource", "owner"): ("u-1", "u-2"),
    ("resource", "org_id"): ("acme", "other"),
    ("resource", "region"): ("eu-central-1", "us-east-1", "nowhere"),
    ("resource", "destination_region"): ("eu-central-1", "us-east-1"),
    ("resource", "contains_pii"): (True, False),
    ("resource", "classification"): ("public", "internal", "personal"),
    ("resource", "sensitivity"): ("low", "high"),
    ("resource", "required_clearance"): ("none", "low", "medium", "high", "top"),
    ("resource", "masked_fields"): (["iban"],),
    ("environment", "approval_ticket"): ("CHG-1",),
    ("environment", "auth_strength"): ("password", "mfa"),
    ("environment", "device_trust"): ("managed", "unknown"),
}
"""What the built-in facts are derived of: tried wherever a policy reads `input.derived`, and with the playbook."""
_ACTIONS = ("read", "write", "delete", "export", "transfer")
_PARTS = ("subject", "resource", "environment")


@dataclass(slots=True)
class Vocabulary:
    """Values to make requests of."""

    actions: list[str] = field(default_factory=list)
    """Actions to ask for."""
    values: dict[tuple[str, ...], list[Any]] = field(default_factory=dict)
    """Values by the path in a request; a path may also be left out."""
    bodies: list[list[tuple[tuple[str, ...], Any]]] = field(default_factory=list)
    """Paths with values that stand together in the body of one rule, and may make it hold together."""
    reads: list[tuple[str, ...]] = field(default_factory=list)
    """Paths in a request that the policies themselves read, the action left out."""
    fields: list[str] = field(default_factory=list)
    """Names that they read of anything, so perhaps of the items of a list."""
    marks: list[str] = field(default_factory=list)
    """Their shortest constants that are no words: what texts may be split by."""


def read_vocabulary(*policies: tuple[Mapping[str, str], Mapping[str, Any]]) -> Vocabulary:
    """The vocabulary of policy sets, each as sources and data: the same for the same sets, in a fixed order."""
    constants: dict[str, Any] = {}
    reads: set[tuple[str, ...]] = set()
    names: set[str] = set()
    near: dict[tuple[str, ...], dict[str, Any]] = {}
    bodies: dict[str, list[tuple[tuple[str, ...], Any]]] = {}
    for sources, data in policies:
        trees = list(_trees(sources))
        for tree in trees:
            spoken = terms(tree)
            named = (value for constant in spoken.constants for value in _with_neighbours(constant))
            constants.update((json.dumps(value), value) for value in named)
            reads.update(path for path in spoken.paths if path[0] != "derived")
            _compared_in_cedar(tree, near, bodies)
        for module in () if trees else json.loads(prepare(sources, data).get_ast_as_json()):
            for constant in _constants(module["ast"]["rules"]):
                constants[json.dumps(constant)] = constant
            reads.update(_paths(module["ast"]["rules"]))
            names.update(_fields(module["ast"]["rules"]))
            _compared(module["ast"]["rules"], near)
            bodies.update((json.dumps(body), body) for body in _bodies(module["ast"]["rules"]))
        for constant in _leaves(data):
            constants[json.dumps(constant)] = constant
    vocabulary = _vocabulary([constants[key] for key in sorted(constants)][:_MAX_CONSTANTS], reads | set(_KNOWN), near)
    vocabulary.bodies = list(bodies.values())[:_MAX_BODIES]
    vocabulary.reads = sorted(path for path in reads if path[0] in _PARTS)
    vocabulary.fields = sorted(names)
    vocabulary.marks = sorted(filter(_is_mark, constants.values()), key=lambda text: (len(text), text))
    return vocabulary


def _is_mark(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_MARK and not any(map(str.isalnum, value))


def _trees(sources: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """The policies in Cedar's JSON form; none if there are none in Cedar."""
    for name, text in sources.items():
        if name.endswith(SUFFIXES["cedar"]):
            yield from (policy_tree(statement) for statement in statements(name, text))


def _compared_in_cedar(
    tree: Mapping[str, Any],
    near: dict[tuple[str, ...], dict[str, Any]],
    bodies: dict[str, list[tuple[tuple[str, ...], Any]]],
) -> None:
    """What a policy compares with what: the likeliest values, alone and together."""
    compared = comparisons(tree)
    for path, values in compared:
        near.setdefault(path, {}).update({json.dumps(value): value for item in values for value in _around(item)})
    choices = [[(path, value) for value in values] for path, values in compared if path[0] != "derived"]
    for combination in itertools.islice(itertools.product(*choices), _MAX_VARIANTS if choices else 0):
        bodies[json.dumps(combination)] = list(combination)


def _around(value: Any) -> Iterator[Any]:
    yield from (value,) if isinstance(value, list) else _with_neighbours(value)


def _vocabulary(
    constants: list[Any], paths: set[tuple[str, ...]], near: Mapping[tuple[str, ...], Mapping[str, Any]]
) -> Vocabulary:
    candidates = [*near.get(("action",), {}).values(), *_ACTIONS, *constants]
    words = [value for value in _distinct(candidates) if isinstance(value, str) and value and value.casefold() == value]
    vocabulary = Vocabulary(words)
    for path in sorted(paths):
        if path[0] not in _PARTS or len(path) < 2:
            continue
        compared = list(near.get(path, {}).values())
        known = _KNOWN.get(path, ())
        extra = constants if not known else [value for value in constants if type(value) in set(map(type, known))]
        lists = [[value] for value in constants if isinstance(value, str)] if path[-1] == "roles" else []
        free = [] if known else [True, False, "x", 1]
        vocabulary.values[path] = _distinct([*compared, *known, *lists, *free, *extra])
    return vocabulary


def _distinct(values: list[Any]) -> list[Any]:
    return list({json.dumps(value): value for value in values}.values())


def _constants(node: Any) -> Iterator[Any]:
    """Every constant in a tree, and beside a number its neighbours, so that limits are crossed."""
    if isinstance(node, list):
        for item in node:
            yield from _constants(item)
    elif isinstance(node, dict):
        for kind, item in node.items():
            found = _constant(kind, item)
            if isinstance(found, str | int | float):
                yield from _with_neighbours(found)
            yield from _constants(item)


def _constant(kind: str, item: Any) -> Any:
    """The value of a constant's node; None for any other node."""
    if kind in {"String", "RawString"} and isinstance(item, dict) and isinstance(item.get("value"), str):
        return item["value"] if 0 < len(item["value"]) <= _MAX_TEXT else None
    if kind == "Number" and isinstance(item, dict):
        try:
            number = json.loads(str(item.get("value")))
        except ValueError:
            return None
        return number if isinstance(number, int | float) and abs(number) < 1 << 52 else None
    return None


def _with_neighbours(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield from (value - 1, value + 1)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from (key, *_leaves(item))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield value


def _paths(node: Any) -> Iterator[tuple[str, ...]]:
    """Paths below `input` that a policy reads."""
    if isinstance(node, list):
        for item in node:
            yield from _paths(item)
    elif isinstance(node, dict):
        path = _path(node)
        if path and path[0] == "input" and len(path) > 2:
            yield path[1:]
        for item in node.values():
            yield from _paths(item)


def _fields(node: Any) -> Iterator[str]:
    """Names that are read with a dot of whatever it is."""
    if isinstance(node, list):
        for item in node:
            yield from _fields(item)
    elif isinstance(node, dict):
        if "RefDot" in node and _path(node)[:1] not in {("input",), ("data",)}:
            yield _name(node["RefDot"])
        for item in node.values():
            yield from _fields(item)


def _name(reference: Any) -> str:
    name = reference["field"]
    return str(name[1] if isinstance(name, list) else name)


def _path(node: Any) -> tuple[str, ...]:
    """The path of a reference as far as it is written out; empty if it is none."""
    if not isinstance(node, dict) or len(node) != 1:
        return ()
    ((kind, body),) = node.items()
    if kind == "Var":
        return (str(body["value"]),)
    if kind == "RefDot" and (head := _path(body["refr"])):
        return (*head, _name(body))
    if kind == "RefBrack" and (head := _path(body["refr"])) and "String" in body["index"]:
        return (*head, str(body["index"]["String"]["value"]))
    return ()


def _compared(node: Any, near: dict[tuple[str, ...], dict[str, Any]]) -> None:
    """Collect the constants that stand in one expression with a path: the likeliest to matter for it."""
    if isinstance(node, list):
        for item in node:
            _compared(item, near)
    elif isinstance(node, dict):
        literal = node.get("literal")
        if isinstance(literal, dict):
            constants = list(_constants(literal))
            for path in {path[1:] for path in _all_paths(literal) if path[0] == "input" and len(path) > 1}:
                near.setdefault(path, {}).update({json.dumps(value): value for value in constants})
        for item in node.values():
            _compared(item, near)


def _bodies(node: Any) -> Iterator[list[tuple[tuple[str, ...], Any]]]:
    """For each body of a rule, what its expressions compare with what, in some combinations."""
    if isinstance(node, list):
        for item in node:
            yield from _bodies(item)
    elif isinstance(node, dict):
        choices = [choice for statement in node.get("stmts", ()) if (choice := _choices(statement["literal"]))]
        if choices:
            for combination in itertools.islice(itertools.product(*choices), _MAX_VARIANTS):
                yield list(combination)
        for item in node.values():
            yield from _bodies(item)


def _choices(literal: Any) -> list[tuple[tuple[str, ...], Any]]:
    """The ways in which one expression may hold: its longest path of the request, with each of its constants."""
    paths = [path[1:] for path in _all_paths(literal) if path[0] == "input" and len(path) > 1 and path[1] != "derived"]
    path = max(paths, key=len, default=())
    return [(path, value) for value in _fitting(path, list(_constants(literal)))] if path else []


def _fitting(path: tuple[str, ...], constants: list[Any]) -> list[Any]:
    """Constants that a request may hold at a place; another value that it may where there are none."""
    expected = attribute_type(path)
    if expected is None:
        return constants or [True]
    listed = [[value] for value in constants if isinstance(value, str)] if expected is list else constants
    fitting = [value for value in listed if isinstance(value, expected)]
    return fitting or list(_KNOWN.get(path, ()))[:2] or [_OF_TYPE.get(expected, "x")]


def _all_paths(node: Any) -> Iterator[tuple[str, ...]]:
    if isinstance(node, list):
        for item in node:
            yield from _all_paths(item)
    elif isinstance(node, dict):
        if path := _path(node):
            yield path
        for item in node.values():
            yield from _all_paths(item)
