"""What a decision and a discharged obligation leave on the ledger.

Who asked, from where and on which device is about a person: those fields are `Personal`, so that the ledger holds them
encrypted under that person's key. Where from and on which device is kept for a shorter time than the decision itself:
an entry of its own holds it, right behind the decision's, and the payload of that entry is dropped when the class of
retention that it belongs to says so.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from companyos.authz._text import plain
from companyos.ledger.entry import new_ids
from companyos.ledger.preparation import Draft
from companyos.ports import LedgerPort, Personal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from companyos.decision import Decision, Obligation
    from companyos.ports import AccessRequest, Receipt

__all__ = (
    "DECISION",
    "DISCHARGE",
    "ORIGIN",
    "RETENTION",
    "SOURCE",
    "AuditLedger",
    "Record",
    "append_discharge",
    "append_records",
    "drafts",
    "is_impersonal",
    "new_id",
    "origin_id",
)

SOURCE = "companyos/authz"
"""`source` of every entry of this room but those about the audit itself."""
DECISION = "companyos.authz.decision"
"""Type of the entry that records a decision."""
ORIGIN = "companyos.authz.decision_origin"
"""Type of the entry that holds where from and on which device a decision was asked for."""
DISCHARGE = "companyos.authz.obligation"
"""Type of the entry that records what became of an obligation."""
RETENTION = "pii"
"""The class of retention of ip and device, unless it is configured otherwise."""

_IMPERSONAL_TYPES = (
    "api app application bucket budget collection container dashboard database dataset deployment directory doc "
    "document endpoint environment feature feature_flag file folder host image index job model notebook object package "
    "pipeline policy project prompt queue release report repository schema secret service stream table tool topic view "
    "workflow workspace"
)
_IMPERSONAL = frozenset(_IMPERSONAL_TYPES.split())
"""Types of resource whose ids are not about people; the id of any other is stored encrypted."""
_DEVICE = ("device_id", "device_trust")
_NOBODY = {"actor": None, "actor_type": None, "verb": None, "target": None, "ip": None, "device": None}


class AuditLedger(LedgerPort, Protocol):
    """What decisions need of the ledger: entries with a class of retention, and several in one commit."""

    def append_many(self, drafts: Iterable[Draft]) -> Sequence[Receipt]:
        """Append several entries in their order and in one commit, all of them or none."""
        ...


class Record(NamedTuple):
    """All that the entry of one decision will say, none of which anybody else can alter."""

    id: str
    """The entry's id, and the decision's audit id."""
    request: AccessRequest | None
    """What was asked; None if it was malformed."""
    decision: Decision
    """What was answered."""
    policy_digest: Any
    """Digest of the policies that decided."""
    engine: Any
    """Name of the engine."""
    trace_id: str | None
    """The trace of the request or, without one, of the span around the call."""

    @classmethod
    def of(cls, request: AccessRequest | None, decision: Decision) -> Record:
        """The record of a decision, under a fresh id."""
        facts = decision.facts
        stated = None if request is None else request.environment.get("trace_id")
        return cls(
            new_id(),
            request,
            decision,
            facts.get("policy_digest"),
            facts.get("engine"),
            stated or active_trace(),
        )


def new_id() -> str:
    """A fresh id that sorts by the time it was made (UUID 7)."""
    return new_ids(1)[0]


def origin_id(decision_id: str) -> str:
    """The id of the entry that holds where from and on which device that decision was asked for."""
    return f"{decision_id}-origin"


def append_records(ledger: AuditLedger, records: Sequence[Record], retention: str | None = RETENTION) -> None:
    """Record decisions in one commit: actor, verb, target, policy, obligations, ip and device, all of them or none."""
    made = [draft for record in records for draft in drafts(record, retention)]
    if len(made) == 1:
        draft = made[0]
        ledger.append(draft.type, draft.data, id=draft.id, source=draft.source, subject=draft.subject)
    elif made:
        ledger.append_many(made)


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
    return ledger.append(DISCHARGE, data, id=new_id(), source=SOURCE)


def drafts(record: Record, retention: str | None, batch: Mapping[str, Any] | None = None) -> list[Draft]:
    """The entries that record a decision; `batch` says how it came to be recorded late.

    Of a malformed request none of the values is kept, for nobody knows what they hold. With no class of `retention`,
    ip and device are in the decision's entry and live as long as it.
    """
    verdict = {**_verdict(record), "trace_id": record.trace_id}
    if batch is not None:
        verdict["audit"] = batch
    request = record.request
    if request is None:
        return [Draft(DECISION, {**verdict, **_NOBODY}, record.id, SOURCE)]
    person = request.subject["id"]
    origin = _origin(request.environment, person)
    kept: dict[str, Any] = {"ip": origin.get("ip"), "device": origin.get("device")}
    if retention is not None:
        elsewhere = {"retention": retention, "entry": origin_id(record.id)}
        kept = {key: None if value is None else elsewhere for key, value in kept.items()}
    subject = Personal(person, person)
    made = [Draft(DECISION, {**verdict, **_asked(request, person), **kept}, record.id, SOURCE, None, subject)]
    if origin and retention is not None:
        data = {"decision_id": record.id, **origin}
        made.append(Draft(ORIGIN, data, origin_id(record.id), SOURCE, None, subject, False, retention))
    return made


def is_impersonal(kind: str) -> bool:
    """Whether the ids of a type of resource are known not to be about people."""
    return kind in _IMPERSONAL or plain(kind).replace("-", "_").replace(" ", "_") in _IMPERSONAL


def active_trace() -> str | None:
    """The trace id of the span around this call, if there is one: 32 hexadecimal digits."""
    current_span, format_trace_id = _tracing()
    context = current_span().get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else None


@functools.cache
def _tracing() -> tuple[Any, Any]:
    from opentelemetry import trace

    return trace.get_current_span, trace.format_trace_id


def _origin(environment: Mapping[str, Any], person: str) -> dict[str, Personal]:
    """Where from and on which device: what is kept for a shorter time."""
    found = {}
    if "ip" in environment:
        found["ip"] = Personal(environment["ip"], person)
    device = {key: environment[key] for key in _DEVICE if key in environment}
    if device:
        found["device"] = Personal(device, person)
    return found


def _asked(request: AccessRequest, person: str) -> dict[str, Any]:
    environment = request.environment
    return {
        "actor": Personal(person, person),
        "actor_type": request.subject["type"],
        "verb": request.action,
        "target": _target(request.resource),
        "auth_strength": environment.get("auth_strength"),
        "approval_ticket": environment.get("approval_ticket"),
    }


def _verdict(record: Record) -> dict[str, Any]:
    decision = record.decision
    return {
        "decision": decision.verdict.value,
        "reason": decision.reason,
        "message": decision.message,
        "policy": {"id": decision.reason, "digest": record.policy_digest, "engine": record.engine},
        "obligations": [obligation.to_dict() for obligation in decision.obligations],
        # An entry is signed by the checkpoint over the log that holds it, not one by one.
        "signature": {"by": "checkpoint"},
    }


def _target(resource: Mapping[str, Any]) -> dict[str, Any]:
    identity = resource["id"]
    return {
        "type": resource["type"],
        "id": identity if is_impersonal(resource["type"]) else Personal(identity, identity),
        "region": resource.get("region"),
    }
