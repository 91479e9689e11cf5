"""A flag as it is defined: the flagd shape, and in its metadata who owns it and until when it may live."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from companyos.decision import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ("CONTROL", "HORIZON_DAYS", "KINDS", "RULES", "Flag", "define")

CONTROL = "FLAG-EXPIRY"
"""Id of the control; every rule of it begins so."""
KINDS = ("release", "ops", "kill-switch", "experiment")
"""What flags are for."""
HORIZON_DAYS = 400
"""How far ahead an expiry may lie: one beyond it would never be met, and so control nothing."""

RULES = {
    "FLAG-EXPIRY.description": "A flag does not say what it switches.",
    "FLAG-EXPIRY.duplicate": "A key occurs twice, so that one of the two definitions is silently ignored.",
    "FLAG-EXPIRY.expired": "A flag is past its expiry date.",
    "FLAG-EXPIRY.expires": "A flag has no expiry date, or not one of the form YYYY-MM-DD.",
    "FLAG-EXPIRY.horizon": f"A flag's expiry lies more than {HORIZON_DAYS} days ahead.",
    "FLAG-EXPIRY.issue": "A flag has no link to the issue that will remove it.",
    "FLAG-EXPIRY.kind": "A flag is of no known kind.",
    "FLAG-EXPIRY.owner": "A flag has no owner.",
    "FLAG-EXPIRY.shape": "A flag is not of the flagd shape and cannot be evaluated.",
}
"""Every rule by id, with what it means."""

_REFUSING = {f"{CONTROL}.{name}" for name in ("duplicate", "expired", "expires", "owner", "shape")}
_NOBODY = frozenset({"", "-", "?", "n/a", "na", "nobody", "none", "null", "owner", "tbd", "unknown", "unowned"})
_PLAIN = (str, bool, int, float)
_LINK = re.compile(r"https?://[^\s/]+/\S+")
_KEYS = frozenset({"state", "variants", "defaultVariant", "targeting", "metadata"})
_LOGIC = "! !! != !== % * + - / < <= == === > >= ?: all and cat filter if in log map max merge min missing missing_some"
_FLAGD = "none or reduce some substr var $ref ends_with fractional sem_ver starts_with"
_OPERATORS = frozenset(f"{_LOGIC} {_FLAGD}".split())
"""JsonLogic, and what flagd adds to it."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of a file."""

    key: str
    """Its name in code."""
    description: str
    """What it switches."""
    owner: str
    """Who answers for it; empty if nobody does."""
    expires: date | None
    """The last day on which it is evaluated (UTC)."""
    kind: str
    """`release`, `ops`, `kill-switch` or `experiment`."""
    issue: str
    """Link to the issue that will remove it."""
    definition: Mapping[str, Any]
    """Its flagd definition: `state`, `variants`, `defaultVariant`, `targeting`, `metadata`."""
    path: str | None = None
    """The file that defines it, as findings call it."""
    line: int | None = None
    """Where in that file, counted from 1."""
    problems: tuple[Finding, ...] = ()
    """What is wrong with it on any day."""

    def findings(self, today: date) -> tuple[Finding, ...]:
        """What is wrong with it on that day."""
        if self.expires is None:
            return self.problems
        if self.expires < today:
            days = (today - self.expires).days
            text = f"flag {self.key} of {self.owner or 'nobody'} expired on {self.expires}, {days} days ago"
            return (
                *self.problems,
                _finding("expired", text, self.path, self.line, f"remove the flag and its dead branch: {self.issue}"),
            )
        if self.expires - today > timedelta(days=HORIZON_DAYS):
            text = f"flag {self.key} expires on {self.expires}, more than {HORIZON_DAYS} days ahead"
            hint = "set a date on which to look at it again"
            return (*self.problems, _finding("horizon", text, self.path, self.line, hint))
        return self.problems

    def refusal(self, today: date) -> Finding | None:
        """Why it may not be evaluated on that day, or None."""
        return next((finding for finding in self.findings(today) if finding.rule in _REFUSING), None)


def define(key: str, value: Any, *, path: str, line: int | None, duplicate: bool = False) -> Flag:
    """The flag under `key`; whatever is wrong with it is among its `problems`."""
    whole = value if isinstance(value, dict) else {}
    found = whole.get("metadata")
    metadata: dict[str, Any] = found if isinstance(found, dict) else {}
    expires = _date(metadata.get("expires"))
    problems = [
        *(_finding("shape", f"flag {key}: {text}", path, line) for text in _shape(value)),
        *(_finding(rule, f"flag {key} {text}", path, line, hint) for rule, text, hint in _ownership(metadata, expires)),
    ]
    if duplicate:
        text = f"flag {key} has a key that occurs twice"
        problems.append(_finding("duplicate", text, path, line, "keep one of them"))
    return Flag(
        key=key,
        description=_text(metadata.get("description")),
        owner=_owner(metadata),
        expires=expires,
        kind=_text(metadata.get("kind")),
        issue=_text(metadata.get("issue")),
        definition=whole,
        path=path,
        line=line,
        problems=tuple(problems),
    )


def _ownership(metadata: dict[str, Any], expires: date | None) -> Iterator[tuple[str, str, str]]:
    if not _owner(metadata):
        yield "owner", "has no owner", "add metadata.owner: a team or a person"
    if expires is None:
        got = metadata.get("expires")
        yield "expires", f"has no expiry date (got {_show(got)})", "add metadata.expires: YYYY-MM-DD"
    if metadata.get("kind") not in KINDS:
        yield "kind", f"is of no known kind (got {_show(metadata.get('kind'))})", f"metadata.kind: {', '.join(KINDS)}"
    if not _LINK.fullmatch(_text(metadata.get("issue"))):
        yield "issue", "has no link to its clean-up issue", "add metadata.issue: https://..."
    if not _text(metadata.get("description")):
        yield "description", "does not say what it switches", "add metadata.description"


def _shape(value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"is not a mapping but {type(value).__name__}"
        return
    unknown = sorted(str(key) for key in value if key not in _KEYS)
    if unknown:
        yield f"unknown keys: {', '.join(unknown)} (known: {', '.join(sorted(_KEYS))})"
    if value.get("state") not in ("ENABLED", "DISABLED"):
        yield f"state is {_show(value.get('state'))}, expected ENABLED or DISABLED"
    yield from _variants(value)
    targeting = value.get("targeting")
    if targeting is not None:
        if not isinstance(targeting, dict):
            yield f"targeting is not a JsonLogic rule but {type(targeting).__name__}"
        yield from _unknown_operators(targeting, set())
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        yield "metadata is missing"
    elif not all(isinstance(name, str) and isinstance(item, _PLAIN) for name, item in metadata.items()):
        yield "metadata may hold only text, numbers and booleans"


def _variants(value: dict[str, Any]) -> Iterator[str]:
    variants = value.get("variants")
    if not isinstance(variants, dict) or not variants:
        yield "has no variants"
        return
    if not all(isinstance(name, str) for name in variants):
        yield "names of variants must be text: quote them"
    if len({_family(item) for item in variants.values()}) > 1:
        yield "its variants are of different types"
    if value.get("defaultVariant") not in list(variants):
        yield f"defaultVariant {_show(value.get('defaultVariant'))} is not one of its variants"


def _unknown_operators(rule: Any, seen: set[int]) -> Iterator[str]:
    # Aliases share what they stand for: each part is looked at once, or a nest of them would take for ever.
    if not isinstance(rule, list | dict) or id(rule) in seen:
        return
    seen.add(id(rule))
    if isinstance(rule, dict) and len(rule) == 1:
        operator = next(iter(rule))
        if operator not in _OPERATORS:
            yield f"targeting uses an unknown operator {operator!r}"
    for part in rule if isinstance(rule, list) else rule.values():
        yield from _unknown_operators(part, seen)


def _show(value: Any) -> str:
    # What is not plain is not written out: aliases can make a short text stand for an enormous one.
    return repr(value) if value is None or isinstance(value, _PLAIN) else f"a {type(value).__name__}"


def _family(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _date(value: Any) -> date | None:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


def _owner(metadata: dict[str, Any]) -> str:
    owner = _text(metadata.get("owner"))
    return "" if owner.lower() in _NOBODY else owner


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _finding(rule: str, message: str, path: str | None, line: int | None, hint: str | None = None) -> Finding:
    return Finding(f"{CONTROL}.{rule}", message, Severity.HIGH, path, line, hint)
