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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from companyos.authz.derived import derive
from companyos.authz.interface import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from companyos.ports import AccessRequest

__all__ = ("CedarRequest", "translate")

_TYPE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(::[A-Za-z_][A-Za-z0-9_]*)*")
_RESERVED = frozenset({"true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"})
_INTEGERS = range(-(2**63), 2**63)
_MAX_DEPTH = 64
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class CedarRequest:
    """What `cedarpy.is_authorized` takes."""

    request: Mapping[str, Any]
    """Principal, action, resource and context."""
    entities: str
    """The attributes of principal and resource, and the principal's roles, as JSON."""


def translate(request: AccessRequest) -> CedarRequest:
    """A request in Cedar's terms.

    Raises:
        EngineError: a value has no place there: null, a fraction, a whole number beyond 64 bits, a key that begins
            with two underscores (Cedar reads those as entities and functions), a type that is no Cedar name.
    """
    subject = _value(request.subject, "subject", 1)
    resource = _value(request.resource, "resource", 1)
    environment = _value(request.environment, "environment", 1)
    principal = {"type": f"Subject::{_type('subject', subject)}", "id": subject["id"]}
    target = {"type": f"Resource::{_type('resource', resource)}", "id": resource["id"]}
    entities = [
        {"uid": principal, "attrs": subject, "parents": _roles(subject)},
        {"uid": target, "attrs": resource, "parents": []},
    ]
    stated = [name for name, value in environment.items() if isinstance(value, str) and value.strip()]
    context = {"environment": environment, "derived": _known(derive(request)), "stated": stated}
    return CedarRequest(
        {
            "principal": principal,
            "action": {"type": "Action", "id": request.action},
            "resource": target,
            "context": _json(context),
        },
        _json(entities),
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
    attributes = subject.get("attributes", {})
    roles = attributes.get("roles", []) if isinstance(attributes, dict) else []
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise EngineError("subject.attributes.roles is no list of texts", got=type(roles).__name__)
    return [{"type": "Role", "id": role} for role in dict.fromkeys(roles)]


def _value(value: Any, where: str, depth: int) -> Any:
    """A copy of a JSON value that Cedar can hold; `where` names it in errors."""
    if value is True or value is False or isinstance(value, str):
        return value
    if depth > _MAX_DEPTH:
        raise EngineError(f"{where} nests too deeply for Cedar", expected=f"at most {_MAX_DEPTH} levels")
    if hasattr(value, "items"):
        return {_key(key, where): _value(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_value(item, where, depth + 1) for item in value]
    if isinstance(value, int) and value in _INTEGERS:
        return int(value)
    if isinstance(value, float) and value.is_integer() and int(value) in _INTEGERS:
        return int(value)
    raise EngineError(
        f"{where} holds a value that Cedar has none for",
        got=_describe(value),
        expected="texts, whole numbers of 64 bits, true or false, lists and objects of them",
        hint="leave out what is not known; write a fraction as a whole number of its smallest unit",
    )


def _describe(value: object) -> str:
    names: Mapping[type, str] = {type(None): "null", float: "a fraction", int: "a number beyond 64 bits"}
    return names.get(type(value), type(value).__name__)


def _key(key: object, where: str) -> str:
    if not isinstance(key, str) or key.startswith("__"):
        raise EngineError(
            f"{where} has a key that Cedar reads as something else", got=repr(key), expected="no two underscores first"
        )
    return key


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Derived facts without those that are not known, which are ours and always facts that policies may miss."""
    return {
        key: _known(value) if isinstance(value, dict) else value for key, value in facts.items() if value is not None
    }
