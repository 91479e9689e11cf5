"""Facts that every engine gets beside the request: jurisdictions, ranks on the clearance scale, who is multi-factor.

They are worked out here, once, so that no policy compares region names or clearances as text ("medium" sorts after
"high"). An unknown value is derived to the worst case, never to a pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.authz._text import plain
from companyos.canonical import digest
from companyos.jurisdictions import is_within_eea, jurisdiction_of, table_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Set  # noqa: PYI025

    from companyos.ports import AccessRequest

__all__ = ("CLEARANCES", "derive", "facts_digest", "is_multi_factor", "rank")

CLEARANCES = {
    "none": 0,
    "public": 0,
    "low": 1,
    "internal": 1,
    "medium": 2,
    "confidential": 2,
    "high": 3,
    "restricted": 3,
    "top": 4,
}
"""The ordered scale of clearances; a whole number from 0 to 4 names its rank directly."""
HIGHEST = 4
UNKNOWN_REQUIREMENT = HIGHEST + 1
"""Rank of a required clearance that is not on the scale: above everyone."""
UNKNOWN_CLEARANCE = 0
"""Rank of a subject without a clearance that is on the scale: that of the public."""

NON_PERSONAL = frozenset(
    {"anonymised", "anonymized", "anonymous", "internal", "non_personal", "none", "operational", "public", "synthetic"}
    | {"technical"}
)
"""Classifications of data that are not about people; every other one, known or not, counts as personal."""
LOW_SENSITIVITY = frozenset({"internal", "low", "medium", "moderate", "none", "normal", "public"})
"""Sensitivities that need no step-up; every other one, known or not, counts as high."""
MULTI_FACTOR = frozenset({"mfa", "multi-factor", "phr", "phrh", "aal2", "aal3"})
"""Authentication strengths that are multi-factor: plain words, OpenID `acr` values, NIST SP 800-63B levels."""


def derive(request: AccessRequest) -> dict[str, Any]:
    """The facts derived from a request, under the key `derived` of what an engine gets as input."""
    subject = _attributes(request.subject)
    resource = request.resource
    home = _stated((subject, request.subject), ("region", "jurisdiction"))
    destination = _stated((resource, request.environment), ("destination_region",))
    return {
        "resource": {
            **_places(_stated((resource,), ("region", "jurisdiction"))),
            "personal": _is_personal(resource),
            "required_clearance": _required(resource),
            "high_sensitivity": not _is_among(resource.get("sensitivity"), LOW_SENSITIVITY),
        },
        "destination": _places(destination),
        "subject": {**_places(home), "clearance": rank(subject.get("clearance"), unknown=UNKNOWN_CLEARANCE)},
        "multi_factor": is_multi_factor(request.environment.get("auth_strength")),
    }


def rank(level: object, *, unknown: int) -> int:
    """The rank of a clearance on the scale, or `unknown` where it is none of it."""
    if isinstance(level, bool):
        return unknown
    if isinstance(level, int):
        return level if 0 <= level <= HIGHEST else unknown
    return CLEARANCES.get(level.strip().lower(), unknown) if isinstance(level, str) else unknown


def is_multi_factor(strength: object) -> bool:
    """Whether a statement of how somebody authenticated means more than one factor."""
    return isinstance(strength, str) and strength.strip().lower() in MULTI_FACTOR


def facts_digest() -> str:
    """Digest of the tables that the derived facts rest on; part of an engine's version."""
    return digest(
        {
            "clearances": CLEARANCES,
            "jurisdictions": table_digest(),
            "multi_factor": sorted(MULTI_FACTOR),
            "non_personal": sorted(NON_PERSONAL),
            "low_sensitivity": sorted(LOW_SENSITIVITY),
        }
    )


def _attributes(subject: Mapping[str, Any]) -> Mapping[str, Any]:
    attributes: Mapping[str, Any] = subject.get("attributes", {})
    return attributes


def _stated(holders: Iterable[Mapping[str, Any]], names: Iterable[str]) -> list[str]:
    return [str(holder[name]) for holder in holders for name in names if name in holder]


def _places(regions: Sequence[str]) -> dict[str, Any]:
    """What is known of all places stated: each must lie within, and where they differ there is no one jurisdiction."""
    found = {jurisdiction_of(region) for region in regions}
    return {
        "stated": bool(regions),
        "jurisdiction": found.pop() if len(found) == 1 else None,
        "in_eea": bool(regions) and all(is_within_eea(region) for region in regions),
    }


def _is_personal(resource: Mapping[str, Any]) -> bool:
    return bool(resource.get("contains_pii", False)) or not _is_among(resource.get("classification"), NON_PERSONAL)


def _is_among(stated: object, words: Set[str]) -> bool:
    """Whether a word is on a list, or not stated at all."""
    return stated is None or plain(str(stated)).replace("-", "_").replace(" ", "_") in words


def _required(resource: Mapping[str, Any]) -> int:
    if "required_clearance" not in resource:
        return 0
    return rank(resource["required_clearance"], unknown=UNKNOWN_REQUIREMENT)
