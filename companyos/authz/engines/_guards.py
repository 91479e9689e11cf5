"""In which requests a rule can fire, read from how its body begins.

Only what provably comes first counts: literals that compare a fact of the request with constants, before anything that
could raise an error. A slice that is inferred so can never change a result: outside of it the rule is silent, whoever
evaluates it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.authz.engines._syntax import WILD, Path, Rule, path_of
from companyos.authz.slices import DIMENSIONS, Slice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ("CONTRIBUTES", "slice_of")

CONTRIBUTES = tuple(("data", "companyos", "access", name) for name in ("allow", "deny", "obligation"))
"""The rules that decide."""
EVERYTHING = Slice()
_PLACES: Mapping[Path, int] = {("input", *name.split(".")): place for place, name in enumerate(DIMENSIONS)}
_SCALARS = frozenset({"String", "RawString", "Number", "Bool", "Null"})


def slice_of(rule: Rule, data: Mapping[str, Any]) -> Slice:
    """All requests in which the rule can fire; an empty slice if it never can."""
    if len(rule.bodies) != 1 or rule.kind != "Set":
        return EVERYTHING
    known = EVERYTHING
    for statement in rule.bodies[0]["query"]["stmts"]:
        if statement.get("with_mods"):
            break
        guard = _guard(statement["literal"], data)
        if guard is not None:
            known = known.restrict(guard)
        elif not _is_harmless(statement["literal"]):
            break
    return known


def _guard(literal: Mapping[str, Any], data: Mapping[str, Any]) -> Slice | None:
    expression = literal.get("Expr", {}).get("expr", {})
    compared = expression.get("BoolExpr") or expression.get("AssignExpr")
    if compared and compared["op"] == "Eq":
        for left, right in ((compared["lhs"], compared["rhs"]), (compared["rhs"], compared["lhs"])):
            text = _text(right)
            if text is not None and _place(left) is not None:
                return _restricted(_place(left), {text})
    member = expression.get("Membership")
    if member and member["key"] is None:
        place, values = _place(member["value"]), _collection(member["collection"], data)
        if values is not None and place is not None:
            return _restricted(place, values)
    return None


def _restricted(place: int | None, values: set[str]) -> Slice:
    return Slice.of(frozenset(values) if place == number else None for number in range(len(DIMENSIONS)))


def _place(node: Mapping[str, Any]) -> int | None:
    return _PLACES.get(path_of(node))


def _text(node: Mapping[str, Any]) -> str | None:
    literal = node.get("String") or node.get("RawString")
    return literal["value"] if literal else None


def _collection(node: Mapping[str, Any], data: Mapping[str, Any]) -> set[str] | None:
    """The texts of a set, a list, or a list in the data; None if that is not all there is to it."""
    literal = node.get("Set") or node.get("Array")
    if literal:
        texts = [_text(item) for item in literal["items"]]
        return None if None in texts else {text for text in texts if text is not None}
    path = path_of(node)
    if path[0] != "data" or len(path) < 2 or path[1] == "companyos" or WILD in path:
        return None
    value = _held(data, path[1:])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return None
    return set(value)


def _held(data: Any, path: Sequence[str]) -> Any:
    for part in path:
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _is_harmless(literal: Mapping[str, Any]) -> bool:
    """Whether a literal can only hold or fail: constants and fixed places of input or data, alone or compared."""
    held = literal.get("Expr") or literal.get("NotExpr")
    if not held:
        return False
    expression = held["expr"]
    compared = expression.get("BoolExpr")
    return all(map(_is_plain, (compared["lhs"], compared["rhs"]))) if compared else _is_plain(expression)


def _is_plain(node: Mapping[str, Any]) -> bool:
    if _SCALARS & node.keys():
        return True
    path = path_of(node)
    return WILD not in path and (path[0] == "input" or (path[0] == "data" and path[1:2] not in ((), ("companyos",))))
