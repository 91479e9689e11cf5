"""From plain mappings to an `AccessRequest`, checked once, so that no policy meets a value of the wrong type.

A policy that asks `resource.contains_pii == true` is silently passed by the text "true". The attributes that the
playbook's policies read are therefore typed here, and a request that gets one wrong is refused by name.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from companyos.authz._text import is_visible, plain, squeezed
from companyos.authz.interface import RequestError
from companyos.ports import AccessRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("MAX_DEPTH", "MAX_SIZE", "attribute_type", "build_request", "copy_json", "copy_request", "request_from_dict")

MAX_DEPTH = 16
"""How deeply a request's values may nest."""
MAX_SIZE = 65_536
"""How large a request may be: characters of all texts and keys, plus one for every value."""
MAX_ID = 256
"""Longest id, type or action, in characters."""
_SAFE_INTEGER = 2**53 - 1

_LEVEL = (str, int)
_TYPED: dict[str, dict[str, type | tuple[type, ...]]] = {
    "subject": {
        "attributes": Mapping,
        "status": str,
        "org_id": str,
        "workspace_id": str,
        "region": str,
        "jurisdiction": str,
    },
    "subject.attributes": {"clearance": _LEVEL, "jurisdiction": str, "region": str, "org_id": str, "roles": list},
    "resource": {
        "owner": str,
        "org_id": str,
        "region": str,
        "jurisdiction": str,
        "destination_region": str,
        "contains_pii": bool,
        "classification": str,
        "sensitivity": str,
        "required_clearance": _LEVEL,
        "masked_fields": list,
        "domain": str,
        "service": str,
    },
    "environment": {
        "ip": str,
        "device_trust": str,
        "device_id": str,
        "time": str,
        "auth_strength": str,
        "approval_ticket": str,
        "destination_region": str,
        "trace_id": str,
    },
}

_SPELLINGS = {
    part: {squeezed(name): name for name in {**types, **({} if "." in part else {"id": str, "type": str})}}
    for part, types in _TYPED.items()
}
"""The names that policies read, by what is left of them without letter case and separators."""
_NESTED = {
    ("subject", "properties"): "subject.attributes",
    ("resource", "properties"): "resource",
    ("resource", "attributes"): "resource",
    ("environment", "properties"): "environment",
}
"""Where other models put attributes (AuthZEN's `properties`), and where the playbook's policies read them."""


def build_request(
    subject: Mapping[str, Any],
    action: str,
    resource: Mapping[str, Any],
    environment: Mapping[str, Any] | None = None,
) -> AccessRequest:
    """A checked request holding copies of the values, so that nobody changes them while they are judged.

    `subject` and `resource` need `id` and `type` (as in AuthZEN 1.0, section 5); every value is JSON.

    Raises:
        RequestError: a field is missing, of the wrong type, too deep, too large, or not JSON.
    """
    budget = _Budget()
    values = {
        "subject": _copy("subject", subject, budget),
        "resource": _copy("resource", resource, budget),
        "environment": _copy("environment", {} if environment is None else environment, budget),
    }
    _check_action(action)
    for part in ("subject", "resource"):
        for key in ("id", "type"):
            if key not in values[part]:
                raise RequestError(f"{part}.{key} is missing", expected="a text")
            _check_name(f"{part}.{key}", values[part][key])
    _check_look_alike(values["subject"]["id"])
    _check_types(values)
    _check_scope(values["resource"])
    if not is_visible(values["environment"].get("approval_ticket", "")):
        raise RequestError("environment.approval_ticket holds invisible characters", expected="printable characters")
    return AccessRequest(values["subject"], action, values["resource"], values["environment"])


def attribute_type(path: Sequence[str]) -> type | tuple[type, ...] | None:
    """The type that an attribute must have, by its place in a request; None where any will do."""
    return _TYPED.get(".".join(path[:-1]), {}).get(path[-1])


def request_from_dict(value: Any) -> AccessRequest:
    """The request held by one JSON object with the playbook's keys.

    Raises:
        RequestError: as `build_request`, or an unknown key at the top.
    """
    if not isinstance(value, Mapping):
        raise RequestError("a request is a JSON object", got=type(value).__name__)
    known = ("subject", "action", "resource", "environment")
    unknown = sorted(str(key) for key in value if key not in known)
    missing = [key for key in known[:3] if key not in value]
    if unknown or missing:
        raise RequestError(
            "the request has keys that are not known" if unknown else "the request lacks keys",
            got=", ".join(unknown) or None,
            expected=", ".join(known),
        )
    return build_request(value["subject"], value["action"], value["resource"], value.get("environment"))


def copy_request(request: AccessRequest) -> AccessRequest:
    """A request of its own for somebody who must not alter the one that is judged and recorded."""
    return AccessRequest(
        copy_json(request.subject), request.action, copy_json(request.resource), copy_json(request.environment)
    )


def copy_json(value: Any) -> Any:
    """A deep copy of a JSON value."""
    if isinstance(value, Mapping):
        return {key: copy_json(item) for key, item in value.items()}
    return [copy_json(item) for item in value] if isinstance(value, list | tuple) else value


class _Budget:
    """What is left of the allowed size."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_SIZE

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise RequestError("the request is too large", expected=f"at most {MAX_SIZE} characters and values")


def _copy(name: str, value: object, budget: _Budget) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise RequestError(f"{name} is not an object", got=type(value).__name__, expected="a mapping")
    copied: dict[str, Any] = _json(value, name, 1, budget)
    return copied


def _json(value: Any, where: str, depth: int, budget: _Budget) -> Any:
    """A deep copy of `value`, which must be JSON; `where` names it in errors."""
    if isinstance(value, str):
        budget.spend(len(value) + 1)
        return value if value.isascii() else _unicode(value, where)
    budget.spend(1)
    if value is None or isinstance(value, bool):
        return value
    if depth > MAX_DEPTH:
        raise RequestError(f"{where} nests too deeply", expected=f"at most {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return {_key(key, where, budget): _json(item, where, depth + 1, budget) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item, where, depth + 1, budget) for item in value]
    if isinstance(value, int) and abs(value) <= _SAFE_INTEGER:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    raise RequestError(f"{where} holds a value that is not JSON", got=type(value).__name__, expected="a JSON value")


def _key(key: object, where: str, budget: _Budget) -> str:
    if not isinstance(key, str):
        raise RequestError(f"{where} has a key that is not text", got=type(key).__name__)
    budget.spend(len(key))
    return key if key.isascii() else _unicode(key, where)


def _unicode(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"{where} holds text that is not valid Unicode", got=error.reason) from error
    return text


def _check_name(where: str, value: object) -> None:
    """Ids are compared byte by byte, so that what cannot be seen may not be part of one."""
    if not isinstance(value, str):
        raise RequestError(f"{where} is not text", got=type(value).__name__, expected="a text")
    if not 0 < len(value) <= MAX_ID or value != value.strip():
        raise RequestError(f"{where} is empty, padded or too long", expected=f"1 to {MAX_ID} characters")
    if not value.isascii() and value != unicodedata.normalize("NFC", _unicode(value, where)):
        raise RequestError(f"{where} is not in Unicode normal form C", expected="one spelling per id")
    if not is_visible(value):
        raise RequestError(f"{where} holds invisible characters", expected="printable characters only")


def _check_look_alike(identity: str) -> None:
    """A subject written in wide or styled letters would be somebody else's name to every reader of the log."""
    if not identity.isascii() and identity != unicodedata.normalize("NFKC", identity):
        raise RequestError("subject.id is written in look-alike letters", expected="Unicode normal form KC")


def _check_action(action: object) -> None:
    """Policies compare actions as text, so that `Delete` must not be asked for where `delete` needs a second factor."""
    _check_name("action", action)
    if isinstance(action, str) and action != plain(action):
        raise RequestError(
            "action is not in its plain spelling", got=repr(action), hint=f"write it in lower case: {plain(action)!r}"
        )


def _check_scope(resource: Mapping[str, Any]) -> None:
    """Domain and service say which policies apply, so that another spelling of one would pass by them."""
    for key in ("domain", "service"):
        if key in resource:
            _check_name(f"resource.{key}", resource[key])
            if resource[key] != plain(resource[key]):
                raise RequestError(
                    f"resource.{key} is not in its plain spelling",
                    got=repr(resource[key]),
                    hint=f"write it in lower case: {plain(resource[key])!r}",
                )


def _check_types(values: Mapping[str, Any]) -> None:
    for (part, key), place in _NESTED.items():
        if isinstance(values[part].get(key), Mapping):
            raise RequestError(f"no policy reads {part}.{key}", hint=f"put what it holds into {place}")
    for part, types in _TYPED.items():
        outer, _, inner = part.partition(".")
        held = values[outer].get(inner, {}) if inner else values[outer]
        _check_spellings(part, held)
        for key in types.keys() & held.keys():
            _check_type(f"{part}.{key}", held[key], types[key])


def _check_spellings(part: str, held: Mapping[str, Any]) -> None:
    """An attribute that is almost one that policies read would be passed over by them."""
    for key in held:
        name = _SPELLINGS[part].get(squeezed(key), key)
        if key != name:
            raise RequestError(f"{part} has a key that is not the one policies read", got=key, hint=f"write {name}")


def _check_type(where: str, value: object, expected: type | tuple[type, ...]) -> None:
    right = isinstance(value, expected) and (expected is bool or not isinstance(value, bool))
    if right and isinstance(value, list):
        right = all(isinstance(item, str) for item in value)
    if not right:
        raise RequestError(f"{where} is of the wrong type", got=type(value).__name__, expected=_describe(expected))


def _describe(expected: type | tuple[type, ...]) -> str:
    names = {bool: "true or false", str: "a text", list: "a list of texts", Mapping: "an object", int: "a whole number"}
    return " or ".join(names[kind] for kind in (expected if isinstance(expected, tuple) else (expected,)))
