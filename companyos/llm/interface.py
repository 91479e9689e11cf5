"""What callers, providers and policies of the router exchange: value objects, and the protocols that each side keeps.

The core is asynchronous; `ModelRouter` has a synchronous face. Nothing here does any work, so that a policy (prices,
residency, audit, shapes of output) and a provider need nothing else of this room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from companyos.ports import ProviderKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime
    from decimal import Decimal

    from companyos.decision import Decision

__all__ = (
    "Answer",
    "Attempt",
    "AuditSink",
    "CallRecord",
    "Candidate",
    "Chunk",
    "Completion",
    "FailureKind",
    "FinishReason",
    "Held",
    "Limits",
    "Message",
    "OutputShape",
    "Price",
    "PriceList",
    "Provider",
    "ProviderKind",
    "ProviderSetting",
    "Request",
    "ResidencyCheck",
    "Role",
    "RouteDecision",
    "ShapeFactory",
    "SpendGuard",
    "StreamEvent",
    "Usage",
)

Role = Literal["system", "user", "assistant"]
"""Who speaks."""

FinishReason = Literal["stop", "length", "content_filter"]
"""Why the model stopped: it was done, it had no tokens left, or a filter cut it off (words of the OpenAI format)."""

FailureKind = Literal[
    "connect",  # no connection, or none in time
    "timeout",  # no answer, or no first token, in time
    "rate_limited",  # 429
    "overloaded",  # 503, 529, or an error event that says so
    "server",  # 5xx
    "cut",  # the answer ended before it was whole
    "stalled",  # silent in the middle of the answer
    "malformed",  # not the wire format: HTML, another schema, impossible numbers, oversized
    "redirected",  # it points elsewhere; nobody follows
    "unauthorized",  # 401, 403, a used-up quota: the key, not the request
    "unknown_model",  # 404: the provider does not have it
    "context_length",  # the prompt is longer than this model takes
    "content_filter",  # the provider's filter
    "rejected",  # any other 4xx: the request
    "deadline",  # the time of the whole call is over
]
"""How an attempt failed; `content_filter` and `rejected` are final, after the others another provider may be asked."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    """Who speaks."""
    content: str
    """What is said, as text."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a provider is asked, whichever it is."""

    messages: tuple[Message, ...]
    """The conversation; `system` turns come first."""
    max_tokens: int
    """The most tokens that the answer may have, reasoning included."""
    temperature: float | None = None
    """0 to 2; None leaves it to the provider."""
    stop: tuple[str, ...] = ()
    """Texts at which the answer ends."""
    json_schema: Mapping[str, Any] | None = None
    """The shape that the answer must have, for providers that can be told."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a provider says it has counted."""

    input_tokens: int
    """Of the prompt, those from and to the cache included."""
    output_tokens: int
    """Of the answer, reasoning included."""
    cache_read_tokens: int = 0
    """Of the prompt, read from the provider's cache."""
    cache_write_tokens: int = 0
    """Of the prompt, written to the provider's cache."""
    reasoning_tokens: int = 0
    """Of the answer, spent on reasoning that is not shown."""

    @property
    def total(self) -> int:
        """Prompt and answer together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an attempt may take, and how large its answer may be."""

    connect_seconds: float
    """Until there is a connection."""
    first_token_seconds: float
    """From the request to the first token of a stream; an answer that is no stream has `total_seconds`."""
    idle_seconds: float
    """Between two tokens of a stream."""
    total_seconds: float
    """For all of the attempt."""
    max_bytes: int = 16 * 1024 * 1024
    """Of the body, whatever its form."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of one provider; what was not whole is a `ProviderError`, never this."""

    text: str
    """What the model said."""
    finish_reason: FinishReason
    """Why it stopped."""
    usage: Usage | None
    """What was counted; None if the provider does not say."""
    model: str
    """The model that answered, in the provider's words."""
    id: str | None = None
    """The provider's id of the answer."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a streamed answer; the last one has a `finish_reason` and what was counted."""

    text: str = ""
    """The next part of the text."""
    finish_reason: FinishReason | None = None
    """Set on the last chunk alone."""
    usage: Usage | None = None
    """What was counted; None but on the last."""
    model: str | None = None
    """The model that answered, on the last."""
    id: str | None = None
    """The provider's id of the answer, on the last."""


class Provider(Protocol):
    """A place to ask models: one endpoint in one wire format."""

    @property
    def name(self) -> str:
        """Its name in the routing file."""
        ...

    @property
    def endpoint(self) -> str:
        """The URL below which every byte goes; what residency judges."""
        ...

    @property
    def wire(self) -> str:
        """Its kind, and the `gen_ai.provider.name` of spans: `openai`, `anthropic`, ..."""
        ...

    @property
    def native_schema(self) -> bool:
        """Whether it can be told the shape of the answer (`Request.json_schema`)."""
        ...

    async def complete(self, request: Request, model: str, limits: Limits) -> Answer:
        """The whole answer.

        Raises:
            ProviderError: there is none, whatever the reason; nothing else is raised.
        """
        ...

    def stream(self, request: Request, model: str, limits: Limits) -> AsyncIterator[Chunk]:
        """The answer in parts; ends after a chunk with a `finish_reason`.

        Raises:
            ProviderError: it did not end so.
        """
        ...

    async def aclose(self) -> None:
        """Release the connections of the running event loop."""
        ...


@dataclass(frozen=True, slots=True)
class ProviderSetting:
    """What the routing file says of a provider."""

    name: str
    """Its name there."""
    kind: str
    """Which wire format it speaks, the name of a `ProviderKind`."""
    base_url: str
    """Where it is, with the prefix of its paths (`https://api.openai.com/v1`)."""
    api_key: str | None = None
    """Where its key is: `env:NAME` or `file:PATH`; None sends none. Read at each use, and never shown."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers of every request."""


class Price(Protocol):
    """What one model costs at one provider, and how much it can hold."""

    @property
    def currency(self) -> str:
        """ISO 4217 code."""
        ...

    @property
    def context_tokens(self) -> int | None:
        """The most tokens of prompt and answer together; None if nobody knows."""
        ...

    def cost(self, usage: Usage) -> Decimal:
        """What this usage costs, exactly."""
        ...

    def worst(self, input_tokens: int, output_tokens: int) -> Decimal:
        """The most that a call with at most so many tokens can cost, whatever is cached, thought or tiered."""
        ...


class PriceList(Protocol):
    """Prices by provider and model."""

    def find(self, provider: str, model: str) -> Price:
        """The price that is in force now.

        Raises:
            UnknownModelError: there is none, or the list is too old to be used.
        """
        ...


class ResidencyCheck(Protocol):
    """Whether data may go to an endpoint; asked before each attempt, failover included."""

    def check(self, *, provider: str, endpoint: str, model: str, data_class: str | None) -> Decision:
        """Allowed, denied, or undetermined; everything but allowed keeps every byte here."""
        ...

    def region(self, provider: str) -> str | None:
        """The region that is on record for the provider, for spans and the audit trail."""
        ...


class Held(Protocol):
    """Money and tokens that are held for one attempt: `companyos.finops.budgets.Reservation` is one."""

    @property
    def id(self) -> str:
        """Its id in the budget."""
        ...

    def settle(self, amount: Decimal | int | None = None, *, tokens: int | None = None) -> None:
        """Put what was spent in the place of what was held; what is not said was spent in full."""
        ...

    def refund(self) -> None:
        """Give all of it back."""
        ...


class SpendGuard(Protocol):
    """What the router needs of a budget: `companyos.finops.Budget` is one.

    It is called in a thread, as is an audit sink; one that never waits may say so by a true attribute `is_instant`.
    """

    def reserve(
        self,
        amount: Decimal | int | None = None,
        *,
        task: str,
        tokens: int | None = None,
        currency: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        id: str | None = None,  # noqa: A002 - the reservation's
        lease_seconds: float | None = None,
    ) -> Held:
        """Hold it in every level that applies, or in none.

        Raises:
            BudgetRefusedError: there is no room, or the provider or model is not allowed.
        """
        ...


class OutputShape(Protocol):
    """The shape that an answer must have."""

    @property
    def json_schema(self) -> Mapping[str, Any]:
        """The same as JSON Schema, for providers that can be told."""
        ...

    def read(self, text: str) -> Any:
        """The value in the text.

        Raises:
            OutputError: the text does not hold one; its `repair` is what to tell the model.
        """
        ...


ShapeFactory = Callable[[Any], OutputShape]
"""Makes the shape of what a caller gives as `schema`: a pydantic model, a JSON Schema, ..."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model at one provider, as ranked for a request."""

    provider: str
    """Name in the routing file."""
    model: str
    """Name of the model there."""
    score: float
    """Weighted sum of the three below, 0 to 1; the larger the better."""
    cost_score: float
    """1 for the cheapest of the candidates."""
    latency_score: float
    """1 for the fastest of them, by what was measured or else is stated."""
    accuracy_score: float
    """By what is stated, or else by its place in the task table."""
    estimate: Decimal | None
    """What the call is expected to cost; None if it may not be asked."""
    worst: Decimal | None
    """The most that it can cost; what is reserved."""
    currency: str | None
    """Of both."""
    place: Literal["preferred", "fallback", "global fallback", "other"]
    """Its place in the task table; earlier places are asked first, the score decides within one."""
    refusal: str | None = None
    """Why it may not be asked: stable id of the reason; None if it may."""
    why: str = ""
    """The same for a person."""


@dataclass(frozen=True, slots=True)
class RouteDecision:
    """Whom to ask, in which order, and why; made before a byte leaves."""

    task: str
    """Key of the task table."""
    candidates: tuple[Candidate, ...]
    """All of them, those that may be asked first, in the order in which they are."""
    input_tokens: int
    """The most that the prompt can have."""
    max_tokens: int
    """The most that the answer may have."""

    @property
    def chain(self) -> tuple[Candidate, ...]:
        """Those that may be asked, in order."""
        return tuple(one for one in self.candidates if one.refusal is None)

    @property
    def worst(self) -> Decimal:
        """The most that any one of those that may be asked can cost; what is held, so that they can follow."""
        from decimal import Decimal

        return max((one.worst for one in self.chain if one.worst is not None), default=Decimal(0))

    def to_dict(self) -> dict[str, Any]:
        """The decision as a JSON object; amounts are texts."""
        return {
            "task": self.task,
            "input_tokens": self.input_tokens,
            "max_tokens": self.max_tokens,
            "candidates": [_as_json(one) for one in self.candidates],
        }


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one provider, as it ended."""

    provider: str
    """Whom."""
    model: str
    """Which model was asked for."""
    endpoint: str
    """Where the bytes went."""
    region: str | None
    """The region on record."""
    outcome: Literal["ok"] | FailureKind
    """How it ended."""
    detail: str
    """The same for a person; empty for `ok`."""
    status: int | None
    """HTTP status, if there was one."""
    seconds: float
    """How long it took."""
    first_token_seconds: float | None
    """How long the first token of a stream took."""
    usage: Usage | None
    """What the provider counted; None if it does not say."""
    amount: Decimal
    """What it is counted as having cost."""
    currency: str
    """Of the amount."""
    assumed: bool
    """Whether the amount is the worst case, because the provider may have counted and does not say."""
    reservation: str | None
    """Id of the reservation in the budget; None without a budget."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a call came to."""

    text: str
    """What the models said; of several providers if a stream was continued."""
    finish_reason: FinishReason | None
    """Why the last of them stopped; None if the text is partial."""
    usage: Usage | None
    """What the one that finished counted; None if it does not say."""
    provider: str
    """The one that finished, or was the last to say anything."""
    model: str
    """The model that was asked for there."""
    response_model: str
    """The model that answered, in the provider's words."""
    response_id: str | None
    """The provider's id of the answer."""
    partial: bool
    """Whether the text broke off, and is not all that the model would have said."""
    attempts: tuple[Attempt, ...]
    """Every attempt, in order."""
    decision: RouteDecision
    """Whom to ask, and why."""
    cost: Decimal
    """What all attempts together are counted as having cost."""
    currency: str
    """Of the cost."""
    value: Any = None
    """What `schema` asked for, read from the text."""
    audit_id: str | None = None
    """Id of the entry on the ledger, if there is an audit sink that says."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One step of a streamed call: some text, a change of provider, or the end."""

    kind: Literal["text", "switched", "done"]
    """Which of them."""
    text: str = ""
    """For `text`: what comes next; all of them together are the answer."""
    provider: str | None = None
    """For `switched`: who continues."""
    completion: Completion | None = None
    """For `done`: what it came to."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """All that there is to tell of one call, for the audit trail; made when it is over, however it ended."""

    id: str
    """Unique id of the call."""
    at: datetime
    """When it began; aware, UTC."""
    seconds: float
    """How long it took."""
    task: str
    """Key of the task table."""
    feature: str
    """Path `company/team/feature/run` that pays."""
    data_class: str | None
    """Classification of the data in the prompt, as the caller says."""
    request: Request
    """What was asked."""
    decision: RouteDecision
    """Whom to ask, and why."""
    attempts: tuple[Attempt, ...]
    """Every attempt, in order; empty if nobody was asked."""
    text: str | None
    """The answer, or what there is of it; None if there is none."""
    error: str | None
    """Stable code of the error that the caller got; None if the call succeeded."""
    trace_id: str | None = None
    """Trace of the call, 32 hexadecimal digits."""


class AuditSink(Protocol):
    """Where calls leave their record."""

    def record(self, call: CallRecord) -> str | None:
        """Keep the record, and return the id of its entry if it has one already; raising fails the call."""
        ...


def _as_json(one: Candidate) -> dict[str, Any]:
    return {
        "provider": one.provider,
        "model": one.model,
        "place": one.place,
        "score": round(one.score, 6),
        "cost_score": round(one.cost_score, 6),
        "latency_score": round(one.latency_score, 6),
        "accuracy_score": round(one.accuracy_score, 6),
        "estimate": None if one.estimate is None else format(one.estimate, "f"),
        "worst": None if one.worst is None else format(one.worst, "f"),
        "currency": one.currency,
        "refusal": one.refusal,
        "why": one.why,
    }
