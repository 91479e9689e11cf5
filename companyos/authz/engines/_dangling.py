"""References that lead nowhere: paths below `data` that nobody defines, and members that no request has.

Rego answers what is not there with *undefined*, and a rule that reads it never fires. A misspelt name in a `deny`
would therefore take the rule away without a word. The shape of a request is fixed down to its attributes, which are
open: what stands below `input.resource` is not looked at.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from companyos.authz.derived import derive
from companyos.authz.engines._references import Node, tree_of
from companyos.authz.engines._syntax import WILD
from companyos.authz.interface import PolicyError
from companyos.ports import AccessRequest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from companyos.authz.engines._syntax import Module, Path

__all__ = ("check_references",)

_OPEN: Any = object()
"""Stands for an object with members that nobody can name beforehand."""
_REQUEST: Mapping[str, Any] = {
    "subject": _OPEN,
    "action": "",
    "resource": _OPEN,
    "environment": _OPEN,
    "derived": derive(AccessRequest({"id": "?", "type": "?"}, "?", {"id": "?", "type": "?"})),
}
"""What a policy sees as `input`; a value that is no object has no members."""


def check_references(modules: Sequence[Module], data: Mapping[str, Any]) -> None:
    """Return if every reference as written leads to something that a request, the data or a rule may hold.

    Raises:
        PolicyError: one does not; with file, line, and the nearest name that is known.
    """
    rules = tree_of([rule for module in modules for rule in module.rules]).beneath["data"]
    for module in modules:
        for path, line in (written for rule in module.rules for written in rule.written):
            where = f"{module.file}:{line}"
            if path[0] == "input":
                _check(where, path, _REQUEST, Node())
            elif not any(rules.matching(path[1:])):
                _check(where, path, data, rules)


def _check(where: str, path: Path, held: Any, rules: Node) -> None:
    """Follow a path through values, and through the names of rules beside them."""
    node: Node | None = rules
    for place, part in enumerate(path[1:], 1):
        if held is _OPEN or (part == WILD and isinstance(held, dict | list)):
            return
        members = held if isinstance(held, dict) else {}
        beneath = {} if node is None else node.beneath
        if part not in members and part not in beneath:
            raise _dangling(where, path[: place + 1], [*members, *beneath])
        held, node = members.get(part), beneath.get(part)


def _dangling(where: str, path: Path, known: Collection[str]) -> PolicyError:
    near = difflib.get_close_matches(path[-1], known, n=1)
    holder = ".".join(path[:-1])
    return PolicyError(
        f"{where} reads {'.'.join(path)}, which is never there",
        got=f"{holder} has no {path[-1]}, so that the rule would never fire",
        expected=f"one of {', '.join(sorted(known))}" if known else f"{holder} itself, which has no members",
        hint=f"did you mean {holder}.{near[0]}?" if near else None,
    )
