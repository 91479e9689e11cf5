"""`authorize()`: one request, one decision, one entry on the ledger, in that order and never without the last.

The entry is there before the caller goes on, but for reads that were declared of low risk: those may wait for at most
50 ms, so that many share a commit.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from companyos.authz.audit import RETENTION, AuditLedger, Record, append_records
from companyos.authz.duty import Duty, unhandled
from companyos.authz.enforcement import handlers_by_obligation, with_obligations, with_obligations_async
from companyos.authz.interface import EngineError, EngineTimeoutError, RequestError
from companyos.authz.low_risk import checked_actions, is_of_low_risk
from companyos.authz.request import copy_json, copy_request
from companyos.authz.subjects import UnresolvedSubjectError, request_for, request_of
from companyos.decision import Decision, Obligation, Verdict
from companyos.errors import ConfigError, RefusedError
from companyos.ports import AccessRequest, is_idle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from companyos.authz.interface import DecisionListener, DecisionValidator
    from companyos.authz.stream import AuditStream
    from companyos.authz.subjects import SubjectResolver
    from companyos.authz.uses import Uses
    from companyos.authz.vouching import Vouching
    from companyos.ports import DecisionEngine, ObligationHandler

__all__ = ("MAX_MANY", "Authorizer", "evaluate")

_log = logging.getLogger(__name__)

UNREADABLE = AccessRequest({"id": "", "type": ""}, "", {"id": "", "type": ""})
"""What listeners get in place of a malformed request: no request that can be judged has an empty id."""
MAX_MANY = 1000
"""How many requests `authorize_many` takes at once."""


class Authorizer:
    """Decides access requests by one engine, and records every decision.

    What it answers besides the policies' own reasons: `request.invalid` (the request is malformed),
    `policy.unavailable` (the engine could not decide), `policy.unreachable` and `policy.timeout` (a remote engine did
    not answer, or not in time), `validator.refused` and `validator.failed` (a veto), `obligation.unhandled` (nobody can
    carry one out), `audit.unavailable` (the ledger did not take the decision) and, where subjects are looked up,
    `subject.unknown`, `subject.contradicted` (the caller says what the store does not) and `identity.unavailable` (it
    could not be looked up).
    None of them allows.
    """

    def __init__(
        self,
        engine: DecisionEngine,
        ledger: AuditLedger,
        *,
        handlers: Iterable[ObligationHandler] = (),
        listeners: Iterable[DecisionListener] = (),
        validators: Iterable[DecisionValidator] = (),
        subjects: SubjectResolver | None = None,
        batched_actions: Iterable[str] = (),
        retention: str | None = RETENTION,
        uses: Uses | None = None,
        vouching: Vouching | None = None,
    ) -> None:
        """Wire the parts together and load the engine's policies; `subjects` knows those that are given by their id.

        `vouching` says how much of what callers say of a subject counts; without it, all of it does.

        `batched_actions` are reads of low risk: where one is allowed without obligations, on a resource that holds
        no personal data, its entry may be written up to 50 ms later; `close` the authorizer before its ledger then.
        `retention` is the ledger's class for ip and device; None keeps them as long as the decision.

        `uses` remembers which decisions have been used, and says how old one may be; without it, one memory of the
        whole process does, for a minute.

        Raises:
            PolicyError: the engine's policies cannot be used.
            ConfigError: two handlers claim the same obligation, or an action in `batched_actions` is no read.
        """
        self._engine = engine
        self._ledger = ledger
        self._handlers = handlers_by_obligation(handlers)
        self._listeners = tuple(listeners)
        self._validators = tuple(validators)
        self._batched = checked_actions(batched_actions)
        self._retention = retention
        self._subjects = subjects
        self._uses = uses
        self._vouching = vouching
        self.listener_failures = 0
        """How many times a listener raised since the start."""
        self.policy_digest = engine.version
        """Digest of the policies in force."""
        self._stream = _opened_stream(ledger, retention) if self._batched else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the decisions that wait to be recorded; from then on, none may wait.

        Raises:
            AuditError: the ledger did not take all of them.
        """
        if self._stream is not None:
            self._stream.close()

    @property
    def handlers(self) -> Mapping[str, ObligationHandler]:
        """Who discharges which obligation, by the obligation's id."""
        return dict(self._handlers)

    def authorize(
        self,
        subject: Mapping[str, Any] | str,
        action: str,
        resource: Mapping[str, Any],
        environment: Mapping[str, Any] | None = None,
    ) -> Decision:
        """Decide whether `subject` (or who has this id) may do `action` to `resource`, and record the decision.

        The decision carries the id of its ledger entry (`audit_id`), whether that is written already (`durable`) and,
        in `facts`, the policies' digest and the engine's name. It never raises for what a caller sends: a malformed
        request, or one that raises while it is read, is denied as `request.invalid`.
        """
        try:
            request = request_for(self._subjects, subject, action, resource, environment, vouching=self._vouching)
        except RequestError as error:
            return self.refuse_malformed(error)
        except UnresolvedSubjectError as error:
            return self._authorize(error.request, refusal=error.decision)
        return self._authorize(request)

    def authorize_dict(self, request: Any, *, durable: bool = False) -> Decision:
        """The same for a request held by one JSON object with the playbook's keys; `durable` lets no decision wait."""
        try:
            built = request_of(self._subjects, request, vouching=self._vouching)
        except RequestError as error:
            return self.refuse_malformed(error)
        except UnresolvedSubjectError as error:
            return self._authorize(error.request, durable=durable, refusal=error.decision)
        return self._authorize(built, durable=durable)

    def authorize_many(self, requests: Iterable[Any]) -> list[Decision]:
        """Decide requests, each one JSON object, in their order; all decisions are recorded in one commit.

        Each is answered as if it had been asked alone, malformed ones too. If all may wait to be recorded, they do.

        Raises:
            RequestError: there are more than `MAX_MANY`.
        """
        asked = tuple(islice(requests, MAX_MANY + 1))
        if len(asked) > MAX_MANY:
            raise RequestError("too many requests at once", expected=f"at most {MAX_MANY}")
        judged = [self._judged(request) for request in asked]
        may_wait = all(request is not None and self._may_wait(request, kept) for request, kept, _ in judged)
        records = [Record.of(request, kept) for request, kept, _ in judged]
        recorded = self._record_all(records, may_wait=may_wait)
        answers = []
        for (request, kept, message), noted in zip(judged, recorded, strict=True):
            self._tell(UNREADABLE if request is None else request, noted)
            # Who sent a malformed request is told what was wrong with it; nobody else is.
            answers.append(replace(noted, message=message) if noted.reason == kept.reason else noted)
        return answers

    def refuse_malformed(self, error: RequestError) -> Decision:
        """The recorded deny of a request that cannot even be read as one, by whoever has tried to read it.

        The caller's message says what was wrong; the ledger keeps none of the request's values.
        """
        kept, message = self._invalid(error)
        recorded = self._record(Record.of(None, kept), may_wait=False)
        self._tell(UNREADABLE, recorded)
        return replace(recorded, message=message) if recorded.reason == kept.reason else recorded

    def with_obligations(
        self, guarded: Callable[[], Any], decision: Decision, *, context: Mapping[str, Any] | None = None
    ) -> Any:
        """Make a guarded call under a decision, with this authorizer's handlers and ledger; see `with_obligations`."""
        handlers = tuple(self._handlers.values())
        return with_obligations(
            guarded, decision, handlers=handlers, ledger=self._ledger, context=context, uses=self._uses
        )

    async def aauthorize(
        self,
        subject: Mapping[str, Any],
        action: str,
        resource: Mapping[str, Any],
        environment: Mapping[str, Any] | None = None,
    ) -> Decision:
        """The same as `authorize`, made in a thread, so that the event loop does not wait for engine and ledger."""
        return await asyncio.to_thread(self.authorize, subject, action, resource, environment)

    async def with_obligations_async(
        self, guarded: Callable[[], Awaitable[Any]], decision: Decision, *, context: Mapping[str, Any] | None = None
    ) -> Any:
        """The same as `with_obligations` for a call that is awaited; see `with_obligations_async`."""
        handlers = tuple(self._handlers.values())
        return await with_obligations_async(
            guarded, decision, handlers=handlers, ledger=self._ledger, context=context, uses=self._uses
        )

    def duty(self, decision: Decision, *, context: Mapping[str, Any] | None = None) -> Duty:
        """The steps around a guarded call under a decision, for whoever makes the call in pieces (a middleware)."""
        return Duty(decision, self._handlers, self._ledger, context, self._uses)

    def _authorize(self, request: AccessRequest, *, durable: bool = False, refusal: Decision | None = None) -> Decision:
        decision = self._judge(request) if refusal is None else replace(refusal, facts=self._facts())
        may_wait = not durable and self._may_wait(request, decision)
        recorded = self._record(Record.of(request, decision), may_wait=may_wait)
        if self._listeners:
            self._tell(request, recorded)
        return recorded

    def _judged(self, value: Any) -> tuple[AccessRequest | None, Decision, str]:
        """The request (None if it is malformed), what the ledger keeps of the decision, and the caller's message."""
        try:
            request = request_of(self._subjects, value, vouching=self._vouching)
        except RequestError as error:
            kept, message = self._invalid(error)
            return None, kept, message
        except UnresolvedSubjectError as error:
            refusal = replace(error.decision, facts=self._facts())
            return error.request, refusal, refusal.message
        decision = self._judge(request)
        return request, decision, decision.message

    def _invalid(self, error: RequestError) -> tuple[Decision, str]:
        # What the caller sent may be a secret in the wrong field: the ledger keeps only that it was malformed.
        return Decision.denied("request.invalid", error.what, facts=self._facts()), error.message

    def _may_wait(self, request: AccessRequest, decision: Decision) -> bool:
        """Whether the decision may be recorded late: an allowed read without obligations that was declared low-risk."""
        return (
            request.action in self._batched
            and decision.verdict is Verdict.ALLOW
            and not decision.obligations
            and is_of_low_risk(request.resource)
        )

    def _facts(self) -> dict[str, Any]:
        return {"policy_digest": self.policy_digest, "engine": self._engine.name}

    def _judge(self, request: AccessRequest) -> Decision:
        decision = evaluate(self._engine, request, facts=self._facts())
        if not decision.allow:
            return decision
        refused = self._vetoed(request, decision) if self._validators else None
        return self._handled(decision) if refused is None else refused

    def _vetoed(self, request: AccessRequest, decision: Decision) -> Decision | None:
        for validator in self._validators:
            if is_idle(validator):
                continue
            try:
                sentence = validator(request=copy_request(request), opinion_reason=decision.reason)
            except Exception:  # noqa: BLE001 - whatever a validator raises is a refusal
                _log.exception("a validator failed; the request is refused")
                return Decision.denied("validator.failed", "a validator could not judge", facts=decision.facts)
            if sentence is not None:
                return Decision.denied("validator.refused", str(sentence), facts=decision.facts)
        return None

    def _handled(self, decision: Decision) -> Decision:
        if not decision.obligations:
            return decision
        missing = unhandled(self._handlers, decision.obligations)
        if not missing:
            return decision
        return Decision.denied(
            "obligation.unhandled",
            f"nobody can carry out: {', '.join(missing)}",
            obligations=decision.obligations,
            facts=decision.facts,
        )

    def _record(self, record: Record, *, may_wait: bool) -> Decision:
        try:
            waits = may_wait and self._stream is not None and self._stream.put(record)
            if not waits:
                append_records(self._ledger, (record,), self._retention)
            return record.decision.recorded(record.id, durable=not waits)
        except Exception:  # noqa: BLE001 - whatever a ledger raises, the decision is not on record
            return _unrecorded(record.decision)

    def _record_all(self, records: Sequence[Record], *, may_wait: bool) -> list[Decision]:
        """Decisions with their entries in one commit; where the ledger refuses one of them, each is recorded alone."""
        if may_wait:
            return [self._record(record, may_wait=True) for record in records]
        try:
            append_records(self._ledger, records, self._retention)
        except RefusedError:
            return [self._record(record, may_wait=False) for record in records]
        except Exception:  # noqa: BLE001 - as above
            return [_unrecorded(record.decision) for record in records]
        return [record.decision.recorded(record.id) for record in records]

    def _tell(self, request: AccessRequest, decision: Decision) -> None:
        if decision.audit_id is None:
            return
        for listener in self._listeners:
            if is_idle(listener):
                continue
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
    except EngineTimeoutError as error:
        _log.warning("the policy engine did not decide in time; the request is refused: %s", error.what)
        return Decision.undetermined(error.reason, "the policies did not answer in time", facts=facts)
    except Exception as error:  # noqa: BLE001 - whatever an engine raises, it has not decided
        _log.exception("the policy engine failed; the request is refused")
        reason = error.reason if isinstance(error, EngineError) else EngineError.reason
        return Decision.undetermined(reason, "the policies could not be evaluated", facts=facts)


def _unrecorded(decision: Decision) -> Decision:
    _log.exception("the ledger did not take a decision; the request is refused")
    return Decision.undetermined(
        "audit.unavailable",
        f"the decision could not be recorded ({decision.verdict.value}: {decision.reason})",
        facts=decision.facts,
    )


def _opened_stream(ledger: AuditLedger, retention: str | None) -> AuditStream:
    from companyos.authz.instances import InstanceLedger
    from companyos.authz.stream import AuditStream

    if not isinstance(ledger, InstanceLedger):
        raise ConfigError("this ledger cannot be read, so that nothing may be batched", expected="a companyos Ledger")
    stream = AuditStream(ledger, retention=retention)
    stream.open()
    return stream


def _copy(decision: Decision) -> Decision:
    obligations = tuple(Obligation(item.id, item.type, copy_json(item.properties)) for item in decision.obligations)
    return replace(decision, obligations=obligations, facts=copy_json(decision.facts))
