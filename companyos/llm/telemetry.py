"""Spans and metrics of calls, by the semantic conventions for generative AI of OpenTelemetry.

One `chat MODEL` client span an attempt, below one `route TASK` span a call; tokens, durations and costs as metrics. No
prompt and no answer is in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from companyos.observability.meters import metrics
from companyos.observability.tracing import Trace, begin

if TYPE_CHECKING:
    from companyos.llm.interface import Answer, Attempt, Chunk, Request

__all__ = ("Spanned", "attempt_ended", "attempt_span", "call_span", "told")

TOKEN_USAGE = "gen_ai.client.token.usage"  # noqa: S105 - name of a metric
DURATION = "gen_ai.client.operation.duration"
FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"
COST = "companyos.llm.cost"


class Spanned(Trace):
    """A span that is not the one in hand: a stream may not change what its reader's work belongs to."""

    __slots__ = ()

    @property
    def context(self) -> trace.SpanContext:
        """By which others can be below it."""
        return self._span.get_span_context()

    def end(self) -> None:
        """Conclude the span."""
        self._span.end()


def call_span(task: str, feature: str) -> Spanned:
    """The span of a whole call."""
    parent = trace.get_current_span().get_span_context()
    attributes = {"companyos.llm.task": task, "companyos.feature": feature}
    return Spanned(begin(f"route {task}", parent, trace.SpanKind.INTERNAL, attributes))


def attempt_span(call: Spanned, wire: str, model: str, request: Request, more: dict[str, Any]) -> Spanned:
    """The span of one attempt of a call; `more` is what only we know of it."""
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": wire,
        "gen_ai.request.model": model,
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": request.temperature,
        **more,
    }
    said = {key: value for key, value in attributes.items() if value is not None}
    return Spanned(begin(f"chat {model}", call.context, trace.SpanKind.CLIENT, said))


def told(span: Spanned, answer: Answer | Chunk) -> None:
    """What the provider said of its answer."""
    span.set("gen_ai.response.model", answer.model)
    span.set("gen_ai.response.id", answer.id)
    if answer.finish_reason is not None:
        span.set("gen_ai.response.finish_reasons", [answer.finish_reason])
    if answer.usage is not None:
        span.set("gen_ai.usage.input_tokens", answer.usage.input_tokens)
        span.set("gen_ai.usage.output_tokens", answer.usage.output_tokens)


def attempt_ended(span: Spanned, wire: str, feature: str, attempt: Attempt) -> None:
    """How an attempt ended, as attributes and metrics."""
    span.set("companyos.llm.cost", format(attempt.amount, "f"))
    span.set("companyos.llm.currency", attempt.currency)
    tags = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": wire, "gen_ai.request.model": attempt.model}
    if attempt.outcome != "ok":
        span.fail(attempt.outcome)
    wrong = {} if attempt.outcome == "ok" else {"error.type": attempt.outcome}
    metrics.record(DURATION, attempt.seconds, tags | wrong)
    if attempt.first_token_seconds is not None:
        metrics.record(FIRST_CHUNK, attempt.first_token_seconds, tags)
    if attempt.usage is not None:
        metrics.record(TOKEN_USAGE, attempt.usage.input_tokens, tags | {"gen_ai.token.type": "input"})
        metrics.record(TOKEN_USAGE, attempt.usage.output_tokens, tags | {"gen_ai.token.type": "output"})
    if attempt.amount:
        spent = {"companyos.feature": feature, "companyos.llm.currency": attempt.currency}
        metrics.increment(COST, tags | spent, by=float(attempt.amount))
