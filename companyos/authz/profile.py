"""What the AuthZEN Obligations Profile (draft 1) demands of an obligation by its type, and how ours meet it.

Source: openid/authzen, `profiles/authzen-obligations-profile-1_0.md`, sections "The Obligation Object" and "Normative
Obligation Types". A caller that follows it cannot comply with an obligation that lacks a required member, and denies.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from companyos.decision import Obligation

__all__ = ("CUSTOM", "OBLIGATION_TYPES", "conforms", "served", "with_own_ids", "with_unique_ids")

CUSTOM = "custom"
"""The type whose meaning is agreed between two parties; it may carry any properties."""
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    CUSTOM: (),
    "notification": ("to", "body"),
    "session_termination": ("subject",),
    "step-up": ("acr_value",),
}
_MAY_BE_TEXT: Mapping[str, tuple[str, ...]] = {"notification": ("topic",)}
_MAY_BE_TEXTS: Mapping[str, tuple[str, ...]] = {"step-up": ("amr_values",)}
OBLIGATION_TYPES = tuple(sorted(_REQUIRED))
"""The types of the profile."""
_AGAIN = "#"


def conforms(kind: str, properties: Mapping[str, Any]) -> bool:
    """Whether an obligation of this type has what the profile demands, and each in its JSON type."""
    if kind not in _REQUIRED:
        return False
    texts = [properties[key] for key in _MAY_BE_TEXT.get(kind, ()) if key in properties]
    lists = [properties[key] for key in _MAY_BE_TEXTS.get(kind, ()) if key in properties]
    return (
        all(_is_text(properties.get(key)) for key in _REQUIRED[kind])
        and all(isinstance(text, str) for text in texts)
        and all(isinstance(item, list | tuple) and all(map(_is_text, item)) for item in lists)
    )


def served(obligations: Iterable[Obligation]) -> tuple[Obligation, ...]:
    """The obligations as a decision point may serve them.

    One that a policy gives a type whose demands it does not meet leaves as `custom`: its meaning is then known only to
    those who agreed on its id, and whoever did not must deny, instead of taking it for half of something standard.
    """
    return tuple(item if conforms(item.type, item.properties) else replace(item, type=CUSTOM) for item in obligations)


def with_unique_ids(values: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """JSON obligations with an id each, as the profile demands: the second `mask_fields` is `mask_fields#2`."""
    listed = [dict(value) for value in values]
    taken = {value["id"] for value in listed}
    seen: set[str] = set()
    for value in listed:
        own, number = value["id"], 2
        if own in seen:
            while f"{own}{_AGAIN}{number}" in taken:
                number += 1
            value["id"] = f"{own}{_AGAIN}{number}"
            taken.add(value["id"])
        seen.add(own)
    return listed


def with_own_ids(obligations: Iterable[Obligation]) -> tuple[Obligation, ...]:
    """The reverse: `mask_fields#2` beside a `mask_fields` of the same type is `mask_fields` once more."""
    listed = tuple(obligations)
    kinds = {item.id: item.type for item in listed}
    return tuple(_with_own_id(item, kinds) for item in listed)


def _with_own_id(item: Obligation, kinds: Mapping[str, str]) -> Obligation:
    own, mark, number = item.id.rpartition(_AGAIN)
    is_again = bool(mark) and number.isdecimal() and kinds.get(own) == item.type
    return replace(item, id=own) if is_again else item


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
