"""One specimen for each entry of the tables that decisions rest on: words, roles, clearances, countries.

The lists are written out a second time on purpose, as double-entry bookkeeping: a word that is lost from a table, or
slips into the wrong one, makes the proof fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.authz.specimens._case import case

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from companyos.controls import Specimen

__all__ = ("table_specimens",)

_ABOUT_PEOPLE = (
    "pii;PII; pii ;personal;personal data;sensitive_pii;sensitive-personal;special_category;phi;restricted;"
    "confidential;pii,public;zz;;\uff50\uff49\uff49"
)
_NOT_ABOUT_PEOPLE = (
    "anonymised anonymized anonymous internal non_personal none operational public synthetic technical "
    "Public NON-PERSONAL"
)
_SENSITIVE = (
    "high;High;high ;HIGH;restricted;critical;secret;top;very-high;confidential;pii;zz;;\uff48\uff49\uff47\uff48"
)
_NOT_SENSITIVE = "internal low medium moderate none normal public Low"
_STRONG = "mfa multi-factor phr phrh aal2 aal3 http://schemas.openid.net/pape/policies/2007/06/multi-factor MFA"
_WEAK = (
    "password pwd pin otp sms email basic single-factor 1fa aal1 phrx none true "
    "http://schemas.openid.net/pape/policies/2007/06/none"
)
_RANKS = {
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
_WITHIN = (
    "at be bg cy cz de dk ee es fi fr gr hr hu ie it lt lu lv mt nl pl pt ro se si sk is li no eu eea EU eu-central-1a"
)
_OUTSIDE = (
    "ae au bh br ca ch cl cn gb hk id il in jp kr kw mx my nz ph qa sa sg th tr tw us vn za uk usa global on-premise"
)
_GRANTS = {"editor": {"write"}, "admin": {"read", "write", "delete", "transfer", "export", "launch"}, "owner": set()}


def table_specimens() -> Iterator[Specimen]:
    """The specimens, in the order of the tables."""
    yield from _words()
    yield from _factors()
    yield from _clearances()
    yield from _places()
    yield from _grants()


def _words() -> Iterator[Specimen]:
    us: dict[str, Any] = {"region": "us-east-1"}
    for word in _ABOUT_PEOPLE.split(";"):
        resource = {**us, "classification": word}
        yield case(f"classified {word!r} in the US", "read", resource=resource, violates="policy.eu_residency")
    for word in _NOT_ABOUT_PEOPLE.split():
        yield case(f"classified {word!r} in the US", "read", resource={**us, "classification": word})
    for word in _SENSITIVE.split(";"):
        resource = {"sensitivity": word}
        yield case(f"a sensitivity of {word!r}", "read", resource=resource, violates="obligation.require_mfa")
    for word in _NOT_SENSITIVE.split():
        yield case(f"a sensitivity of {word!r}", "read", resource={"sensitivity": word})


def _factors() -> Iterator[Specimen]:
    own = {"owner": "u-1"}
    for word in _STRONG.split():
        yield case(f"a deletion by {word}", "delete", resource=own, environment={"auth_strength": word})
    for word in _WEAK.split():
        strength = {"auth_strength": word}
        yield case(
            f"a deletion by {word}", "delete", resource=own, environment=strength, violates="obligation.require_mfa"
        )


def _clearances() -> Iterator[Specimen]:
    for word, rank in _RANKS.items():
        yield from _against(f"{word} against its rank", word, rank, rank, word)
        if rank < max(_RANKS.values()):
            yield from _below(f"{word} against the rank above", word, rank + 1)
        if rank > 0:
            yield from _below(f"the rank below against {word}", rank - 1, word)


def _against(name: str, word: str, required: int, held: int, required_word: str) -> Iterator[Specimen]:
    yield case(name, "read", attributes={"clearance": word}, resource={"required_clearance": required})
    yield case(
        f"{name}, turned round", "read", attributes={"clearance": held}, resource={"required_clearance": required_word}
    )


def _below(name: str, held: str | int, required: str | int) -> Iterator[Specimen]:
    resource = {"required_clearance": required}
    yield case(name, "read", attributes={"clearance": held}, resource=resource, violates="obligation.mask_fields")


def _places() -> Iterator[Specimen]:
    for place in _WITHIN.split():
        yield case(f"personal data in {place}", "read", resource=_held(place))
    for place in _OUTSIDE.split():
        yield case(f"personal data in {place}", "read", resource=_held(place), violates="policy.eu_residency")


def _held(place: str) -> Mapping[str, Any]:
    return {"region": place, "contains_pii": True}


def _grants() -> Iterator[Specimen]:
    actions = ("write", "delete", "transfer", "launch")
    for role, granted in _GRANTS.items():
        for action in actions:
            rule = None if action in granted else "policy.default_deny"
            given: dict[str, Any] = {"attributes": {"roles": [role]}, "environment": {"auth_strength": "mfa"}}
            yield case(f"{action} by the role {role}", action, **given, violates=rule)
    for action in actions:
        rule = "policy.default_deny" if action == "launch" else None
        own: dict[str, Any] = {"resource": {"owner": "u-1"}, "environment": {"auth_strength": "mfa"}}
        yield case(f"{action} by nobody special", action, violates="policy.default_deny")
        yield case(f"{action} by the owner", action, **own, violates=rule)
