"""What a decision and a discharged obligation leave on the ledger.

Who asked, from where and on which device is about a person: those fields are `Personal`, so that the ledger holds them
encrypted under that person's key.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from companyos.authz._text import plain
from companyos.ports import Personal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from companyos.decision import Decision, Obligation
    from companyos.ports import AccessRequest, LedgerPort, Receipt

__all__ = ("DECISION", "DISCHARGE", "SOURCE", "active_trace", "append_decision", "append_discharge", "append_invalid")

SOURCE = "companyos/authz"
"""`source` of every entry of this room."""
DECISION = "companyos.authz.decision"
"""Type of the entry that records a decision."""
DISCHARGE = "companyos.authz.obligation"
"""Type of the entry that records what became of an obligation."""

_IMPERSONAL_TYPES = (
    "api app application bucket budget collection container dashboard database dataset deployment directory doc "
    "document endpoint environment feature feature_flag file folder host image index job model notebook object package "
    "pipeline policy project prompt queue release report repository schema secret service stream table tool topic view "
    "workflow workspace"
)
_IMPERSONAL = frozenset(_IMPERSONAL_TYPES.split())
"""Types of resource whose ids are not about people; the id of any other is stored encrypted."""


def append_decision(ledger: LedgerPort, request: AccessRequest, decision: Decision) -> Receipt:
    """Record a decision: actor, verb, target, policy, obligations, ip and device, under a fresh id (UUID 4)."""
    person = request.subject["id"]
    return _append(ledger, _decision_data(request, decision, person), Personal(person, person))


def append_invalid(ledger: LedgerPort, decision: Decision) -> Receipt:
    """Record that a malformed request was refused; none of its values is kept, for nobody knows what they hold."""
    nobody = {"actor": None, "actor_type": None, "verb": None, "target": None, "ip": None, "device": None}
    return _append(ledger, {**_verdict(decision), **nobody, "trace_id": active_trace()}, None)


def append_discharge(
    ledger: LedgerPort, decision: Decision, obligation: Obligation, *, outcome: str, detail: str = ""
) -> Receipt:
    """Record what became of an obligation (`discharged`, `refused` or `moot`), tied to its decision by the audit id."""
    data = {
        "decision_id": decision.audit_id,
        "reason": decision.reason,
        "obligation": obligation.to_dict(),
        "outcome": outcome,
        "detail": detail,
        "trace_id": active_trace(),
    }
    return ledger.append(DISCHARGE, data, id=str(uuid.uuid4()), source=SOURCE)


def _append(ledger: LedgerPort, data: Mapping[str, Any], subject: Personal | None) -> Receipt:
    return ledger.append(DECISION, data, id=str(uuid.uuid4()), source=SOURCE, subject=subject)


def _decision_data(request: AccessRequest, decision: Decision, person: str) -> dict[str, Any]:
    environment = request.environment
    device = {key: environment[key] for key in ("device_id", "device_trust") if key in environment}
    return {
        **_verdict(decision),
        "actor": Personal(person, person),
        "actor_type": request.subject["type"],
        "verb": request.action,
        "target": _target(request.resource),
        "ip": Personal(environment["ip"], person) if "ip" in environment else None,
        "device": Personal(device, person) if device else None,
        "auth_strength": environment.get("auth_strength"),
        "approval_ticket": environment.get("approval_ticket"),
        "trace_id": environment.get("trace_id") or active_trace(),
    }


def _verdict(decision: Decision) -> dict[str, Any]:
    return {
        "decision": decision.verdict.value,
        "reason": decision.reason,
        "message": decision.message,
        "policy": {
            "id": decision.reason,
            "digest": decision.facts.get("policy_digest"),
            "engine": decision.facts.get("engine"),
        },
        "obligations": [obligation.to_dict() for obligation in decision.obligations],
        # An entry is signed by the checkpoint over the log that holds it, not one by one.
        "signature": {"by": "checkpoint"},
    }


def _target(resource: Mapping[str, Any]) -> dict[str, Any]:
    identity = resource["id"]
    is_impersonal = plain(resource["type"]).replace("-", "_").replace(" ", "_") in _IMPERSONAL
    return {
        "type": resource["type"],
        "id": identity if is_impersonal else Personal(identity, identity),
        "region": resource.get("region"),
    }


def active_trace() -> str | None:
    """The trace id of the span around this call, if there is one: 32 hexadecimal digits."""
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None
