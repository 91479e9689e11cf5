"""The head of every OpenSLO object: section "Notes (General Schema)"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.observability.slo.openslo import Metadata, Place

if TYPE_CHECKING:
    from companyos.observability.slo.fields import Fields

__all__ = ("described", "header")

LONGEST_DESCRIPTION = 1050


def header(top: Fields) -> Metadata | None:
    """`metadata`, or None where it or its name is missing."""
    fields = top.fields("metadata", required=True)
    if fields is None:
        return None
    fields.only("name", "displayName", "labels", "annotations")
    name = fields.name("name")
    shown = fields.text("displayName")
    labels, annotations = _pairs(fields, "labels", lists=True), _pairs(fields, "annotations", lists=False)
    if not name:
        return None
    return Metadata(name, shown or name, labels, annotations, Place(top.file, top.line))


def described(spec: Fields) -> str:
    """`description`, of the length that the specification allows."""
    text = spec.text("description")
    if len(text) > LONGEST_DESCRIPTION:
        spec.problem("description", f"{len(text)} characters; at most {LONGEST_DESCRIPTION}")
    return text


def _pairs(fields: Fields, key: str, *, lists: bool) -> dict[str, str]:
    held = fields.fields(key)
    if held is None:
        return {}
    pairs = {}
    for name, node in held.keys():  # noqa: SIM118 - not a dict
        if lists and isinstance(node.value, list):
            pairs[name] = ",".join(item.text for item in node.value if not isinstance(item.value, dict | list))
        else:
            pairs[name] = held.text(name)
    return pairs
