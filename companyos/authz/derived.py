"""Facts that every engine gets beside the request: jurisdictions, ranks on the clearance scale, who is multi-factor.

They are worked out here, once, so that no policy compares region names or clearances as text ("medium" sorts after
"high"). An unknown value is derived to the worst case, never to a pass.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from companyos.authz._text import plain
from companyos.canonical import digest
from companyos.jurisdictions import EEA, jurisdiction_of, table_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Set  # noqa: PYI025

    from companyos.ports import AccessRequest

__all__ = (
    "CLEARANCES",
    "MULTI_FACTOR_ACR",
    "derive",
    "facts_digest",
    "holds_personal_data",
    "is_highly_sensitive",
    "is_multi_factor",
    "rank",
    "required_clearance",
)

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
MULTI_FACTOR_ACR = "http://schemas.openid.net/pape/policies/2007/06/multi-factor"
"""OpenID's name for more than one factor (PAPE 1.0, section 4): the `acr_value` of the playbook's step-up."""
MULTI_FACTOR = frozenset({"mfa", "multi-factor", "phr", "phrh", "aal2", "aal3", MULTI_FACTOR_ACR})
"""Authentication strengths that are multi-factor: plain words, OpenID `acr` values, NIST SP 800-63B levels."""
_ABSENT: Final = object()
_NOTHING: Mapping[str, Any] = {}
_SHORT = 64
"""Longest name of a region whose jurisdiction is remembered, in characters."""


def derive(request: AccessRequest) -> dict[str, Any]:
    """The facts derived from a request, under the key `derived` of what an engine gets as input."""
    subject, resource, environment = request.subject, request.resource, request.environment
    attributes = subject.get("attributes", _NOTHING)
    return {
        "resource": {
            **_places(resource.get("region", _ABSENT), resource.get("jurisdiction", _ABSENT)),
            "personal": holds_personal_data(resource),
            "required_clearance": required_clearance(resource),
            "high_sensitivity": is_highly_sensitive(resource),
        },
        "destination": _places(
            resource.get("destination_region", _ABSENT), environment.get("destination_region", _ABSENT)
        ),
        "subject": {
            **_places(
                attributes.get("region", _ABSENT),
                attributes.get("jurisdiction", _ABSENT),
                subject.get("region", _ABSENT),
                subject.get("jurisdiction", _ABSENT),
            ),
            "clearance": rank(attributes.get("clearance"), unknown=UNKNOWN_CLEARANCE),
        },
        "multi_factor": is_multi_factor(environment.get("auth_strength")),
    }


def holds_personal_data(resource: Mapping[str, Any]) -> bool:
    """Whether a resource says that it holds personal data, or has a class of data that is not known to hold none."""
    return bool(resource.get("contains_pii", False)) or not _is_among(resource.get("classification"), NON_PERSONAL)


def is_highly_sensitive(resource: Mapping[str, Any]) -> bool:
    """Whether a resource states a sensitivity that is not known to be low."""
    return not _is_among(resource.get("sensitivity"), LOW_SENSITIVITY)


def required_clearance(resource: Mapping[str, Any]) -> int:
    """The rank that a resource requires; one that is not on the scale is above everyone's."""
    if "required_clearance" not in resource:
        return 0
    return rank(resource["required_clearance"], unknown=UNKNOWN_REQUIREMENT)


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


def _places(*stated: Any) -> dict[str, Any]:
    """What is known of all places stated: each must lie within, and where they differ there is no one jurisdiction."""
    found = [_jurisdiction(place) for place in stated if place is not _ABSENT]
    if not found:
        return {"stated": False, "jurisdiction": None, "in_eea": False}
    first = found[0]
    if found.count(first) == len(found):
        return {"stated": True, "jurisdiction": first, "in_eea": first in EEA}
    return {"stated": True, "jurisdiction": None, "in_eea": all(place in EEA for place in found)}


def _jurisdiction(place: object) -> str | None:
    region = place if isinstance(place, str) else str(place)
    # The table never changes; what is remembered of what callers send is bounded in number and in length.
    return _remembered(region) if len(region) <= _SHORT else jurisdiction_of(region)


@functools.lru_cache(maxsize=1024)
def _remembered(region: str) -> str | None:
    return jurisdiction_of(region)


def _is_among(stated: object, words: Set[str]) -> bool:
    """Whether a word is on a list, or not stated at all."""
    if stated is None or (type(stated) is str and stated in words):
        return True
    return plain(str(stated)).replace("-", "_").replace(" ", "_") in words
