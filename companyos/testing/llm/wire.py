"""Answers and streams in the wire formats of OpenAI (chat completions, responses) and Anthropic (messages)."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, ClassVar

__all__ = ("FORMATS", "Format")


class Format(ABC):
    """One wire format."""

    path: ClassVar[str]
    """The end of the URL by which it is known."""

    @abstractmethod
    def whole(self, model: str, text: str, finish: str, usage: tuple[int, int] | None) -> dict[str, Any]:
        """A whole answer; `finish` is `stop` or `content_filter`."""

    @abstractmethod
    def opening(self, model: str, usage: tuple[int, int] | None) -> bytes:
        """What a stream begins with."""

    @abstractmethod
    def word(self, model: str, text: str) -> bytes:
        """One piece of text."""

    @abstractmethod
    def finish(self, model: str, text: str, finish: str, usage: tuple[int, int] | None) -> bytes:
        """The events that say why the model stopped, and what was counted."""

    @abstractmethod
    def end(self) -> bytes:
        """The event that ends the stream."""

    @abstractmethod
    def error(self, code: str, message: str) -> dict[str, Any]:
        """The body of an error, and the data of an error event."""

    def error_event(self, code: str, message: str) -> bytes:
        """An error within a stream."""
        return _event(self.error(code, message))


class Chat(Format):
    """Chat completions."""

    path = "/chat/completions"

    def whole(self, model: str, text: str, finish: str, usage: tuple[int, int] | None) -> dict[str, Any]:
        """As in `Format`."""
        message = {"role": "assistant", "content": text, "refusal": None}
        body: dict[str, Any] = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        }
        return body | ({} if usage is None else {"usage": self._usage(usage)})

    def opening(self, model: str, usage: tuple[int, int] | None) -> bytes:  # noqa: ARG002 - other formats count here
        """As in `Format`."""
        return self._chunk(model, {"role": "assistant", "content": ""}, None)

    def word(self, model: str, text: str) -> bytes:
        """As in `Format`."""
        return self._chunk(model, {"content": text}, None)

    def finish(self, model: str, text: str, finish: str, usage: tuple[int, int] | None) -> bytes:  # noqa: ARG002
        """As in `Format`."""
        last = self._chunk(model, {}, finish)
        if usage is None:
            return last
        counted = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": []}
        return last + _event(counted | {"usage": self._usage(usage)})

    def end(self) -> bytes:
        """As in `Format`."""
        return b"data: [DONE]\n\n"

    def error(self, code: str, message: str) -> dict[str, Any]:
        """As in `Format`."""
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}

    @staticmethod
    def _usage(usage: tuple[int, int]) -> dict[str, int]:
        return {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}

    @staticmethod
    def _chunk(model: str, delta: dict[str, Any], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
        return _event(body | {"choices": [choice]})


class Messages(Format):
    """Anthropic messages."""

    path = "/messages"

    def whole(self, model: str, text: str, finish: str, usage: tuple[int, int] | None) -> dict[str, Any]:
        """As in `Format`."""
        body: dict[str, Any] = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [{"type": "text", "text": text}],
            "stop_reason": self._stop(finish),
            "stop_sequence": None,
        }
        return body | ({} if usage is None else {"usage": {"input_tokens": usage[0], "output_tokens": usage[1]}})

    def opening(self, model: str, usage: tuple[int, int] | None) -> bytes:
        """As in `Format`."""
        counted = {} if usage is None else {"usage": {"input_tokens": usage[0], "output_tokens": 1}}
        message = self.whole(model, "", "stop", None) | {"content": [], "stop_reason": None} | counted
        start = _named("message_start", {"message": message})
        block = {"index": 0, "content_block": {"type": "text", "text": ""}}
        return start + _named("content_block_start", block) + _named("ping", {})

    def word(self, model: str, text: str) -> bytes:  # noqa: ARG002 - named in the first event alone
        """As in `Format`."""
        return _named("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}})

    def finish(self, model: str, text: str, finish: str, usage: tuple[int, int] | None) -> bytes:  # noqa: ARG002
        """As in `Format`."""
        delta: dict[str, Any] = {"delta": {"stop_reason": self._stop(finish), "stop_sequence": None}}
        counted = {} if usage is None else {"usage": {"output_tokens": usage[1]}}
        return _named("content_block_stop", {"index": 0}) + _named("message_delta", delta | counted)

    def end(self) -> bytes:
        """As in `Format`."""
        return _named("message_stop", {})

    def error(self, code: str, message: str) -> dict[str, Any]:
        """As in `Format`."""
        return {"type": "error", "error": {"type": code, "message": message}}

    def error_event(self, code: str, message: str) -> bytes:
        """As in `Format`."""
        return _named("error", self.error(code, message))

    @staticmethod
    def _stop(finish: str) -> str:
        return {"stop": "end_turn", "content_filter": "refusal", "length": "max_tokens"}[finish]


class Responses(Format):
    """The Responses API."""

    path = "/responses"

    def whole(self, model: str, text: str, finish: str, usage: tuple[int, int] | None) -> dict[str, Any]:
        """As in `Format`."""
        content = [{"type": "output_text", "text": text, "annotations": []}]
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
        counted = {}
        if usage is not None:
            counted = {"usage": {"input_tokens": usage[0], "output_tokens": usage[1], "total_tokens": sum(usage)}}
        whole = finish == "stop"
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1_700_000_000,
            "status": "completed" if whole else "incomplete",
            "incomplete_details": None if whole else {"reason": finish},
            "model": model,
            "output": [message],
            "error": None,
            "tools": [],
            "tool_choice": "auto",
            "parallel_tool_calls": True,
        } | counted

    def opening(self, model: str, usage: tuple[int, int] | None) -> bytes:  # noqa: ARG002 - counted at the end
        """As in `Format`."""
        begun = self.whole(model, "", "stop", None) | {"status": "in_progress", "output": []}
        return _named("response.created", {"response": begun, "sequence_number": 0})

    def word(self, model: str, text: str) -> bytes:  # noqa: ARG002 - named in the first event alone
        """As in `Format`."""
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "sequence_number": 1, "logprobs": []}
        return _named("response.output_text.delta", place | {"delta": text})

    def finish(self, model: str, text: str, finish: str, usage: tuple[int, int] | None) -> bytes:
        """As in `Format`."""
        name = "response.completed" if finish == "stop" else "response.incomplete"
        return _named(name, {"response": self.whole(model, text, finish, usage), "sequence_number": 2})

    def end(self) -> bytes:
        """As in `Format`: the last event said so."""
        return b""

    def error(self, code: str, message: str) -> dict[str, Any]:
        """As in `Format`."""
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}

    def error_event(self, code: str, message: str) -> bytes:
        """As in `Format`."""
        return _named("error", {"code": code, "message": message, "param": None, "sequence_number": 2})


FORMATS: tuple[Format, ...] = (Chat(), Messages(), Responses())
"""All of them."""


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def _named(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\n".encode() + _event({"type": name} | data)
