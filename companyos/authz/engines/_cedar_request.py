"""An access request in Cedar's terms; what Cedar has no value for is refused by name, never left out.

- principal `Subject::user::"u-1"` of the type that the request states, in `Role::"…"` for each of its roles
- action `Action::"read"`
- resource `Resource::document::"d-1"`
- `context.environment`, `context.derived` (the derived facts; a jurisdiction that nobody knows is absent), and
  `context.stated`, the names of the environment's texts that are not blank, which Cedar could not find out

Subjects and resources have namespaces of their own, so that a subject whose type is called `Role` is no role, and one
that asks for itself is not one thing with the union of two sets of attributes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from companyos.authz.derived import derive
from companyos.authz.interface import EngineError

if TYPE_CHECKING:
    from companyos.authz.engines._cedar_reads import Tree
    from companyos.ports import AccessRequest

__all__ = ("CedarRequest", "translate")

_TYPE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(::[A-Za-z_][A-Za-z0-9_]*)*")
_RESERVED = frozenset({"true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"})
_INTEGERS = range(-(2**63), 2**63)
_MAX_DEPTH = 64
_NOTHING: Tree = {}
_NOBODY: tuple[()] = ()
_encode = msgspec.json.Encoder().encode


class _UnfitError(Exception):
    """A value that Cedar cannot hold; which one is found out afterwards, for most requests have none."""


@dataclass(frozen=True, slots=True)
class CedarRequest:
    """What `cedarpy.is_authorized` takes."""

    request: Mapping[str, Any]
    """Principal, action, resource and context."""
    entities: str
    """The attributes of principal and resource, and the principal's roles, as JSON."""


def translate(request: AccessRequest, wanted: Tree) -> CedarRequest:
    """What policies can read of a request, in Cedar's terms.

    Raises:
        EngineError: a value that is read has no place there: null, a fraction, a whole number beyond 64 bits, a key
            that begins with two underscores (Cedar reads those as entities and functions), a type that is no Cedar
            name.
    """
    principal = {"type": f"Subject::{_type('subject', request.subject)}", "id": request.subject["id"]}
    target = {"type": f"Resource::{_type('resource', request.resource)}", "id": request.resource["id"]}
    attributes = _part(request.subject, wanted.get("principal", _NOTHING), "subject")
    described = _part(request.resource, wanted.get("resource", _NOTHING), "resource")
    entities = [
        {"uid": principal, "attrs": attributes, "parents": _roles(request.subject)},
        {"uid": target, "attrs": described, "parents": _NOBODY},
    ]
    asked = {
        "principal": principal,
        "action": {"type": "Action", "id": request.action},
        "resource": target,
        "context": _json(_context(request, wanted.get("context", _NOTHING))),
    }
    return CedarRequest(asked, _json(entities))


def _context(request: AccessRequest, wanted: Tree | None) -> dict[str, Any]:
    parts: Tree = dict.fromkeys(("environment", "derived", "stated")) if wanted is None else wanted
    found: dict[str, Any] = {}
    if "environment" in parts:
        found["environment"] = _part(request.environment, parts["environment"], "environment")
    if "derived" in parts:
        found["derived"] = _known(derive(request), parts["derived"])
    if "stated" in parts:
        texts = request.environment.items()
        found["stated"] = [name for name, value in texts if isinstance(value, str) and value.strip()]
    return found


def _part(value: Any, wanted: Tree | None, where: str) -> Any:
    """The attributes of a part of the request that are wanted, or all of them; `where` names it in errors."""
    try:
        return _pick(value, wanted)
    except _UnfitError:
        raise _explain(value, wanted, where) from None


def _pick(value: Any, wanted: Tree | None) -> Any:
    if wanted is None or not hasattr(value, "items"):
        return _held(value, 1)
    return {_key(name): _pick(value[name], inner) for name, inner in wanted.items() if name in value}


def _explain(value: Any, wanted: Tree | None, where: str) -> EngineError:
    """Which value it is that Cedar cannot hold."""
    if hasattr(value, "items"):
        names = value if wanted is None else [name for name in wanted if name in value]
        for name in names:
            inner = None if wanted is None else wanted[name]
            try:
                _pick({name: value[name]}, {name: inner})
            except _UnfitError:
                return _explain(value[name], inner, f"{where}.{name}") if _is_plain(name) else _refused(name, where)
    if isinstance(value, list | tuple):
        for number, item in enumerate(value):
            try:
                _held(item, 1)
            except _UnfitError:
                return _explain(item, None, f"{where}[{number}]")
    return _refused(value, where)


def _refused(value: object, where: str) -> EngineError:
    return EngineError(
        f"{where} holds something that Cedar has no value for",
        got=_describe(value),
        expected="texts, whole numbers of 64 bits, true or false, lists and objects of them; no key with __ first",
        hint="leave out what is not known; write a fraction as a whole number of its smallest unit",
    )


def _json(value: Any) -> str:
    try:
        return _encode(value).decode()
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise EngineError("the request holds a value that is not JSON", got=error) from error


def _type(part: str, held: Mapping[str, Any]) -> str:
    name = held.get("type")
    if not isinstance(name, str) or not _TYPE.fullmatch(name) or _RESERVED & set(name.split("::")):
        raise EngineError(
            f"{part}.type is no name in Cedar", got=repr(name), expected="letters, digits and _, in parts joined by ::"
        )
    if not isinstance(held.get("id"), str):
        raise EngineError(f"{part}.id is no text", got=type(held.get("id")).__name__)
    return name


def _roles(subject: Mapping[str, Any]) -> list[dict[str, str]]:
    attributes = subject.get("attributes")
    roles = attributes.get("roles", _NOBODY) if isinstance(attributes, Mapping) else _NOBODY
    if not isinstance(roles, list | tuple) or not all(isinstance(role, str) for role in roles):
        raise EngineError("subject.attributes.roles is no list of texts", got=type(roles).__name__)
    return [{"type": "Role", "id": role} for role in dict.fromkeys(roles)]


def _held(value: Any, depth: int) -> Any:
    """A copy of a JSON value that Cedar can hold."""
    if value is True or value is False or isinstance(value, str):
        return value
    if depth > _MAX_DEPTH:
        raise _UnfitError
    if hasattr(value, "items"):
        return {_key(key): _held(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_held(item, depth + 1) for item in value]
    if isinstance(value, int) and value in _INTEGERS:
        return int(value)
    if isinstance(value, float) and value.is_integer() and int(value) in _INTEGERS:
        return int(value)
    raise _UnfitError


def _key(key: Any) -> str:
    if _is_plain(key):
        return str(key)
    raise _UnfitError


def _is_plain(key: object) -> bool:
    return isinstance(key, str) and not key.startswith("__")


def _describe(value: object) -> str:
    names: Mapping[type, str] = {type(None): "null", float: "a fraction", int: "a number beyond 64 bits"}
    return names.get(type(value), repr(value) if isinstance(value, str) else type(value).__name__)


def _known(facts: Mapping[str, Any], wanted: Tree | None) -> dict[str, Any]:
    """Derived facts that are wanted, without those that are not known."""
    found = {}
    for name in facts if wanted is None else wanted:
        value = facts.get(name)
        if isinstance(value, dict):
            found[name] = _known(value, None if wanted is None else wanted[name])
        elif value is not None:
            found[name] = value
    return found
