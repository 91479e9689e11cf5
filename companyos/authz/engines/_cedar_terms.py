"""What a Cedar policy talks about, in the request's own terms: the attributes that it reads, and its constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.authz.engines._cedar_reads import reads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from companyos.authz.engines._syntax import Path

__all__ = ("Terms", "comparisons", "terms")

_ROLES: Path = ("subject", "attributes", "roles")
_PARTS: Mapping[str, str] = {"principal": "subject", "resource": "resource"}
_TESTS = frozenset({"==", "!=", "<", "<=", ">", ">=", "contains", "containsAll", "containsAny"})


@dataclass(frozen=True, slots=True)
class Terms:
    """What of a request a policy reads, and what it may compare that with."""

    paths: tuple[Path, ...]
    """Attributes, such as `("environment", "auth_strength")`; derived facts begin with `derived`."""
    constants: tuple[Any, ...]
    """Texts, whole numbers and truth values, the names of actions and roles among them."""


def terms(tree: Mapping[str, Any]) -> Terms:
    """What a policy, in Cedar's JSON form, talks about."""
    constants = _distinct((*_scope(tree), *(value for item in _bodies(tree) for value in _values(item))))
    paths = [path for read in reads(tree) for path in _paths(read.path, constants)]
    paths += [("action",)] if tree["action"]["op"] != "All" else []
    paths += [_ROLES] if _roles(tree) else []
    return Terms(tuple(sorted(set(paths))), tuple(constants))


def comparisons(tree: Mapping[str, Any]) -> list[tuple[Path, list[Any]]]:
    """Each attribute that a policy compares with constants, with those; the action and roles of its head included."""
    found: list[tuple[Path, list[Any]]] = []
    actions = [entity["id"] for entity in _entities(tree["action"])]
    found += [(("action",), actions)] if actions else []
    found += [(_ROLES, [[role] for role in _roles(tree)])] if _roles(tree) else []
    for body in _bodies(tree):
        found += _compared(body)
    return found


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Each value once, 1 and true being two."""
    return list({repr(value): value for value in values}.values())


def _bodies(tree: Mapping[str, Any]) -> list[Any]:
    return [condition["body"] for condition in tree.get("conditions", [])]


def _scope(tree: Mapping[str, Any]) -> Iterator[str]:
    yield from (entity["id"] for entity in _entities(tree["action"]))
    yield from _roles(tree)


def _roles(tree: Mapping[str, Any]) -> list[str]:
    return [entity["id"] for entity in _entities(tree["principal"]) if entity["type"] == "Role"]


def _entities(head: Mapping[str, Any]) -> list[Any]:
    return [*head.get("entities", ()), *([head["entity"]] if "entity" in head else ())]


def _values(node: Any) -> Iterator[Any]:
    """Every constant in an expression; of an entity its id."""
    if isinstance(node, list):
        for item in node:
            yield from _values(item)
    elif isinstance(node, dict):
        for kind, item in node.items():
            if kind == "Value":
                value = item["__entity"]["id"] if isinstance(item, dict) and "__entity" in item else item
                yield from (value,) if isinstance(value, str | int) else ()
            elif kind == "pattern":
                yield "".join(part.get("Literal", "") for part in item if isinstance(part, dict))
            else:
                yield from _values(item)


def _paths(read: Path, constants: list[Any]) -> Iterator[Path]:
    """A place in Cedar's terms as places in a request: those that lie within an entity or within the context."""
    root, *rest = read
    if root in _PARTS and rest:
        yield (_PARTS[root], *rest)
    elif root == "context" and rest[:1] == ["stated"]:
        yield from (("environment", name) for name in constants if isinstance(name, str))
    elif root == "context" and len(rest) > 1:
        yield tuple(rest)


def _compared(node: Any) -> Iterator[tuple[Path, list[Any]]]:
    if isinstance(node, list):
        for item in node:
            yield from _compared(item)
    elif isinstance(node, dict):
        for kind, item in node.items():
            if kind in _TESTS:
                constants = _distinct(_values(item))
                places = [path for side in item.values() for path in _accessed(side, constants)]
                yield from ((path, constants or [True]) for path in places)
            elif kind == "has":
                yield from ((path, ["x"]) for path in _accessed({".": item}, []))
            yield from _compared(item)


def _accessed(node: Any, constants: list[Any]) -> list[Path]:
    """The place in a request that an expression stands for; none if it is no attribute of one."""
    names: list[str] = []
    while isinstance(node, dict) and "." in node:
        names.append(node["."]["attr"])
        node = node["."]["left"]
    if not isinstance(node, dict) or not isinstance(node.get("Var"), str):
        return []
    return list(_paths((node["Var"], *reversed(names)), constants))
