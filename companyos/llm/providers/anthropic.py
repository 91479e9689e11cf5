"""Messages as Anthropic defines them.

Source: Anthropic API reference, "Messages" and "Streaming messages", version 2023-06-01 (read in 2026).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from companyos.llm.errors import ProviderError
from companyos.llm.failures import in_stream
from companyos.llm.interface import Answer, Chunk, FinishReason, Request, Usage
from companyos.llm.providers.wire import Count, StreamReader, WireProvider, decoded, malformed

if TYPE_CHECKING:
    from companyos.llm.transport import Patience

__all__ = ("AnthropicProvider",)

VERSION = "2023-06-01"
"""Of the API, as every request says."""

_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


class _Usage(msgspec.Struct):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None

    def value(self) -> Usage | None:
        """The cache's tokens are counted beside the others here, and among them elsewhere."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        written, read = self.cache_creation_input_tokens or 0, self.cache_read_input_tokens or 0
        return Usage(
            self.input_tokens + written + read, self.output_tokens, cache_read_tokens=read, cache_write_tokens=written
        )

    def updated(self, later: _Usage) -> _Usage:
        """With what a later event of the same stream says; its counts are totals."""
        return _Usage(
            *(new if new is not None else old for old, new in zip(_counts(self), _counts(later), strict=True))
        )


class _Block(msgspec.Struct):
    type: str
    text: str | None = None


class _Message(msgspec.Struct):
    content: list[_Block]
    stop_reason: str | None = None
    model: str | None = None
    id: str | None = None
    usage: _Usage | None = None


class _Delta(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str
    message: _Message | None = None
    delta: _Delta | None = None
    content_block: _Block | None = None
    usage: _Usage | None = None
    error: Any = None


_MESSAGE = msgspec.json.Decoder(_Message)
_EVENT = msgspec.json.Decoder(_Event)


class AnthropicProvider(WireProvider):
    """An endpoint that speaks Anthropic messages."""

    wire = "anthropic"
    path = "/messages"

    def body(self, request: Request, model: str, *, stream: bool) -> dict[str, Any]:
        """The request as Anthropic messages have it."""
        system = "\n\n".join(one.content for one in request.messages if one.role == "system")
        body: dict[str, Any] = {
            "model": model,
            "max_tokens": request.max_tokens,
            "messages": [
                {"role": one.role, "content": one.content} for one in request.messages if one.role != "system"
            ],
        }
        if system:
            body["system"] = system
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.stop:
            body["stop_sequences"] = list(request.stop)
        return body | {"stream": True} if stream else body

    def answer(self, data: bytes) -> Answer:
        """The answer in a body; raises as `WireProvider.answer` says."""
        found = decoded(_MESSAGE, data)
        finish = _finish(found.stop_reason)
        texts = [one.text for one in found.content if one.type == "text" and one.text is not None]
        if not texts and found.content == [] and finish == "stop" and found.usage is None:
            raise malformed("an answer without text")
        usage = None if found.usage is None else found.usage.value()
        return Answer("".join(texts), finish, usage, found.model or "", found.id)

    def reader(self, patience: Patience, secret: str | None) -> StreamReader:
        """A reader for one stream."""
        return _Reader(patience, secret)

    def authorization(self, key: str) -> dict[str, str]:
        """The key in a header of its own."""
        return {"x-api-key": key}

    def _headers(self, *, stream: bool) -> tuple[str | None, dict[str, str]]:
        secret, headers = super()._headers(stream=stream)
        return secret, {"anthropic-version": VERSION} | headers


class _Reader(StreamReader):
    def __init__(self, patience: Patience, secret: str | None) -> None:
        super().__init__(patience, secret)
        self._usage = _Usage()
        self._stop: str | None = None
        self._model: str | None = None
        self._id: str | None = None
        self._over = False

    @property
    def over(self) -> bool:
        return self._over

    def event(self, name: str, data: bytes) -> str:  # noqa: ARG002 - the data says the same
        event = decoded(_EVENT, data)
        if event.type == "error":
            raise in_stream(event.error, self.secret)
        if event.type == "message_stop":
            self._over = True
        elif event.type == "message_start" and event.message is not None:
            self._model, self._id = event.message.model, event.message.id
            self._count(event.message.usage)
        elif event.type == "message_delta":
            self._count(event.usage)
            if event.delta is not None and event.delta.stop_reason is not None:
                self._stop = event.delta.stop_reason
                self.patience.finish()
        elif event.type == "content_block_delta" and event.delta is not None:
            return self._text(event.delta)
        elif event.type == "content_block_start" and event.content_block is not None and event.content_block.text:
            return self._text(_Delta("text_delta", event.content_block.text))
        return ""

    def _count(self, usage: _Usage | None) -> None:
        if usage is not None:
            self._usage = self._usage.updated(usage)

    def _text(self, delta: _Delta) -> str:
        self.patience.token()
        if delta.type != "text_delta":
            return ""
        if delta.text is None or self._stop is not None:
            raise malformed("a part of the text that is none")
        return delta.text

    def last(self) -> Chunk:
        if self._stop is None:
            raise ProviderError("cut", "the stream ended before the model did", maybe_billed=True)
        return Chunk("", _finish(self._stop), self._usage.value(), self._model, self._id)


def _counts(usage: _Usage) -> tuple[int | None, ...]:
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_creation_input_tokens,
        usage.cache_read_input_tokens,
    )


def _finish(word: str | None) -> FinishReason:
    if word not in _FINISH:
        raise malformed(f"the model stopped for no reason that is known: {word}")
    return _FINISH[word]
