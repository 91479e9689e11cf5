"""Spans and metrics of calls, by the semantic conventions for generative AI of OpenTelemetry.

One `chat MODEL` client span an attempt, below one `route TASK` span a call; tokens, durations and costs as metrics. No
prompt and no answer is in them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from companyos.observability.golden import Golden
from companyos.observability.runtime import current
from companyos.observability.spans import Span
from companyos.observability.tracing import Trace, begin, mark_failed

if TYPE_CHECKING:
    from companyos.llm.interface import Answer, Attempt, Chunk, Request
    from companyos.observability.redaction import Redactor

__all__ = ("Spanned", "attempt_ended", "attempt_span", "call_span", "told")

TOKEN_USAGE = "gen_ai.client.token.usage"  # noqa: S105 - name of a metric
DURATION = "gen_ai.client.operation.duration"
FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"
COST = "companyos.llm.cost"
_GOLDEN = {name: Golden(name) for name in (TOKEN_USAGE, DURATION, FIRST_CHUNK, COST)}


class Spanned(Trace):
    """A span that is not the one in hand: a stream may not change what its reader's work belongs to."""

    __slots__ = ()

    @property
    def context(self) -> trace.SpanContext:
        """By which others can be below it."""
        return self._span.get_span_context()

    @property
    def recorded(self) -> Span | None:
        """The span, if anything records it."""
        return self._span if isinstance(self._span, Span) else None

    def put(self, key: str, value: str | float | tuple[str, ...] | None) -> None:
        """Set an attribute whose key is one of ours; its value is masked, None left out."""
        if value is not None and isinstance(self._span, Span):
            self._span.put(key, _masked(value))

    def end(self, wrong: str | None = None) -> None:
        """Conclude the span, with a word of few values if it failed."""
        if wrong is not None and isinstance(self._span, Span):
            mark_failed(self._span, wrong)
        self._span.end()


def call_span(task: str, feature: str) -> Spanned:
    """The span of a whole call."""
    parent = trace.get_current_span().get_span_context()
    attributes = {"companyos.llm.task": task, "companyos.feature": feature}
    return _begun(f"route {task}", parent, trace.SpanKind.INTERNAL, attributes)


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
    return _begun(f"chat {model}", call.context, trace.SpanKind.CLIENT, attributes)


def told(span: Spanned, answer: Answer | Chunk) -> None:
    """What the provider said of its answer."""
    span.put("gen_ai.response.model", answer.model)
    span.put("gen_ai.response.id", answer.id)
    if answer.finish_reason is not None:
        span.put("gen_ai.response.finish_reasons", (answer.finish_reason,))
    if answer.usage is not None:
        span.put("gen_ai.usage.input_tokens", answer.usage.input_tokens)
        span.put("gen_ai.usage.output_tokens", answer.usage.output_tokens)


def attempt_ended(span: Spanned, wire: str, feature: str, attempt: Attempt) -> None:
    """How an attempt ended, as attributes and metrics; the span is over."""
    wrong = None if attempt.outcome == "ok" else attempt.outcome
    span.put("companyos.llm.cost", format(attempt.amount, "f"))
    span.put("companyos.llm.currency", attempt.currency)
    span.end(wrong)
    key = (
        *(("gen_ai.operation.name", "chat"), ("gen_ai.provider.name", wire)),
        ("gen_ai.request.model", attempt.model),
    )
    _record(DURATION, (*key, ("error.type", wrong)), attempt.seconds, span)
    if attempt.first_token_seconds is not None:
        _record(FIRST_CHUNK, key, attempt.first_token_seconds, span)
    if attempt.usage is not None:
        _record(TOKEN_USAGE, (*key, ("gen_ai.token.type", "input")), attempt.usage.input_tokens, span)
        _record(TOKEN_USAGE, (*key, ("gen_ai.token.type", "output")), attempt.usage.output_tokens, span)
    if attempt.amount:
        paid = (("companyos.feature", feature), ("companyos.llm.currency", attempt.currency))
        _record(COST, (*key, *paid), float(attempt.amount), span)


def _record(metric: str, key: tuple[tuple[str, str | None], ...], value: float, span: Spanned) -> None:
    recorder = current().recorder
    if recorder is not None:
        _GOLDEN[metric].record(recorder, (metric, *key), _tags, value, span.recorded)


def _tags(key: tuple[Any, ...]) -> dict[str, Any]:
    return {name: value for name, value in key[1:] if value is not None}


def _begun(name: str, parent: trace.SpanContext, kind: trace.SpanKind, attributes: dict[str, Any]) -> Spanned:
    """A span whose keys are ours, and whose values, most of which come again, are masked once."""
    recorder = current().recorder
    if recorder is None:
        return Spanned(begin(name, parent, kind, {}))
    shown = {key: _masked(value) for key, value in attributes.items() if value is not None}
    return Spanned(recorder.tracing.begin(str(_masked(name)), parent, kind, recorder.tracing.fit(shown)))


def _masked(value: str | float | tuple[str, ...]) -> str | float | tuple[str, ...]:
    return _masked_text(current().redactor, value) if isinstance(value, str) else value


@functools.lru_cache(maxsize=1024)
def _masked_text(redactor: Redactor, text: str) -> str:
    return redactor.text(text)
