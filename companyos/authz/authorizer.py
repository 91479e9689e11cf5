"""`authorize()`: one request, one decision, one entry on the ledger, in that order and never without the last."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from companyos.authz import audit
from companyos.authz.enforcement import handlers_by_obligation, with_obligations
from companyos.authz.interface import EngineError, RequestError
from companyos.authz.request import build_request, copy_json, copy_request, request_from_dict
from companyos.decision import Decision, Obligation, Verdict
from companyos.ports import AccessRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from companyos.authz.interface import DecisionListener, DecisionValidator
    from companyos.ports import DecisionEngine, LedgerPort, ObligationHandler, Receipt

__all__ = ("Authorizer", "evaluate")

_log = logging.getLogger(__name__)

UNREADABLE = AccessRequest({"id": "", "type": ""}, "", {"id": "", "type": ""})
"""What listeners get in place of a malformed request: no request that can be judged has an empty id."""


class Authorizer:
    """Decides access requests by one engine, and records every decision.

    What it answers besides the policies' own reasons: `request.invalid` (the request is malformed),
    `policy.unavailable` (the engine could not decide), `policy.unreachable` and `policy.timeout` (a remote engine did
    not answer, or not in time), `validator.refused` and `validator.failed` (a veto),
    `obligation.unhandled` (nobody can carry one out) and `audit.unavailable` (the ledger did not take the decision).
    None of them allows.
    """

    def __init__(
        self,
        engine: DecisionEngine,
        ledger: LedgerPort,
        *,
        handlers: Iterable[ObligationHandler] = (),
        listeners: Iterable[DecisionListener] = (),
        validators: Iterable[DecisionValidator] = (),
    ) -> None:
        """Wire the parts together and load the engine's policies.

        Raises:
            PolicyError: the engine's policies cannot be used.
            ConfigError: two handlers claim the same obligation.
        """
        self._engine = engine
        self._ledger = ledger
        self._handlers = handlers_by_obligation(handlers)
        self._listeners = tuple(listeners)
        self._validators = tuple(validators)
        self.listener_failures = 0
        """How many times a listener raised since the start."""
        self.policy_digest = engine.version
        """Digest of the policies in force."""

    @property
    def handlers(self) -> Mapping[str, ObligationHandler]:
        """Who discharges which obligation, by the obligation's id."""
        return dict(self._handlers)

    def authorize(
        self,
        subject: Mapping[str, Any],
        action: str,
        resource: Mapping[str, Any],
        environment: Mapping[str, Any] | None = None,
    ) -> Decision:
        """Decide whether `subject` may do `action` to `resource`, and record the decision.

        The decision carries the id of its ledger entry (`audit_id`) and, in `facts`, the policies' digest and the
        engine's name. It never raises for what a caller sends: a malformed request is denied as `request.invalid`.
        """
        return self._authorize(lambda: build_request(subject, action, resource, environment))

    def authorize_dict(self, request: Any) -> Decision:
        """The same for a request held by one JSON object with the playbook's keys."""
        return self._authorize(lambda: request_from_dict(request))

    def with_obligations(
        self, guarded: Callable[[], Any], decision: Decision, *, context: Mapping[str, Any] | None = None
    ) -> Any:
        """Make a guarded call under a decision, with this authorizer's handlers and ledger; see `with_obligations`."""
        handlers = tuple(self._handlers.values())
        return with_obligations(guarded, decision, handlers=handlers, ledger=self._ledger, context=context)

    def _authorize(self, build: Callable[[], AccessRequest]) -> Decision:
        try:
            request = build()
        except RequestError as error:
            return self._refuse_invalid(error)
        decision = self._judge(request)
        recorded = self._record(decision, lambda: audit.append_decision(self._ledger, request, decision))
        self._tell(request, recorded)
        return recorded

    def _refuse_invalid(self, error: RequestError) -> Decision:
        decision = Decision.denied("request.invalid", error.message, facts=self._facts())
        # What the caller sent may be a secret in the wrong field: the ledger keeps only that it was malformed.
        kept = replace(decision, message=error.what)
        recorded = self._record(decision, lambda: audit.append_invalid(self._ledger, kept))
        self._tell(UNREADABLE, replace(kept, audit_id=recorded.audit_id))
        return recorded

    def _facts(self) -> dict[str, Any]:
        return {"policy_digest": self.policy_digest, "engine": self._engine.name}

    def _judge(self, request: AccessRequest) -> Decision:
        decision = evaluate(self._engine, request, facts=self._facts())
        if not decision.allow:
            return decision
        refused = self._vetoed(request, decision)
        return self._handled(decision) if refused is None else refused

    def _vetoed(self, request: AccessRequest, decision: Decision) -> Decision | None:
        for validator in self._validators:
            try:
                sentence = validator(request=copy_request(request), opinion_reason=decision.reason)
            except Exception:  # noqa: BLE001 - whatever a validator raises is a refusal
                _log.exception("a validator failed; the request is refused")
                return Decision.denied("validator.failed", "a validator could not judge", facts=decision.facts)
            if sentence is not None:
                return Decision.denied("validator.refused", str(sentence), facts=decision.facts)
        return None

    def _handled(self, decision: Decision) -> Decision:
        missing = sorted({item.id for item in decision.obligations} - self._handlers.keys())
        if not missing:
            return decision
        return Decision.denied(
            "obligation.unhandled",
            f"nobody can carry out: {', '.join(missing)}",
            obligations=decision.obligations,
            facts=decision.facts,
        )

    def _record(self, decision: Decision, append: Callable[[], Receipt]) -> Decision:
        try:
            return decision.recorded(append().id)
        except Exception:  # noqa: BLE001 - whatever a ledger raises, the decision is not on record
            _log.exception("the ledger did not take a decision; the request is refused")
            return Decision.undetermined(
                "audit.unavailable",
                f"the decision could not be recorded ({decision.verdict.value}: {decision.reason})",
                facts=decision.facts,
            )

    def _tell(self, request: AccessRequest, decision: Decision) -> None:
        if decision.audit_id is None:
            return
        for listener in self._listeners:
            try:
                listener(request=copy_request(request), decision=_copy(decision))
            except Exception:  # noqa: BLE001 - a listener may fail in any way and must disturb nobody
                self.listener_failures += 1
                _log.exception("a decision listener failed")


def evaluate(engine: DecisionEngine, request: AccessRequest, *, facts: Mapping[str, Any] | None = None) -> Decision:
    """What an engine alone answers to a request: no veto, no handlers, nothing recorded.

    An engine that fails, however it fails, gives `policy.unavailable`, or the reason that its `EngineError` names.
    """
    facts = {"policy_digest": engine.version, "engine": engine.name} if facts is None else facts
    try:
        opinion = engine.decide(request)
        verdict = Verdict.ALLOW if opinion.allow is True else Verdict.DENY
        facts = facts if opinion.version is None else {**facts, "policy_digest": opinion.version}
        return Decision(verdict, opinion.reason, opinion.message, tuple(opinion.obligations), facts=facts)
    except Exception as error:  # noqa: BLE001 - whatever an engine raises, it has not decided
        _log.exception("the policy engine failed; the request is refused")
        reason = error.reason if isinstance(error, EngineError) else EngineError.reason
        return Decision.undetermined(reason, "the policies could not be evaluated", facts=facts)


def _copy(decision: Decision) -> Decision:
    obligations = tuple(Obligation(item.id, item.type, copy_json(item.properties)) for item in decision.obligations)
    return replace(decision, obligations=obligations, facts=copy_json(decision.facts))
