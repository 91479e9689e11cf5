"""The vocabulary of control: one kind of answer for every check, from `authorize()` to a release gate.

A `Decision` is allowed, denied or *undetermined*. The third is what a check answers when it could not do its
work (a scanner missing, a proof that cannot be verified, a store that does not reply); it is a refusal with its
own reason, so that nothing that was not checked can pass for good.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ("Decision", "Finding", "Obligation", "Severity", "Verdict", "combine")


def _now() -> datetime:
    return datetime.now(UTC)


class Verdict(enum.Enum):
    """What a control concluded."""

    ALLOW = "allow"
    DENY = "deny"
    UNDETERMINED = "undetermined"


class Severity(enum.IntEnum):
    """How much a finding matters; ordered, so that thresholds can be compared."""

    INFO = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    @property
    def label(self) -> str:
        """The lower-case name used in reports and policies."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Obligation:
    """Something the caller must carry out before an allowed action is really allowed.

    The shape is that of the AuthZEN Obligations Profile (draft 1): `id`, `type`, `properties`. An obligation that
    nobody can carry out turns the decision into a deny.
    """

    id: str
    """Which obligation this is within the decision, for example `mask_fields`."""
    type: str = "custom"
    """The profile's type: `step-up`, `notification`, `session_termination` or `custom`."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """Arguments for the handler, JSON values only."""

    def to_dict(self) -> dict[str, Any]:
        """The obligation as a JSON object."""
        return {"id": self.id, "type": self.type, "properties": dict(self.properties)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a control saw, with the place where it saw it."""

    rule: str
    """Stable id of the rule that fired, for example `G02.private-key`."""
    message: str
    """What is wrong, for a person; never contains the secret or personal value itself."""
    severity: Severity = Severity.HIGH
    """How much it matters."""
    path: str | None = None
    """File it was found in, relative to what was checked, with forward slashes."""
    line: int | None = None
    """Line in that file, counted from 1."""
    hint: str | None = None
    """The next step that would remove the finding."""

    def to_dict(self) -> dict[str, Any]:
        """The finding as a JSON object; absent places are left out."""
        values: dict[str, Any] = {
            "rule": self.rule,
            "message": self.message,
            "severity": self.severity.label,
            "path": self.path,
            "line": self.line,
            "hint": self.hint,
        }
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer of a control: a verdict, why, what must still be done, and where it is recorded.

    Look at `allow` (and discharge `obligations`); a `Decision` has no truth value of its own, because
    `if decision:` would forget the obligations and hide an undetermined answer.
    """

    verdict: Verdict
    """Allowed, denied or undetermined."""
    reason: str
    """Stable id of the policy or rule that decided, for example `policy.eu_residency`."""
    message: str = ""
    """The same for a person, in one sentence."""
    obligations: tuple[Obligation, ...] = ()
    """What the caller must carry out."""
    findings: tuple[Finding, ...] = ()
    """What was seen on the way."""
    audit_id: str | None = None
    """Id of the ledger entry that records this decision; None until it is recorded."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Figures and digests that the decision rests on, JSON values only."""
    durable: bool = False
    """Whether that entry is on the ledger already; False while it waits in a batch, and if nothing was recorded."""
    decided_at: datetime = field(default_factory=_now, compare=False, repr=False)
    """When it was made: aware, UTC. It tells how old an allow is, and is neither compared nor part of the JSON."""

    @classmethod
    def allowed(
        cls,
        reason: str,
        message: str = "",
        *,
        obligations: Iterable[Obligation] = (),
        findings: Iterable[Finding] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> Decision:
        """An allowing decision."""
        return cls(Verdict.ALLOW, reason, message, tuple(obligations), tuple(findings), facts=facts or {})

    @classmethod
    def denied(
        cls,
        reason: str,
        message: str = "",
        *,
        obligations: Iterable[Obligation] = (),
        findings: Iterable[Finding] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> Decision:
        """A refusing decision."""
        return cls(Verdict.DENY, reason, message, tuple(obligations), tuple(findings), facts=facts or {})

    @classmethod
    def undetermined(
        cls,
        reason: str,
        message: str = "",
        *,
        findings: Iterable[Finding] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> Decision:
        """A refusal because the check itself could not be made."""
        return cls(Verdict.UNDETERMINED, reason, message, findings=tuple(findings), facts=facts or {})

    @property
    def allow(self) -> bool:
        """True only for an allowing verdict."""
        return self.verdict is Verdict.ALLOW

    @property
    def exit_status(self) -> int:
        """The exit status of a command that answers with this decision: 0, 1 (refused) or 3 (could not check)."""
        return {Verdict.ALLOW: 0, Verdict.DENY: 1, Verdict.UNDETERMINED: 3}[self.verdict]

    def __bool__(self) -> bool:
        raise TypeError("a Decision has no truth value: read decision.allow and its obligations")

    def recorded(self, audit_id: str, *, durable: bool = True) -> Decision:
        """The same decision, carrying the id of the ledger entry that holds it, or will hold it if not `durable`."""
        return Decision(
            self.verdict,
            self.reason,
            self.message,
            self.obligations,
            self.findings,
            audit_id,
            self.facts,
            durable,
            self.decided_at,
        )

    def to_dict(self) -> dict[str, Any]:
        """The decision as a JSON object, with the playbook's keys."""
        return {
            "decision": self.verdict.value,
            "reason": self.reason,
            "message": self.message,
            "obligations": [obligation.to_dict() for obligation in self.obligations],
            "findings": [finding.to_dict() for finding in self.findings],
            "facts": dict(self.facts),
            "audit_id": self.audit_id,
            "durable": self.durable,
        }


def combine(decisions: Iterable[Decision], *, reason: str) -> Decision:
    """One decision out of many by a fixed rule, whatever their order: deny wins, then undetermined, then allow.

    Obligations and findings are collected from all of them. No decision at all is undetermined: a gate without
    controls has checked nothing.
    """
    parts = tuple(decisions)
    if not parts:
        return Decision.undetermined(f"{reason}.empty", "nothing was checked")
    for verdict in (Verdict.DENY, Verdict.UNDETERMINED, Verdict.ALLOW):
        deciding = [part for part in parts if part.verdict is verdict]
        if deciding:
            break
    return Decision(
        verdict=verdict,
        reason=reason if verdict is Verdict.ALLOW else deciding[0].reason,
        message="; ".join(part.message for part in deciding if part.message),
        obligations=tuple(o for part in parts for o in part.obligations),
        findings=tuple(f for part in parts for f in part.findings),
        facts={"parts": [part.to_dict() for part in parts]},
    )
