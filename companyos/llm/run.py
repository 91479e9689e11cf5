"""One call: attempt after attempt, within time, budget and residency, until one provider has given a whole answer.

What follows a failure is data (`AFTER`), so that it can be read and tested by itself.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from companyos.finops.budgets.errors import BudgetRefusedError
from companyos.llm import telemetry
from companyos.llm.errors import ContentFilteredError, ExhaustedError, ProviderError, RejectedError
from companyos.llm.interface import Answer, Attempt, Candidate, Chunk, Completion, FailureKind, Usage
from companyos.llm.ranking import most_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from companyos.errors import UserError
    from companyos.llm.health import Health
    from companyos.llm.interface import Limits, Provider, Request, ResidencyCheck, RouteDecision
    from companyos.llm.routing import Failover
    from companyos.llm.spending import Hold, Purse
    from companyos.llm.telemetry import Spanned

__all__ = ("AFTER", "Asking", "Run", "filtered")

Next = Literal["final", "same", "later", "other"]
"""The caller gets it; the same provider once more, then others; others, and this one when all have failed; others."""

AFTER: dict[FailureKind, Next] = {
    "connect": "later",
    "timeout": "other",
    "rate_limited": "later",
    "overloaded": "later",
    "server": "same",
    "cut": "later",
    "stalled": "other",
    "malformed": "other",
    "redirected": "other",
    "unauthorized": "other",
    "unknown_model": "other",
    "context_length": "other",
    "content_filter": "final",
    "rejected": "final",
    "deadline": "final",
}
"""What follows a failure, by its kind."""


@dataclass(slots=True)
class _Place:
    """How one candidate fares in this call."""

    candidate: Candidate
    tries: int = 0
    ready_at: float = 0.0
    out: bool = False


@dataclass(slots=True)
class Run:
    """One call in the making."""

    request: Request
    """What is asked."""
    decision: RouteDecision
    """Whom to ask."""
    providers: Mapping[str, Provider]
    """By name."""
    rules: Failover
    """Attempts and times."""
    health: Health
    """How each provider fares."""
    purse: Purse
    """Money."""
    residency: ResidencyCheck | None
    """Where data may go; judged anew before each attempt but the first, which the decision has judged."""
    data_class: str | None
    """Of the prompt."""
    span: Spanned
    """Of the whole call."""
    deadline: float
    """By the clock of the event loop."""
    streamed: bool = False
    """Whether it is answered in parts."""
    attempts: list[Attempt] = field(default_factory=list)
    """So far."""
    _places: list[_Place] = field(default_factory=list)
    _same: _Place | None = None
    _refused: UserError | None = None
    _last: ProviderError | None = None

    def __post_init__(self) -> None:
        self._places = [_Place(one) for one in self.decision.chain]

    @property
    def cost(self) -> Decimal:
        """Of all attempts so far."""
        return sum((one.amount for one in self.attempts), Decimal(0))

    async def complete(self) -> tuple[Candidate, Answer]:
        """A whole answer, and whose it is.

        Raises:
            ExhaustedError: nobody has given one.
            ContentFilteredError: a content filter stopped it.
            RejectedError: the request is wrong.
            BudgetRefusedError: there is no room for any of those that may be asked.
        """
        while True:
            place = await self.next()
            asking = await self.begin(place, self.request)
            if asking is None:
                continue
            try:
                answer = await asking.provider.complete(self.request, place.candidate.model, asking.limits)
            except ProviderError as error:
                await asking.failed(error)
                continue
            except BaseException:
                await asking.abandoned()
                raise
            await asking.ended(answer)
            if answer.finish_reason == "content_filter":
                raise filtered(place.candidate)
            return place.candidate, answer

    async def next(self) -> _Place:
        """Whom to ask next, once that one may be asked.

        Raises:
            ExhaustedError: nobody is left, or the time is over.
        """
        most = len(self._places) + self.rules.max_retries
        while True:
            left = [one for one in self._places if not one.out]
            if not left or len(self.attempts) >= most:
                raise self._exhausted("every attempt failed")
            same, self._same = self._same, None
            place = same or self._ready(left)
            wait = 0.0 if place is None else max(0.0, place.ready_at - self.health.now())
            if place is None:
                soonest = min(max(one.ready_at, self.health.ready_at(one.candidate.provider)) for one in left)
                wait = max(soonest - self.health.now(), 0.001)
            now = asyncio.get_running_loop().time()
            if now + wait >= self.deadline:
                raise self._exhausted("the time is over, or nobody may be asked before it is")
            if wait:
                await asyncio.sleep(wait)
            if place is not None and self.health.admit(place.candidate.provider, self._left()):
                return place

    def _ready(self, left: list[_Place]) -> _Place | None:
        now = self.health.now()
        for one in sorted(left, key=lambda one: one.tries):
            if one.ready_at <= now and self.health.ready_at(one.candidate.provider) <= now:
                return one
        return None

    async def begin(self, place: _Place, request: Request) -> Asking | None:
        """Reserve for an attempt; None if it may not be made, and then not a byte has left."""
        candidate = place.candidate
        provider = self.providers[candidate.provider]
        if self.attempts and self.residency is not None:
            verdict = self.residency.check(
                provider=candidate.provider,
                endpoint=provider.endpoint,
                model=candidate.model,
                data_class=self.data_class,
            )
            if not verdict.allow:
                self._leave_out(place)
                return None
        tokens = most_tokens(request.messages), request.max_tokens
        others = [one.candidate.worst or Decimal(0) for one in self._places if not one.out]
        try:
            hold = await self.purse.hold(candidate.provider, candidate.model, tokens, max(others), self._left())
        except BudgetRefusedError as error:
            self._refused = self._refused or error
            self._leave_out(place)
            return None
        except BaseException:
            self.health.abandoned(candidate.provider)
            raise
        place.tries += 1
        return Asking(self, place, provider, request, hold)

    def _leave_out(self, place: _Place) -> None:
        place.out = True
        self.health.abandoned(place.candidate.provider)

    def after(self, place: _Place, error: ProviderError) -> None:
        """Decide what follows a failure.

        Raises:
            ContentFilteredError: a content filter stopped it.
            RejectedError: the request is wrong.
        """
        self._last = error
        follows = AFTER[error.kind]
        if follows == "final":
            raise _final(place.candidate, error)
        delay = self.rules.retry_delay_ms / 1000 * 2 ** (place.tries - 1)
        delay *= random.uniform(0.5, 1.0)  # noqa: S311 - spreads callers, hides nothing
        if error.retry_after_seconds is not None:
            delay = error.retry_after_seconds
        place.ready_at = self.health.now() + delay
        waits = error.retry_after_seconds is not None and delay <= self.rules.patience_seconds
        if place.tries == 1 and (follows == "same" or waits):
            self._same = place
        elif follows == "other":
            place.out = True

    def completion(self, candidate: Candidate, text: str, answer: Answer | Chunk | None) -> Completion:
        """What it came to; partial if there is no `answer`."""
        return Completion(
            text=text,
            finish_reason=None if answer is None else answer.finish_reason,
            usage=None if answer is None else answer.usage,
            provider=candidate.provider,
            model=candidate.model,
            response_model=(None if answer is None else answer.model) or candidate.model,
            response_id=None if answer is None else answer.id,
            partial=answer is None,
            attempts=tuple(self.attempts),
            decision=self.decision,
            cost=self.cost,
            currency=self.purse.currency,
        )

    def _left(self) -> float:
        return max(0.001, self.deadline - asyncio.get_running_loop().time())

    def limits_left(self) -> Limits:
        """Limits of an attempt that begins now."""
        return self.rules.limits(self._left(), streamed=self.streamed)

    def _exhausted(self, what: str) -> UserError:
        if self._refused is not None and not self.attempts:
            return self._refused
        told = [f"{one.provider}: {one.outcome} ({one.detail})" for one in self.attempts]
        cooling = [f"{name} cools down for {wait:.0f} s" for name, wait in self.health.cooling().items() if wait]
        refused = [] if self._refused is None else [f"no budget: {self._refused.what}"]
        exhausted = ExhaustedError(
            f"no provider could answer: {what}",
            got="; ".join((*told, *refused, *cooling)) or "no attempt",
            hint="ask again later, or name more providers in the routing file",
        )
        exhausted.__cause__ = self._last
        return exhausted


class Asking:
    """One attempt in hand; exactly one of `ended`, `failed` and `abandoned` concludes it."""

    def __init__(self, run: Run, place: _Place, provider: Provider, request: Request, hold: Hold) -> None:
        self.provider, self.limits = provider, run.limits_left()
        self._run, self._place, self._hold = run, place, hold
        residency = run.residency
        self._region = None if residency is None else residency.region(place.candidate.provider)
        self._first: float | None = None
        self._started = asyncio.get_running_loop().time()
        more = {
            "server.address": urlsplit(provider.endpoint).hostname,
            "companyos.feature": run.purse.feature,
            "companyos.llm.region": self._region,
        }
        self._span = telemetry.attempt_span(run.span, provider.wire, place.candidate.model, request, more)

    def token(self) -> None:
        """The first token is here."""
        if self._first is None:
            self._first = self._seconds()

    async def ended(self, answer: Answer | Chunk) -> None:
        """The provider has answered."""
        candidate, run = self._place.candidate, self._run
        telemetry.told(self._span, answer)
        amount = run.purse.spent(candidate.provider, candidate.model, self._hold, answer.usage)
        self._note("ok", "", 200, answer.usage, amount, assumed=answer.usage is None)
        run.health.succeeded(candidate.provider, self._seconds())
        await run.purse.settle(self._hold, amount, answer.usage)

    async def failed(self, error: ProviderError) -> None:
        """The provider has failed; raises what the caller is to get, if it is final."""
        run, candidate = self._run, self._place.candidate
        amount = self._hold.worst if error.maybe_billed else Decimal(0)
        self._note(error.kind, error.what, error.status, None, amount, assumed=error.maybe_billed)
        run.health.failed(candidate.provider, error.kind, error.retry_after_seconds)
        await self._give_back(maybe_billed=error.maybe_billed)
        run.after(self._place, error)

    async def abandoned(self) -> None:
        """The caller went away: the provider may count all the same."""
        self._note("deadline", "the caller went away", None, None, self._hold.worst, assumed=True)
        self._run.health.abandoned(self._place.candidate.provider)
        # It is not to be lost when the task is cancelled once more.
        await asyncio.shield(self._give_back(maybe_billed=True))

    async def _give_back(self, *, maybe_billed: bool) -> None:
        if maybe_billed:
            await self._run.purse.settle(self._hold, self._hold.worst, None)
        else:
            await self._run.purse.refund(self._hold)

    def _note(
        self,
        outcome: Literal["ok"] | FailureKind,
        detail: str,
        status: int | None,
        usage: Usage | None,
        amount: Decimal,
        *,
        assumed: bool,
    ) -> None:
        candidate, hold = self._place.candidate, self._hold
        attempt = Attempt(
            provider=candidate.provider,
            model=candidate.model,
            endpoint=self.provider.endpoint,
            region=self._region,
            outcome=outcome,
            detail=detail,
            status=status,
            seconds=self._seconds(),
            first_token_seconds=self._first,
            usage=usage,
            amount=amount,
            currency=self._run.purse.currency,
            assumed=assumed,
            reservation=None if hold.held is None else hold.held.id,
        )
        self._run.attempts.append(attempt)
        telemetry.attempt_ended(self._span, self.provider.wire, self._run.purse.feature, attempt)

    def _seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._started


def filtered(candidate: Candidate) -> ContentFilteredError:
    """What the caller gets when a filter cut an answer off."""
    return ContentFilteredError(
        "a content filter stopped the answer",
        got=f"{candidate.provider}/{candidate.model}",
        hint="change the prompt; another provider is not asked in its place",
    )


def _final(candidate: Candidate, error: ProviderError) -> UserError:
    if error.kind == "content_filter":
        refused = ContentFilteredError(
            "a content filter stopped the prompt or the answer",
            got=f"{candidate.provider}/{candidate.model}: {error.what}",
            hint="change the prompt; another provider is not asked in its place",
        )
        refused.__cause__ = error
        return refused
    rejected = RejectedError(
        "the provider does not take the request", got=f"{candidate.provider}/{candidate.model}: {error.what}"
    )
    rejected.__cause__ = error
    return rejected
