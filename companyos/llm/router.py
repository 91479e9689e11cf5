"""The front door: `ModelRouter.route` asks the right model, within budget and residency, or another one."""

from __future__ import annotations

import json
import threading
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast

from companyos.decision import Decision
from companyos.errors import UserError
from companyos.llm.call import Call, Wiring, checked
from companyos.llm.errors import OutputError, RoutingError
from companyos.llm.health import Health
from companyos.llm.interface import Message, Request
from companyos.llm.ranking import Ranking
from companyos.llm.routing import RoutingPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
    from decimal import Decimal

    from companyos.finops.rates import Rates
    from companyos.llm.interface import (
        AuditSink,
        Completion,
        OutputShape,
        PriceList,
        Provider,
        ProviderKind,
        ResidencyCheck,
        RouteDecision,
        ShapeFactory,
        SpendGuard,
        StreamEvent,
    )
    from companyos.llm.loop import LoopThread

__all__ = ("ModelRouter", "Prompt")

Prompt: TypeAlias = "str | Sequence[Message | Mapping[str, str]]"
"""One text of the user, or a conversation."""

_ROLES = frozenset({"system", "user", "assistant"})
_SCHEMA = "Answer with JSON alone, without any other text, that satisfies this JSON Schema:\n"


class ModelRouter:
    """Routes calls of language models by one routing file; usable from any number of threads and event loops.

    `policy` is a `RoutingPolicy` or the path of one. Without `budget` nothing is reserved, without `residency` every
    provider of the file may be asked, without `prices` those of the file count. `kinds` are the wire formats that the
    file may name; default: those built in. `close` it, or use it as a context manager.
    """

    def __init__(
        self,
        policy: RoutingPolicy | Path | str,
        budget: SpendGuard | None = None,
        *,
        prices: PriceList | None = None,
        residency: ResidencyCheck | None = None,
        audit: AuditSink | None = None,
        shapes: ShapeFactory | None = None,
        rates: Rates | None = None,
        kinds: Mapping[str, ProviderKind] | None = None,
        feature: str = "company",
    ) -> None:
        self.policy = policy if isinstance(policy, RoutingPolicy) else RoutingPolicy.load(Path(policy))
        self.feature = feature
        rules = self.policy.failover
        health = Health(rules.failures, rules.cool_down_seconds)
        providers = _providers(self.policy, kinds)
        endpoints = {name: one.endpoint for name, one in providers.items()}
        ranking = Ranking(
            self.policy, self.policy if prices is None else prices, residency, endpoints, rates, health.seconds
        )
        self._wiring = Wiring(self.policy, providers, ranking, health, residency, budget, audit)
        self._shapes = shapes
        self._thread: LoopThread | None = None
        self._lock = threading.Lock()

    @property
    def health(self) -> Health:
        """How each provider fares."""
        return self._wiring.health

    @property
    def providers(self) -> Mapping[str, Provider]:
        """The providers of the routing file."""
        return self._wiring.providers

    async def aroute(
        self,
        prompt: Prompt,
        *,
        task: str,
        schema: Any = None,
        feature: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        stop: Sequence[str] = (),
        data_class: str | None = None,
        deadline_seconds: float | None = None,
        without: Collection[str] = (),
    ) -> Completion:
        """A whole answer to a prompt, or to a conversation.

        `task` is a key of the task table. `schema` is what the answer must be; it is asked for once more if it is not.
        `feature` is the path `company/team/feature/run` that pays. `data_class` is what residency judges the prompt
        by. `without` names providers that are not to be asked.

        Raises:
            RouteRefusedError: nobody may be asked; not a byte has left.
            BudgetRefusedError: there is no room in the budget for any of those that may be asked.
            ContentFilteredError: a provider's content filter stopped it.
            RejectedError: the provider says that the request is wrong.
            ExhaustedError: every provider failed, or the time is over.
            OutputError: the answer is not of the shape that was asked for, also not the second time.
            UnknownTaskError, UnknownModelError, PromptTooLargeError: as their names say.
        """
        shape = self._shape(schema)
        request = self._request(prompt, task, max_tokens=max_tokens, temperature=temperature, stop=stop, shape=shape)
        options: dict[str, Any] = {
            "feature": feature or self.feature,
            "data_class": data_class,
            "deadline_seconds": deadline_seconds,
            "without": without,
        }
        first = await Call(self._wiring, request, task, **options).complete()
        if shape is None:
            return first
        try:
            return replace(first, value=shape.read(first.text))
        except OutputError as error:
            turns = (Message("assistant", first.text), Message("user", error.repair))
        again = replace(request, messages=(*request.messages, *turns))
        second = await Call(self._wiring, again, task, **options).complete()
        return replace(
            second,
            value=shape.read(second.text),
            attempts=first.attempts + second.attempts,
            cost=first.cost + second.cost,
        )

    async def astream(
        self,
        prompt: Prompt,
        *,
        task: str,
        feature: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        stop: Sequence[str] = (),
        data_class: str | None = None,
        deadline_seconds: float | None = None,
        without: Collection[str] = (),
    ) -> AsyncGenerator[StreamEvent]:
        """The answer in parts, as `StreamEvent`s; the last one is `done` and has the `Completion`.

        When a stream is cut or stalls, another provider continues the text: a `switched` event says so.

        Raises:
            PartialAnswerError: the text broke off, and nobody could continue it.
            UserError: as `aroute`.
        """
        request = self._request(prompt, task, max_tokens=max_tokens, temperature=temperature, stop=stop)
        call = Call(
            self._wiring,
            request,
            task,
            feature=feature or self.feature,
            data_class=data_class,
            deadline_seconds=deadline_seconds,
            without=without,
        )
        async with aclosing(call.stream()) as events:
            async for event in events:
                yield event

    def route(self, prompt: Prompt, **options: Any) -> Completion:
        """`aroute` for those who do not await; the same arguments and errors."""
        return self._loop.run(self.aroute(prompt, **options))

    def stream(self, prompt: Prompt, **options: Any) -> Iterator[StreamEvent]:
        """`astream` for those who do not await; the same arguments and errors."""
        return self._loop.iterate(lambda: self.astream(prompt, **options))

    def failover(self, prompt: Prompt, *, failed: Collection[str], **options: Any) -> Completion:
        """`route` past the providers that are known to have failed."""
        return self.route(prompt, without=failed, **options)

    def decide(
        self,
        prompt: Prompt,
        *,
        task: str,
        max_tokens: int | None = None,
        data_class: str | None = None,
        without: Collection[str] = (),
    ) -> RouteDecision:
        """Whom `route` would ask, in which order, and why; asks nobody.

        Raises:
            UnknownTaskError: there is no such task.
        """
        request = self._request(prompt, task, max_tokens=max_tokens)
        return self._wiring.ranking.decide(task, request, data_class=data_class, without=without)

    def estimate_cost(self, prompt: Prompt, *, task: str, **options: Any) -> tuple[Decimal, str]:
        """What the call is expected to cost at the provider that would be asked first, and the currency of it.

        Raises:
            RouteRefusedError: nobody may be asked.
            UnknownModelError: nobody knows what it would cost.
        """
        first = checked(self.decide(prompt, task=task, **options)).chain[0]
        return cast("Decimal", first.estimate), cast("str", first.currency)

    def check_budget(self, prompt: Prompt, *, task: str, feature: str | None = None, **options: Any) -> Decision:
        """Whether there is room for the call now; nothing stays reserved, so that it may be gone in a moment.

        Raises:
            RouteRefusedError: nobody may be asked.
        """
        from companyos.finops.budgets.errors import BudgetRefusedError

        decision = checked(self.decide(prompt, task=task, **options))
        purse = self._wiring.purse(feature or self.feature)
        tokens, at_least = (decision.input_tokens, decision.max_tokens), decision.worst
        denied: Decision | None = None
        for one in decision.chain:
            try:
                hold = self._loop.run(purse.hold(one.provider, one.model, tokens, at_least, 1.0))
            except BudgetRefusedError as error:
                denied = error.decision if denied is None else denied
                continue
            self._loop.run(purse.refund(hold))
            return Decision.allowed("llm.budget", f"there is room for {one.provider}/{one.model}")
        return cast("Decision", denied)

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        for provider in self.providers.values():
            await provider.aclose()

    def close(self) -> None:
        """Close the connections of the synchronous face."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.close(self.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def _loop(self) -> LoopThread:
        from companyos.llm.loop import LoopThread

        with self._lock:
            if self._thread is None:
                self._thread = LoopThread()
            return self._thread

    def _shape(self, schema: Any) -> OutputShape | None:
        if schema is None:
            return None
        if self._shapes is None:
            raise RoutingError("nobody reads answers into a schema here", hint="give ModelRouter a ShapeFactory")
        return self._shapes(schema)

    def _request(
        self,
        prompt: Prompt,
        task: str,
        *,
        max_tokens: int | None,
        temperature: float | None = None,
        stop: Sequence[str] = (),
        shape: OutputShape | None = None,
    ) -> Request:
        most = self.policy.task(task).max_tokens
        messages = _messages(prompt)
        if max_tokens is not None and not 0 < max_tokens <= most:
            raise UserError("not as many tokens as the task allows", got=max_tokens, expected=f"1 to {most}")
        if temperature is not None and not 0 <= temperature <= 2:
            raise UserError("not a temperature", got=temperature, expected="0 to 2")
        if shape is not None:
            text = _SCHEMA + json.dumps(shape.json_schema)
            messages = (Message("system", text), *messages)
        schema = None if shape is None else shape.json_schema
        return Request(messages, most if max_tokens is None else max_tokens, temperature, tuple(stop), schema)


def _messages(prompt: Prompt) -> tuple[Message, ...]:
    turns = (Message("user", prompt),) if isinstance(prompt, str) else tuple(_message(one) for one in prompt)
    for one in turns:
        if one.role not in _ROLES or not isinstance(one.content, str):
            raise UserError("not a message", got=one.role, expected="a role (system, user, assistant) and a text")
        try:
            one.content.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UserError("a message is no text that can be sent", got=error.reason) from error
    if not any(one.role == "user" and one.content for one in turns):
        raise UserError("there is nothing to ask", expected="a text, or messages of which one is the user's")
    return turns


def _message(turn: Message | Mapping[str, str]) -> Message:
    if isinstance(turn, Message):
        return turn
    try:
        return Message(cast("Any", turn["role"]), turn["content"])
    except (KeyError, TypeError, IndexError) as error:
        raise UserError("not a message", got=type(turn).__name__, expected='{"role": …, "content": …}') from error


def _providers(policy: RoutingPolicy, kinds: Mapping[str, ProviderKind] | None) -> dict[str, Provider]:
    from companyos.llm.plugin import KINDS

    known = {kind.name: kind for kind in KINDS} if kinds is None else kinds
    found = {}
    for name in policy.providers:
        setting = policy.setting(name)
        kind = known.get(setting.kind)
        if kind is None:
            raise RoutingError(
                f"providers.{name} is of a kind that nobody knows", got=setting.kind, expected=", ".join(sorted(known))
            )
        found[name] = kind.make(setting)
    return found
