"""What surrounds one call: the decision before it, its span, and its record on the audit trail, however it ends."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from companyos.decision import Decision, Finding, Severity
from companyos.errors import CompanyOSError
from companyos.llm import telemetry
from companyos.llm.errors import PartialAnswerError, PromptTooLargeError, RouteRefusedError, UnknownModelError
from companyos.llm.interface import CallRecord
from companyos.llm.run import Run
from companyos.llm.spending import Purse, apart
from companyos.llm.streaming import Streaming

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping

    from companyos.llm.health import Health
    from companyos.llm.interface import (
        AuditSink,
        Completion,
        Provider,
        Request,
        ResidencyCheck,
        RouteDecision,
        SpendGuard,
        StreamEvent,
    )
    from companyos.llm.ranking import Ranking
    from companyos.llm.routing import RoutingPolicy

__all__ = ("Call", "Wiring", "checked")

_TOO_LARGE = "llm.prompt_too_large"
_UNKNOWN = "llm.unknown_model"


@dataclass(frozen=True, slots=True)
class Wiring:
    """What all calls of a router share."""

    policy: RoutingPolicy
    """The routing file."""
    providers: Mapping[str, Provider]
    """By name."""
    ranking: Ranking
    """Whom to ask."""
    health: Health
    """How each provider fares."""
    residency: ResidencyCheck | None
    """Where data may go."""
    budget: SpendGuard | None
    """Where money comes from."""
    audit: AuditSink | None
    """Where records go."""

    def purse(self, feature: str) -> Purse:
        """What pays for a feature."""
        return Purse(self.budget, self.ranking, feature, self.policy.currency)


class Call:
    """One call, from the decision to the record."""

    def __init__(
        self,
        wiring: Wiring,
        request: Request,
        task: str,
        *,
        feature: str,
        data_class: str | None,
        deadline_seconds: float | None,
        without: Collection[str],
    ) -> None:
        self._wiring, self._request, self._task = wiring, request, task
        self._feature, self._data_class = feature, data_class
        self._at, self._started = datetime.now(UTC), time.perf_counter()
        self._decision = wiring.ranking.decide(task, request, data_class=data_class, without=without)
        rules = wiring.policy.failover
        self._seconds = rules.deadline_seconds if deadline_seconds is None else deadline_seconds
        self._span = telemetry.call_span(task, feature)
        self._run: Run | None = None

    async def complete(self) -> Completion:
        """The whole answer; raises as `ModelRouter.aroute` says."""
        try:
            run = self._begin(streamed=False)
            candidate, answer = await run.complete()
            completion = run.completion(candidate, answer.text, answer)
        except BaseException as error:
            await self._conclude(None, error)
            raise
        return await self._recorded(completion)

    async def stream(self) -> AsyncGenerator[StreamEvent]:
        """The answer in parts; raises as `ModelRouter.astream` says."""
        streaming: Streaming | None = None
        done: StreamEvent | None = None
        try:
            streaming = Streaming(self._begin(streamed=True))
            async with aclosing(streaming.events()) as events:
                async for event in events:
                    if event.completion is None:
                        yield event
                    else:
                        done = event
        except BaseException as error:
            await self._conclude(streaming.text or None if streaming else None, error)
            raise
        if done is not None and done.completion is not None:
            yield replace(done, completion=await self._recorded(done.completion))

    def _begin(self, *, streamed: bool) -> Run:
        checked(self._decision)
        wiring = self._wiring
        self._run = Run(
            request=self._request,
            decision=self._decision,
            providers=wiring.providers,
            rules=wiring.policy.failover,
            health=wiring.health,
            purse=wiring.purse(self._feature),
            residency=wiring.residency,
            data_class=self._data_class,
            span=self._span,
            deadline=asyncio.get_running_loop().time() + self._seconds,
            streamed=streamed,
        )
        return self._run

    async def _recorded(self, completion: Completion) -> Completion:
        audit_id = await self._conclude(completion.text, None)
        return completion if audit_id is None else replace(completion, audit_id=audit_id)

    async def _conclude(self, text: str | None, error: BaseException | None) -> str | None:
        """End the span and leave the record; a record that cannot be kept fails the call."""
        code = None if error is None else _code(error)
        self._span.end(code)
        if self._wiring.audit is None:
            return None
        record = CallRecord(
            id=secrets.token_hex(16),
            at=self._at,
            seconds=time.perf_counter() - self._started,
            task=self._task,
            feature=self._feature,
            data_class=self._data_class,
            request=self._request,
            decision=self._decision,
            attempts=() if self._run is None else tuple(self._run.attempts),
            text=text,
            error=code,
            trace_id=self._span.trace_id,
        )
        return await asyncio.shield(apart(self._wiring.audit, self._wiring.audit.record, record))


def checked(decision: RouteDecision) -> RouteDecision:
    """The decision, if anybody may be asked.

    Raises:
        UnknownModelError: nobody may, because of no model the price is known.
        PromptTooLargeError: nobody may, because the prompt fits into no model.
        RouteRefusedError: nobody may, for these and other reasons.
    """
    if decision.chain:
        return decision
    reasons = {one.refusal for one in decision.candidates}
    told = "; ".join(f"{one.provider}/{one.model}: {one.why}" for one in decision.candidates)
    if reasons == {_UNKNOWN}:
        raise UnknownModelError("of no model for this task the price is known", got=told)
    if reasons == {_TOO_LARGE}:
        raise PromptTooLargeError("the prompt fits into no model for this task", got=told)
    findings = tuple(
        Finding(one.refusal or "", f"{one.provider}/{one.model}: {one.why}", severity=Severity.HIGH)
        for one in decision.candidates
    )
    raise RouteRefusedError(Decision.denied("llm.refused", "no provider may be asked", findings=findings))


def _code(error: BaseException) -> str:
    if isinstance(error, PartialAnswerError):
        return PartialAnswerError.code
    return error.code if isinstance(error, CompanyOSError) else "llm.abandoned"
