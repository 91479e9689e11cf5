"""What of a request Cedar policies can read, found in their syntax trees.

Cedar names each attribute where it is read; there is no computed access. What no policy names can therefore be kept
from Cedar without changing any answer, which is faster, and lets pass a request whose other attributes hold what Cedar
has no value for. Where a whole record is used as a value, all of it counts as read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ("EVERYTHING", "Read", "Tree", "reads", "tree")

Tree = dict[str, Any]
"""Attributes by name: each a tree of what is read within it, or None for all of it."""
_BY_IDENTITY = frozenset({"==", "!=", "in"})
_BOTH = _BY_IDENTITY | {"<", "<=", ">", ">=", "&&", "||", "+", "-", "*", "contains", "containsAll", "containsAny"}
_PARTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_BOTH, ("left", "right")),
    **dict.fromkeys(("!", "neg", "isEmpty"), ("arg",)),
    "if-then-else": ("if", "then", "else"),
    "is": ("left", "in"),
    "like": ("left",),
}
"""The expressions within an expression, by its kind."""


class Read(NamedTuple):
    """Something that a policy reads."""

    path: tuple[str, ...]
    """Where: `("context", "environment", "ip")`."""
    whole: bool
    """Whether its value is read; else only whether it is there."""


_ENTITIES = frozenset({Read(("principal",), whole=True), Read(("resource",), whole=True)})
EVERYTHING = _ENTITIES | {Read(("context",), whole=True)}
"""What a policy reads of which nothing is known."""


class _UnknownError(Exception):
    """A kind of expression that is not known here."""


def reads(policy: Mapping[str, Any]) -> frozenset[Read]:
    """What a policy, in Cedar's JSON form, can read of a request."""
    try:
        return frozenset(found for part in policy.get("conditions", []) for found in _visit(part["body"]))
    except (_UnknownError, KeyError, TypeError, AttributeError, ValueError):
        return EVERYTHING


def tree(found: Iterable[Read]) -> Tree:
    """The same as a tree."""
    grown: Tree = {}
    for read in found:
        place: Tree | None = grown
        for step in read.path[:-1]:
            place = None if place is None else place.setdefault(step, {})
        if place is not None:
            if read.whole:
                place[read.path[-1]] = None
            else:
                place.setdefault(read.path[-1], {})
    return grown


def _visit(node: Mapping[str, Any], *, by_identity: bool = False) -> Iterator[Read]:
    ((kind, content),) = node.items()
    if kind == "Value":
        return
    if kind in {"Var", ".", "has"}:
        yield from _access(node, by_identity=by_identity)
        return
    if kind in _PARTS:
        parts = [content[name] for name in _PARTS[kind] if name in content]
    elif kind == "Record":
        parts = list(content.values())
    elif isinstance(content, list):  # a set, or a call of an extension function
        parts = content
    else:
        raise _UnknownError(kind)
    for part in parts:
        yield from _visit(part, by_identity=kind in _BY_IDENTITY or kind == "is")


def _access(node: Mapping[str, Any], *, by_identity: bool) -> Iterator[Read]:
    """A variable and the attributes that are named after it."""
    names: list[str] = []
    ((kind, content),) = node.items()
    whole = kind != "has"
    while kind in {".", "has"}:
        names.append(content["attr"])
        node = content["left"]
        ((kind, content),) = node.items()
    if kind != "Var":
        # The attribute of a literal entity, or of what an expression comes to: that may be anybody's.
        yield from _ENTITIES
        yield from _visit(node)
    elif content in {"principal", "resource", "context"}:
        if names or not by_identity or content == "context":
            yield Read((content, *reversed(names)), whole)
    elif content != "action":
        raise _UnknownError(content)
