"""The Responses API of OpenAI; nothing is stored there (`store: false`).

Source: OpenAI API reference, "Responses" (read in 2026).
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

__all__ = ("ResponsesProvider",)

_INCOMPLETE: dict[str | None, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}
_ENDINGS = frozenset({"response.completed", "response.incomplete", "response.failed"})


class _InputDetails(msgspec.Struct):
    cached_tokens: Count | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: Count | None = None


class _Usage(msgspec.Struct):
    input_tokens: Count
    output_tokens: Count
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None

    def value(self) -> Usage:
        cached = self.input_tokens_details and self.input_tokens_details.cached_tokens
        reasoning = self.output_tokens_details and self.output_tokens_details.reasoning_tokens
        return Usage(
            self.input_tokens,
            self.output_tokens,
            cache_read_tokens=min(cached or 0, self.input_tokens),
            reasoning_tokens=min(reasoning or 0, self.output_tokens),
        )


class _Content(msgspec.Struct):
    type: str
    text: str | None = None


class _Item(msgspec.Struct):
    type: str
    content: list[_Content] | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    status: str
    output: list[_Item] = []
    model: str | None = None
    id: str | None = None
    usage: _Usage | None = None
    incomplete_details: _Incomplete | None = None
    error: Any = None


class _Event(msgspec.Struct):
    type: str
    delta: Any = None
    response: msgspec.Raw = msgspec.Raw()
    error: Any = None
    code: str | None = None
    message: str | None = None


_RESPONSE = msgspec.json.Decoder(_Response)
_EVENT = msgspec.json.Decoder(_Event)


class ResponsesProvider(WireProvider):
    """An endpoint that speaks the Responses API."""

    wire = "openai"
    native_schema = True
    path = "/responses"

    def body(self, request: Request, model: str, *, stream: bool) -> dict[str, Any]:
        """The request as the Responses API has it.

        Raises:
            ProviderError: texts at which to stop, which this API does not know.
        """
        if request.stop:
            raise ProviderError("rejected", "the Responses API takes no texts at which to stop")
        body: dict[str, Any] = {
            "model": model,
            "input": [{"role": one.role, "content": one.content} for one in request.messages],
            "max_output_tokens": request.max_tokens,
            "store": False,
        }
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.json_schema is not None:
            body["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": request.json_schema}}
        return body | {"stream": True} if stream else body

    def answer(self, data: bytes) -> Answer:
        """The answer in a body; raises as `WireProvider.answer` says."""
        found = decoded(_RESPONSE, data)
        finish = _finish(found, None)
        parts = [part for item in found.output if item.type == "message" for part in item.content or ()]
        if any(part.type == "refusal" for part in parts):
            raise ProviderError("content_filter", "the model refused to answer", maybe_billed=True)
        texts = [part.text for part in parts if part.type == "output_text" and part.text is not None]
        if not texts and finish == "stop":
            raise malformed("an answer without text")
        return Answer("".join(texts), finish, _usage(found), found.model or "", found.id)

    def reader(self, patience: Patience, secret: str | None) -> StreamReader:
        """A reader for one stream."""
        return _Reader(patience, secret)


class _Reader(StreamReader):
    def __init__(self, patience: Patience, secret: str | None) -> None:
        super().__init__(patience, secret)
        self._end: _Response | None = None

    @property
    def over(self) -> bool:
        return self._end is not None

    def event(self, name: str, data: bytes) -> str:  # noqa: ARG002 - the data says the same
        event = decoded(_EVENT, data)
        if event.type == "error":
            raise in_stream(event.error or {"code": event.code, "message": event.message}, self.secret)
        if event.type in _ENDINGS:
            self._end = decoded(_RESPONSE, bytes(event.response))
            return ""
        if event.type.startswith("response.refusal"):
            raise ProviderError("content_filter", "the model refused to answer", maybe_billed=True)
        if not event.type.endswith(".delta"):
            return ""
        self.patience.token()
        if event.type != "response.output_text.delta":
            return ""
        if not isinstance(event.delta, str):
            raise malformed("a part of the text that is no text")
        return event.delta

    def last(self) -> Chunk:
        if self._end is None:
            raise ProviderError("cut", "the stream ended before the model did", maybe_billed=True)
        return Chunk("", _finish(self._end, self.secret), _usage(self._end), self._end.model, self._end.id)


def _usage(found: _Response) -> Usage | None:
    return None if found.usage is None else found.usage.value()


def _finish(found: _Response, secret: str | None) -> FinishReason:
    if found.status == "completed":
        return "stop"
    if found.status == "failed":
        raise in_stream(found.error, secret)
    reason = found.incomplete_details.reason if found.incomplete_details else None
    if found.status != "incomplete" or reason not in _INCOMPLETE:
        raise malformed(f"the model stopped for no reason that is known: {found.status}, {reason}")
    return _INCOMPLETE[reason]
