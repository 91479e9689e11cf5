"""The three rules on infrastructure: whose it is, how long a preview lives, what CI runs on."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from companyos.decision import Finding, Severity
from companyos.finops.infrastructure.interface import Unread, folded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from companyos.finops.infrastructure.interface import Policy, Resource

__all__ = ("RULES", "UNKNOWN", "judged", "lifetime")

RULES = {
    "FINOPS-TAGS.missing": "Something that costs money lacks a required tag, or the tag has no value.",
    "FINOPS-TAGS.ttl": "A preview has no lifetime, one that cannot be read, or one longer than four hours.",
    "FINOPS-TAGS.spot": "A stateless CI workload does not run on spot capacity.",
}
UNKNOWN = re.compile(r"\$\{.*\}", re.DOTALL)
"""A value that is worked out elsewhere."""
_STAGES = frozenset({"environment", "env", "type", "stage", "tier", "lifecycle"})
_PREVIEW = re.compile(r"(preview|review|ephemeral)([-_/].*)?|pr-?[0-9]+", re.IGNORECASE)
_PURPOSES = frozenset({"workload", "workloadtype", "purpose", "role", "component"})
_CI = frozenset({"ci", "cirunner", "cijob", "cibuild", "runner"})
_TTL = frozenset({"ttl", "timetolive", "maxlifetime"})
_SPAN = re.compile(
    r"(?=[PT]*[0-9])P?(?:(\d{1,4})d)?T?(?:(\d{1,5})h)?(?:(\d{1,6})m(?:in)?)?(?:(\d{1,8})s)?", re.IGNORECASE
)


def judged(resources: Iterable[Resource], policy: Policy) -> Iterator[Finding | Unread]:
    """What is wrong with each, and what cannot be told."""
    known = list(resources)
    bounded = {one.address for one in known if one.address.startswith("Namespace/")}
    for one in known:
        yield from _tags(one, policy)
        yield from _lifetime(one, policy, bounded)
        yield from _spot(one)


def lifetime(text: str) -> timedelta | None:
    """The span that a text such as `4h`, `90m` or `PT3H30M` writes; None if it writes none."""
    match = _SPAN.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _tags(one: Resource, policy: Policy) -> Iterator[Finding | Unread]:
    for key in policy.required:
        if one.tag(key) is not None:
            continue
        if one.unresolved:
            yield _unread(one, f"whether it has {key} hangs on {', '.join(one.unresolved)}")
            continue
        other = next((name for name in one.tags if folded(name) == folded(key)), None)
        what = "has an empty" if other == key else "has no"
        but = f" ({other} is another key)" if other not in {None, key} else ""
        yield _finding("missing", one, f"{one.address} {what} {key}{but}", f"tag it: {key} = …", Severity.HIGH)


def _lifetime(one: Resource, policy: Policy, bounded: set[str]) -> Iterator[Finding | Unread]:
    stages = [value for key, value in one.tags.items() if folded(key) in _STAGES]
    name = one.address.rpartition("/")[2] if one.address.startswith("Namespace/") else ""
    is_preview = any(_PREVIEW.fullmatch(value.strip()) for value in (*stages, name))
    cannot_tell = any(UNKNOWN.search(value) for value in stages)
    if one.lives_in in bounded or not (is_preview or cannot_tell):
        return
    spans = [value for key, value in one.tags.items() if folded(key) in _TTL]
    known = [lifetime(value) for value in spans]
    if spans and all(span is not None and timedelta(0) < span <= policy.longest for span in known):
        return
    if cannot_tell or any(UNKNOWN.search(value) for value in spans) or (not spans and one.unresolved):
        yield _unread(one, "whether it is a preview, and how long it lives, is worked out elsewhere")
        return
    hours = policy.longest / timedelta(hours=1)
    got = f"lives {spans[0]}" if spans else "has no TTL"
    yield _finding("ttl", one, f"preview {one.address} {got}", f"TTL = {hours:g}h, or less", Severity.MEDIUM)


def _spot(one: Resource) -> Iterator[Finding | Unread]:
    purposes = [folded(value) for key, value in one.tags.items() if folded(key) in _PURPOSES]
    if one.on_spot is False and not one.keeps_state and _CI & set(purposes):
        hint = "run it on spot capacity, or say stateful = true"
        yield _finding("spot", one, f"CI workload {one.address} is not on spot capacity", hint, Severity.MEDIUM)


def _finding(rule: str, one: Resource, message: str, hint: str, severity: Severity) -> Finding:
    return Finding(f"FINOPS-TAGS.{rule}", message, severity, path=one.path, line=one.line, hint=hint)


def _unread(one: Resource, why: str) -> Unread:
    return Unread(one.path, f"{one.address}: {why}")
