"""Writing audit records."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from opentelemetry import trace

from companyos.decision import Decision, Verdict
from companyos.ledger.entry import new_ids, timestamp
from companyos.ledger.preparation import Draft
from companyos.observability.audit.errors import AuditFailedError
from companyos.observability.audit.record import RETENTION, SOURCE, TYPE, committed, signed_bytes
from companyos.ports import Personal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from companyos.decision import Obligation
    from companyos.ledger import Ledger
    from companyos.ports import Receipt
    from companyos.signing import Signer

__all__ = ("AuditTrail",)


class AuditTrail:
    """Records who did what, each record signed by the service's key and appended to the ledger before `record` returns.

    Record before you act, or undo what was done: an append that fails raises, and nothing here can be told to let
    that pass. What `authorize()` decided is on the ledger already, with the same fields; hand its decision over and the
    record names it (`decision_id`), or record nothing more.
    """

    def __init__(self, ledger: Ledger, signer: Signer, *, retention: str | None = RETENTION) -> None:
        """Records go to `ledger`, signed by `signer`.

        `retention` is the ledger's class of retention; with None a record is part of its entry and kept for ever.
        """
        self._ledger = ledger
        self._signer = signer
        self._retention = retention

    def record(
        self,
        *,
        actor: str,
        verb: str,
        target: Mapping[str, Any],
        decision: Decision | Verdict | str,
        policy: str | None = None,
        obligations: Iterable[Obligation] = (),
        ip: str | None = None,
        device: Any = None,
        details: Mapping[str, Any] | None = None,
    ) -> Receipt:
        """Append one record and return when it is durable; `actor`, `ip` and `device` are stored encrypted.

        `target` and `details` are JSON objects in which what is about a person is `Personal`. `decision` may be the
        word of a verdict, such as `allow`. `policy` and `obligations` come from the `decision` unless they are given.

        Raises:
            AuditFailedError: it is not on the ledger; what it was about must not happen.
        """
        given = _Given(actor, verb, target, decision, policy, tuple(obligations), ip, device, details)
        identity = new_ids(1)[0]
        try:
            return self._ledger.append_many([self._draft(identity, given)])[0]
        except Exception as error:  # noqa: BLE001 - whatever it was, there is no record, and the caller has to know
            _fail(verb, error)

    async def arecord(
        self,
        *,
        actor: str,
        verb: str,
        target: Mapping[str, Any],
        decision: Decision | Verdict | str,
        policy: str | None = None,
        obligations: Iterable[Obligation] = (),
        ip: str | None = None,
        device: Any = None,
        details: Mapping[str, Any] | None = None,
    ) -> Receipt:
        """`record` for a task; records that tasks make at the same time share commits.

        Raises:
            AuditFailedError: it is not on the ledger; what it was about must not happen.
        """
        given = _Given(actor, verb, target, decision, policy, tuple(obligations), ip, device, details)
        identity = new_ids(1)[0]
        try:
            return (await self._ledger.aappend_many([self._draft(identity, given)]))[0]
        except Exception as error:  # noqa: BLE001 - as in `record`
            _fail(verb, error)

    def _draft(self, identity: str, given: _Given) -> Draft:
        subject = Personal(given.actor, given.actor)
        data = self._data(identity, given)
        return Draft(TYPE, data, identity, SOURCE, subject=subject, retention=self._retention)

    def _data(self, identity: str, given: _Given) -> dict[str, Any]:
        data = committed({"id": identity, "log": self._ledger.origin, **given.fields()})
        public = self._signer.public
        signature = base64.b64encode(self._signer.sign(signed_bytes(data))).decode()
        return {**data, "signature": {"alg": public.algorithm, "keyid": public.key_id, "sig": signature}}


class _Given(NamedTuple):
    """The arguments of one call."""

    actor: str
    verb: str
    target: Mapping[str, Any]
    decision: Decision | Verdict | str
    policy: str | None
    obligations: tuple[Obligation, ...]
    ip: str | None
    device: Any
    details: Mapping[str, Any] | None

    def fields(self) -> dict[str, Any]:
        decided = self.decision if isinstance(self.decision, Decision) else None
        verdict = Verdict(self.decision) if decided is None else decided.verdict
        policy = self.policy or (None if decided is None else decided.reason)
        obligations = self.obligations or (() if decided is None else decided.obligations)
        return {
            "recorded": timestamp(datetime.now(UTC)),
            "actor": Personal(self.actor, self.actor),
            "verb": self.verb,
            "target": self.target,
            "policy": policy,
            "decision": verdict.value,
            "decision_id": None if decided is None else decided.audit_id,
            "obligations": [obligation.to_dict() for obligation in obligations],
            "ip": None if self.ip is None else Personal(self.ip, self.actor),
            "device": None if self.device is None else Personal(self.device, self.actor),
            "trace_id": _trace_id(),
            "details": self.details,
        }


def _trace_id() -> str | None:
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


def _fail(verb: str, error: Exception) -> NoReturn:
    raise AuditFailedError(
        f"the audit record of {verb!r} was not written",
        got=f"{type(error).__name__}: {error}",
        expected="an entry on the ledger",
        hint="do not carry out, or undo, what it was about; mend the ledger, then try again",
    ) from error
