"""From plain mappings to an `AccessRequest`, checked once, so that no policy meets a value of the wrong type.

A policy that asks `resource.contains_pii == true` is silently passed by the text "true". The attributes that the
playbook's policies read are therefore typed here, and a request that gets one wrong is refused by name.
"""

from __future__ import annotations

import functools
import math
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from companyos.authz._lookalikes import as_read, look_alike
from companyos.authz._text import is_visible, plain
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
_LONG = 8
"""From so many items on, looking at their types first is cheaper than walking them."""

_LEVEL = (str, int)
_TYPED: dict[str, dict[str, type | tuple[type, ...]]] = {
    "subject": {
        "attributes": dict,
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
    part: {as_read(name): name for name in {**types, **({} if "." in part else {"id": str, "type": str})}}
    for part, types in _TYPED.items()
}
"""The names that policies read, by what is left of them for a hasty eye."""
_NESTED = {
    ("subject", "properties"): "subject.attributes",
    ("resource", "properties"): "resource",
    ("resource", "attributes"): "resource",
    ("environment", "properties"): "environment",
}
"""Where other models put attributes (AuthZEN's `properties`), and where the playbook's policies read them."""


class _Part(NamedTuple):
    """One part of a request."""

    name: str
    """How errors call it."""
    types: Mapping[str, Any]
    """The types of the values under the names that policies read."""
    texts: frozenset[str]
    """Under which of them a text is right."""

    @classmethod
    def of(cls, name: str, **more: type) -> _Part:
        """The part of that name."""
        types = {**_TYPED[name], **more}
        return cls(name, types, frozenset(key for key, expected in types.items() if expected in (str, _LEVEL)))


_SUBJECT, _RESOURCE = (_Part.of(name, id=str, type=str) for name in ("subject", "resource"))
_ATTRIBUTES, _ENVIRONMENT = _Part.of("subject.attributes"), _Part.of("environment")
_LEAVES = frozenset((str, int, float, bool, type(None)))
_SHORT = 64
"""Longest key whose spelling is remembered, in characters."""


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
    budget = [MAX_SIZE]
    who = _part(_SUBJECT, subject, budget)
    what = _part(_RESOURCE, resource, budget)
    where = {} if environment is None else _part(_ENVIRONMENT, environment, budget)
    if type(action) is not str and isinstance(action, str):
        action = str.__str__(action)
    _check_action(action)
    _check_named("subject", who)
    _check_named("resource", what)
    _check_scope(what)
    if not is_visible(where.get("approval_ticket", "")):
        raise RequestError("environment.approval_ticket holds invisible characters", expected="printable characters")
    return AccessRequest(who, action, what, where)


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


def _part(part: _Part, value: object, budget: list[int], depth: int = 1) -> dict[str, Any]:
    """A deep copy of one part of a request, keys and values checked on the way; `budget` is the size that is left."""
    if type(value) is not dict and not isinstance(value, Mapping):
        raise RequestError(f"{part.name} is not an object", got=type(value).__name__, expected="a mapping")
    copied: dict[str, Any] = {}
    texts = part.texts
    left = budget[0] - 1
    for key, item in value.items():
        # A text under a name that policies read as a text: most of every request, and nothing else to look at.
        if type(item) is str and type(key) is str and key in texts and item.isascii():
            copied[key] = item
            left -= len(key) + len(item) + 1
        else:
            budget[0] = left
            name = _name(part, key, budget)
            copied[name] = _attribute(part, name, item, budget, depth)
            left = budget[0]
        if left < 0:
            raise _too_large()
    budget[0] = left
    return copied


def _name(part: _Part, key: object, budget: list[int]) -> str:
    """A key, checked; one that is almost one that policies read would be passed over by them."""
    name = _key(key, part.name, budget)
    if name not in part.types:
        if len(name) > MAX_ID and not name.isascii():
            raise RequestError(f"a key of {part.name} is too long", expected=f"at most {MAX_ID} characters")
        meant = _meant(part.name, name) if len(name) <= _SHORT else _meant.__wrapped__(part.name, name)
        if meant != name:
            raise RequestError(
                f"{part.name} has a key that is not the one policies read", got=name, hint=f"write {meant}"
            )
        if not name.isascii():
            _check_key(part, name)
    return name


def _check_key(part: _Part, key: str) -> None:
    """No letter of a key is taken for another; a small or a wide one is none, and may be in a name of one's own."""
    _check_look_alike(f"a key of {part.name}", unicodedata.normalize("NFKC", key))


@functools.lru_cache(maxsize=4096)
def _meant(part: str, key: str) -> str:
    """The name that policies read, if `key` is a spelling of one; otherwise the key."""
    return _SPELLINGS[part].get(as_read(key), key)


def _attribute(part: _Part, key: str, item: Any, budget: list[int], depth: int) -> Any:
    """A copy of one value, which has to be of the type expected under its key, if one is."""
    if type(item) not in _LEAVES and isinstance(item, Mapping):
        if part is _SUBJECT and key == "attributes":
            return _part(_ATTRIBUTES, item, budget, depth + 1)
        if (part.name, key) in _NESTED:
            place = _NESTED[part.name, key]
            raise RequestError(f"no policy reads {part.name}.{key}", hint=f"put what it holds into {place}")
    copied = _json(item, part.name, depth + 1, budget)
    expected = part.types.get(key)
    if (expected is not None and type(copied) is not expected) or expected is list:
        _check_type(f"{part.name}.{key}", copied, expected)
    if key == "owner" and part is _RESOURCE:
        _check_look_alike("resource.owner", copied)
    return copied


def _json(value: Any, where: str, depth: int, budget: list[int]) -> Any:
    """A deep copy of `value`, which must be JSON; `where` names it in errors."""
    kind = type(value)
    if kind is str or isinstance(value, str):
        if kind is not str:
            value = str.__str__(value)  # of a subclass the text alone, which nothing can change
        _spend(budget, len(value) + 1)
        return value if value.isascii() else _unicode(value, where)
    _spend(budget, 1)
    if value is None or kind is bool:
        return value
    if depth > MAX_DEPTH:
        raise RequestError(f"{where} nests too deeply", expected=f"at most {MAX_DEPTH} levels")
    if isinstance(value, int) and abs(value) <= _SAFE_INTEGER:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, list | tuple):
        return _items(value, where, depth + 1, budget)
    if isinstance(value, Mapping):
        return _entries(value, where, depth + 1, budget)
    raise RequestError(f"{where} holds a value that is not JSON", got=kind.__name__, expected="a JSON value")


def _items(values: list[Any] | tuple[Any, ...], where: str, depth: int, budget: list[int]) -> list[Any]:
    """Copies of the items of a list; a long one of plain texts or numbers is not walked in Python."""
    copied = list(values)  # what is looked at below is what is kept, whoever changes the caller's list meanwhile
    if len(copied) > budget[0]:
        raise _too_large()
    kinds = set(map(type, copied)) if len(copied) >= _LONG else ()
    if kinds == {str} and all(map(str.isascii, copied)):
        _spend(budget, len(copied) + sum(map(len, copied)))
        return copied
    if kinds == {int} and depth <= MAX_DEPTH and min(copied) >= -_SAFE_INTEGER and max(copied) <= _SAFE_INTEGER:
        _spend(budget, len(copied))
        return copied
    return [_json(item, where, depth, budget) for item in copied]


def _entries(value: Mapping[Any, Any], where: str, depth: int, budget: list[int]) -> dict[str, Any]:
    """Copies of the entries of a mapping; of one with many plain keys these are not walked in Python."""
    if type(value) is dict and len(value) >= _LONG:
        copied = value.copy()
        if set(map(type, copied)) == {str} and all(map(str.isascii, copied)):
            _spend(budget, sum(map(len, copied)))
            return dict(zip(copied, _items(list(copied.values()), where, depth, budget), strict=True))
    return {_key(key, where, budget): _json(item, where, depth, budget) for key, item in value.items()}


def _key(key: object, where: str, budget: list[int]) -> str:
    if not isinstance(key, str):
        raise RequestError(f"{where} has a key that is not text", got=type(key).__name__)
    if type(key) is not str:
        key = str.__str__(key)
    _spend(budget, len(key))
    return key if key.isascii() else _unicode(key, where)


def _spend(budget: list[int], amount: int) -> None:
    budget[0] -= amount
    if budget[0] < 0:
        raise _too_large()


def _too_large() -> RequestError:
    return RequestError("the request is too large", expected=f"at most {MAX_SIZE} characters and values")


def _unicode(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"{where} holds text that is not valid Unicode", got=error.reason) from error
    return text


def _check_named(part: str, held: Mapping[str, Any]) -> None:
    for key in ("id", "type"):
        if key not in held:
            raise RequestError(f"{part}.{key} is missing", expected="a text")
        value = held[key]
        if not (type(value) is str and _is_plain_name(value)):
            _check_name(f"{part}.{key}", value)


def _is_plain_name(text: str) -> bool:
    """Whether a name is visible ASCII, neither padded nor too long, so that there is nothing else to look at."""
    return text.isascii() and 0 < len(text) <= MAX_ID and text.isprintable() and text[0] != " " != text[-1]


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
    _check_look_alike(where, value)


def _check_look_alike(where: str, text: str) -> None:
    """What is written in others' letters would be another name to every reader of the log, and to no policy."""
    why = look_alike(text)
    if why is not None:
        raise RequestError(f"{where} {why}", expected="Unicode normal form KC, and letters of one script in a word")


def _check_action(action: object) -> None:
    """Policies compare actions as text, so that `Delete` must not be asked for where `delete` needs a second factor."""
    if type(action) is str and _is_plain_name(action) and action.islower():
        return
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


def _check_type(where: str, value: object, expected: type | tuple[type, ...]) -> None:
    right = isinstance(value, expected) and (expected is bool or not isinstance(value, bool))
    if right and isinstance(value, list):
        right = all(isinstance(item, str) for item in value)
    if not right:
        raise RequestError(f"{where} is of the wrong type", got=type(value).__name__, expected=_describe(expected))


def _describe(expected: type | tuple[type, ...]) -> str:
    names = {bool: "true or false", str: "a text", list: "a list of texts", dict: "an object", int: "a whole number"}
    return " or ".join(names[kind] for kind in (expected if isinstance(expected, tuple) else (expected,)))
