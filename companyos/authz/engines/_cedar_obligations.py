"""Obligations as Cedar policies annotate them: JSON, in which `{"$from": "resource.owner"}` takes a request's value.

`{"$from": PATH, "$default": VALUE}` gives the default for what the request does not say or leaves empty; without a
default, what the request does not say is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos._json import strict_loads
from companyos.authz.engines._shape import obligation
from companyos.authz.interface import PolicyError
from companyos.authz.request import copy_json
from companyos.decision import Obligation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ("Template", "parse_obligations")

_ROOTS = ("subject", "action", "resource", "environment", "derived")
_FROM, _DEFAULT = "$from", "$default"
_ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class Template:
    """One obligation, with places for values of the request."""

    id: str
    """Which obligation."""
    type: str
    """Its type in the obligations profile."""
    properties: Mapping[str, Any]
    """Its arguments, places among them."""
    roots: frozenset[str]
    """The parts of a request that its places name."""

    def fill(self, document: Mapping[str, Any]) -> Obligation:
        """The obligation for a request; its values are the caller's own."""
        properties = _fill(self.properties, document) if self.roots else copy_json(self.properties)
        return Obligation(self.id, self.type, properties)


def parse_obligations(text: str, place: str) -> tuple[Template, ...]:
    """The obligations in an annotation.

    Raises:
        PolicyError: it is no JSON list of at least one obligation, or takes a value from nowhere.
    """
    try:
        listed = strict_loads(text)
        if not isinstance(listed, list) or not listed:
            raise ValueError("it is no list of obligations")  # noqa: TRY301 - one place makes one error of them
        return tuple(_template(entry) for entry in listed)
    except (ValueError, TypeError, KeyError) as error:
        raise PolicyError(
            "the obligations of a policy are not valid",
            got=f"{place}: {error}",
            expected='a JSON list such as [{"id": "mask_fields", "properties": {"fields": ["iban"]}}]',
        ) from error


def _template(entry: Any) -> Template:
    checked = obligation(entry)
    _check_keys(entry)
    return Template(checked.id, checked.type, checked.properties, frozenset(_roots(checked.properties)))


def _check_keys(entry: Mapping[str, Any]) -> None:
    unknown = sorted(entry.keys() - {"id", "type", "properties"})
    if unknown:
        raise ValueError(f"an obligation has no {', '.join(unknown)}")
    if _FROM in entry.get("properties", {}):
        raise ValueError(f"{_FROM} stands for one property, not for all")


def _roots(value: Any) -> Iterator[str]:
    """The parts of a request that places in a value name; anything else that begins with a dollar is refused."""
    if isinstance(value, list):
        for item in value:
            yield from _roots(item)
    elif isinstance(value, dict):
        if _FROM in value:
            yield _root(value)
        for key, item in value.items():
            if key.startswith("$") and not (_FROM in value and key in {_FROM, _DEFAULT}):
                raise ValueError(f"{key} means nothing here")
            yield from _roots(item)


def _root(place: Mapping[str, Any]) -> str:
    path = place[_FROM]
    steps = path.split(".") if isinstance(path, str) else [""]
    if place.keys() - {_FROM, _DEFAULT} or steps[0] not in _ROOTS or not all(steps):
        raise ValueError(f"{_FROM} names no place of a request: {path!r}")
    return steps[0]


def _fill(value: Any, document: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        filled = [_fill(item, document) for item in value]
        return [item for item in filled if item is not _ABSENT]
    if not isinstance(value, dict):
        return value
    if _FROM in value:
        return _taken(value, document)
    pairs = {key: _fill(item, document) for key, item in value.items()}
    return {key: item for key, item in pairs.items() if item is not _ABSENT}


def _taken(value: Mapping[str, Any], document: Mapping[str, Any]) -> Any:
    found: Any = document
    for step in value[_FROM].split("."):
        found = found.get(step, _ABSENT) if hasattr(found, "get") else _ABSENT
    if _DEFAULT in value and (found is _ABSENT or found is None or (hasattr(found, "__len__") and not len(found))):
        return _fill(value[_DEFAULT], document)
    return found if found is _ABSENT else copy_json(found)
