"""Chat completions as OpenAI defines them, which vLLM, llama.cpp, Ollama and many others speak, too.

Source: OpenAI API reference, "Chat" (read in 2026).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from companyos.llm.errors import ProviderError
from companyos.llm.failures import in_stream
from companyos.llm.interface import Answer, Chunk, FinishReason, ProviderSetting, Request, Usage
from companyos.llm.providers.wire import Count, StreamReader, WireProvider, decoded, malformed

if TYPE_CHECKING:
    from companyos.llm.transport import Patience

__all__ = ("OpenAIProvider",)

_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "content_filter"}
_DONE = b"[DONE]"
_NEW_NAME = ("openai.com", "openai.azure.com")
"""Hosts whose models take `max_completion_tokens`; others know the older name alone."""


class _PromptDetails(msgspec.Struct):
    cached_tokens: Count | None = None


class _AnswerDetails(msgspec.Struct):
    reasoning_tokens: Count | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Count
    completion_tokens: Count
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _AnswerDetails | None = None

    def value(self) -> Usage:
        cached = self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens
        reasoning = self.completion_tokens_details and self.completion_tokens_details.reasoning_tokens
        return Usage(
            self.prompt_tokens,
            self.completion_tokens,
            cache_read_tokens=min(cached or 0, self.prompt_tokens),
            reasoning_tokens=min(reasoning or 0, self.completion_tokens),
        )


class _Said(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Said
    finish_reason: str | None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    model: str | None = None
    id: str | None = None
    usage: _Usage | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Step(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None
    index: int = 0


class _Part(msgspec.Struct):
    choices: list[_Step] = []
    model: str | None = None
    id: str | None = None
    usage: _Usage | None = None
    error: Any = None


_COMPLETION = msgspec.json.Decoder(_Completion)
_PART = msgspec.json.Decoder(_Part)


class OpenAIProvider(WireProvider):
    """An endpoint that speaks chat completions."""

    wire = "openai"
    native_schema = True
    path = "/chat/completions"

    def __init__(self, setting: ProviderSetting) -> None:
        super().__init__(setting)
        host = urlsplit(self.endpoint).hostname or ""
        new = any(host == one or host.endswith(f".{one}") for one in _NEW_NAME)
        self._limit = "max_completion_tokens" if new else "max_tokens"

    def body(self, request: Request, model: str, *, stream: bool) -> dict[str, Any]:
        """The request as chat completions have it."""
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": one.role, "content": one.content} for one in request.messages],
            self._limit: request.max_tokens,
        }
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.stop:
            body["stop"] = list(request.stop)
        if request.json_schema is not None:
            shape = {"name": "answer", "schema": request.json_schema}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    def answer(self, data: bytes) -> Answer:
        """The answer in a body; raises as `WireProvider.answer` says."""
        found = decoded(_COMPLETION, data)
        if len(found.choices) != 1:
            raise malformed(f"{len(found.choices)} choices instead of one")
        choice = found.choices[0]
        if choice.message.refusal:
            raise ProviderError("content_filter", "the model refused to answer", maybe_billed=True)
        if choice.message.content is None and choice.finish_reason != "content_filter":
            raise malformed("a choice without content")
        return Answer(
            choice.message.content or "",
            _finish(choice.finish_reason),
            None if found.usage is None else found.usage.value(),
            found.model or "",
            found.id,
        )

    def reader(self, patience: Patience, secret: str | None) -> StreamReader:
        """A reader for one stream."""
        return _Reader(patience, secret)


class _Reader(StreamReader):
    def __init__(self, patience: Patience, secret: str | None) -> None:
        super().__init__(patience, secret)
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._model: str | None = None
        self._id: str | None = None
        self._over = False

    @property
    def over(self) -> bool:
        return self._over

    def event(self, name: str, data: bytes) -> str:  # noqa: ARG002 - this format has no names of events
        if data == _DONE:
            self._over = True
            return ""
        part = decoded(_PART, data)
        if part.error is not None:
            raise in_stream(part.error, self.secret)
        self._model, self._id = part.model or self._model, part.id or self._id
        if part.usage is not None:
            self._usage = part.usage.value()
        return self._step(part.choices[0]) if part.choices else ""

    def _step(self, step: _Step) -> str:
        delta = step.delta
        if delta.refusal:
            raise ProviderError("content_filter", "the model refused to answer", maybe_billed=True)
        if delta.content and self._finish is not None:
            raise malformed("text after the end")
        if delta.content or delta.reasoning_content or delta.reasoning:
            self.patience.token()
        if step.finish_reason is not None:
            self._finish = step.finish_reason
            self.patience.finish()
        return delta.content or ""

    def last(self) -> Chunk:
        if self._finish is None:
            raise ProviderError("cut", "the stream ended before the model did", maybe_billed=True)
        return Chunk("", _finish(self._finish), self._usage, self._model, self._id)


def _finish(word: str | None) -> FinishReason:
    if word not in _FINISH:
        raise malformed(f"the model stopped for no reason that is known: {word}")
    return _FINISH[word]
