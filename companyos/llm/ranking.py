"""Whom to ask for a task, in which order, and why: the task table first, then the weighted scores.

The order is: the task's preferred provider, its fallback, the others by score, the global fallback last but one place
before nobody. The score decides between those of the same place. Nothing here does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from companyos.errors import UserError
from companyos.llm.interface import Candidate, RouteDecision

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from companyos.finops.rates import Rates
    from companyos.llm.interface import Message, Price, PriceList, Request, ResidencyCheck
    from companyos.llm.routing import RoutingPolicy, TaskRoute

__all__ = ("Ranking", "expected_tokens", "most_tokens")

Place = Literal["preferred", "fallback", "global fallback", "other"]

BYTES_A_TOKEN = 4
"""Of an English text, about; for estimates alone."""
EXTRA_TOKENS = 16
"""That a message can take beyond its text: its role, and the marks around it."""
_PRIOR = {"preferred": 1.0, "fallback": 0.8, "global fallback": 0.6, "other": 0.5}
"""Accuracy of a model of which nobody says it, by the trust that the table puts in its provider."""
_ORDER = {"preferred": 0, "fallback": 1, "other": 2, "global fallback": 3}
_UNWANTED = ("llm.excluded", "the caller does not want it")
_TOKENS_OUT_SHARE = 4  # an answer is expected to take a quarter of what it may


def most_tokens(messages: Collection[Message]) -> int:
    """The most tokens that these messages can be: a token of any byte-level vocabulary is at least one byte."""
    return sum(len(one.content.encode("utf-8", "surrogatepass")) + EXTRA_TOKENS for one in messages) + EXTRA_TOKENS


def expected_tokens(most: int) -> int:
    """About how many tokens a prompt is that can have so many."""
    return max(1, most // BYTES_A_TOKEN)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of one candidate before the scores, which compare them."""

    candidate: Candidate
    """With nothing yet in its scores."""
    latency_seconds: float
    """Measured, or else stated."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Ranks the models that the routing file has for a task."""

    policy: RoutingPolicy
    """Weights and tables."""
    prices: PriceList
    """What models cost."""
    residency: ResidencyCheck | None
    """Where data may go; None lets it go to every provider of the routing file."""
    endpoints: Mapping[str, str]
    """URL of each provider."""
    rates: Rates | None
    """How prices in other currencies are converted; None refuses them."""
    measured: Callable[[str], float | None]
    """Seconds that a provider took of late; None if nobody knows."""

    def decide(
        self,
        task_name: str,
        request: Request,
        *,
        data_class: str | None = None,
        without: Collection[str] = (),
    ) -> RouteDecision:
        """The decision for a request.

        Raises:
            UnknownTaskError: there is no such task.
        """
        task = self.policy.task(task_name)
        most = most_tokens(request.messages)
        refusals = {
            name: _UNWANTED if name in without else self._residency_refusal(name, route.models[task_name], data_class)
            for name, route in self.policy.providers.items()
            if task_name in route.models
        }
        known = [
            self._known(self._bare(name, task_name, task, refusal), most, request.max_tokens)
            for name, refusal in refusals.items()
        ]
        ranked = sorted(
            self._scored(known), key=lambda one: (one.refusal is not None, _ORDER[one.place], -one.score, one.provider)
        )
        return RouteDecision(task_name, tuple(ranked), most, request.max_tokens)

    def price(self, provider: str, model: str) -> tuple[Price, Decimal]:
        """The price, and what one unit of its currency is worth in the policy's.

        Raises:
            UserError: one of them is not known.
        """
        price = self.prices.find(provider, model)
        if price.currency == self.policy.currency:
            return price, Decimal(1)
        if self.rates is None:
            raise _no_rates(price.currency, self.policy.currency)
        return price, self.rates.rate(price.currency, self.policy.currency, datetime.now(UTC).date())

    def worst(self, provider: str, model: str, input_tokens: int, output_tokens: int) -> Decimal:
        """The most that such a call can cost, in the policy's currency; raises as `price`."""
        price, rate = self.price(provider, model)
        return price.worst(input_tokens, output_tokens) * rate

    def _bare(self, provider: str, task_name: str, task: TaskRoute, refusal: tuple[str, str] | None) -> Candidate:
        place = self._place(provider, task)
        route = self.policy.providers[provider]
        model = route.models[task_name]
        accuracy = route.accuracy.get(model, _PRIOR[place])
        why = refusal or (None, "")
        return Candidate(provider, model, 0.0, 0.0, 0.0, accuracy, None, None, None, place, *why)

    def _known(self, bare: Candidate, most: int, max_tokens: int) -> _Known:
        latency = self.measured(bare.provider) or self.policy.providers[bare.provider].base_latency_ms / 1000
        if bare.refusal is not None:
            return _Known(bare, latency)
        try:
            price, rate = self.price(bare.provider, bare.model)
        except UserError as error:
            return _Known(replace(bare, refusal=error.code, why=error.what), latency)
        expected = expected_tokens(most)
        if price.context_tokens is not None and expected + max_tokens > price.context_tokens:
            why = f"about {expected} and up to {max_tokens} tokens do not fit into {price.context_tokens}"
            return _Known(replace(bare, refusal="llm.prompt_too_large", why=why), latency)
        estimate = price.worst(expected, max(1, max_tokens // _TOKENS_OUT_SHARE)) * rate
        worst = price.worst(most, max_tokens) * rate
        return _Known(replace(bare, estimate=estimate, worst=worst, currency=self.policy.currency), latency)

    def _residency_refusal(self, provider: str, model: str, data_class: str | None) -> tuple[str, str] | None:
        if self.residency is None:
            return None
        verdict = self.residency.check(
            provider=provider, endpoint=self.endpoints[provider], model=model, data_class=data_class
        )
        return None if verdict.allow else (verdict.reason, verdict.message)

    def _place(self, provider: str, task: TaskRoute) -> Place:
        if provider == task.preferred_provider:
            return "preferred"
        if provider == task.fallback:
            return "fallback"
        return "global fallback" if provider == self.policy.failover.fallback_provider else "other"

    def _scored(self, known: list[_Known]) -> list[Candidate]:
        asked = [one for one in known if one.candidate.refusal is None]
        dearest = float(max((one.candidate.estimate or Decimal(0) for one in asked), default=Decimal(0)))
        slowest = max((one.latency_seconds for one in asked), default=0.0)
        weights = self.policy.weights
        total = weights.cost + weights.latency + weights.accuracy
        found = [one.candidate for one in known if one.candidate.refusal is not None]
        for one in asked:
            cost = 1 - float(one.candidate.estimate or 0) / dearest if dearest else 1.0
            latency = 1 - one.latency_seconds / slowest if len(asked) > 1 and slowest else 1.0
            accuracy = one.candidate.accuracy_score
            score = (weights.cost * cost + weights.latency * latency + weights.accuracy * accuracy) / total
            found.append(replace(one.candidate, score=score, cost_score=cost, latency_score=latency))
        return found


def _no_rates(currency: str, target: str) -> UserError:
    from companyos.finops.errors import RateError

    return RateError(
        f"no rate from {currency} to {target}", got="no table of rates", hint="set llm.rates in companyos.yaml"
    )
