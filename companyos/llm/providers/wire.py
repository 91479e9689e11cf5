"""What all wire formats share: JSON over POST, a whole answer or a stream of events, and nothing in between."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import msgspec

from companyos.llm.errors import ProviderError
from companyos.llm.failures import from_status
from companyos.llm.keys import read_key
from companyos.llm.transport import Patience, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from companyos.llm.interface import Answer, Chunk, Limits, ProviderSetting, Request

__all__ = ("Count", "StreamReader", "WireProvider", "decoded", "malformed")

Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
"""Tokens that a provider can have counted; a larger number is no count."""

T = TypeVar("T")


class StreamReader(ABC):
    """Reads the events of one stream."""

    def __init__(self, patience: Patience, secret: str | None) -> None:
        self.patience = patience
        self.secret = secret

    @abstractmethod
    def event(self, name: str, data: bytes) -> str:
        """The text that an event brings.

        Raises:
            ProviderError: it tells of an error, or is not of the format.
        """

    @property
    @abstractmethod
    def over(self) -> bool:
        """Whether nothing more can come."""

    @abstractmethod
    def last(self) -> Chunk:
        """The last chunk.

        Raises:
            ProviderError: the model had not said why it stopped, so the stream was cut.
        """


class WireProvider(ABC):
    """One endpoint in one wire format: a `Provider`."""

    wire: ClassVar[str]
    """The name of the format, and of the provider in spans."""
    native_schema: ClassVar[bool] = False
    """Whether it can be told the shape of the answer."""
    path: ClassVar[str]
    """Of the one method, below the endpoint."""

    def __init__(self, setting: ProviderSetting) -> None:
        self.name = setting.name
        self.endpoint = setting.base_url.rstrip("/")
        self._setting = setting
        self._transport = Transport(self.endpoint)

    async def complete(self, request: Request, model: str, limits: Limits) -> Answer:
        """The whole answer; raises as `Provider.complete` says."""
        secret, headers = self._headers(stream=False)
        body = msgspec.json.encode(self.body(request, model, stream=False))
        async with self._transport.post(self.path, body, headers, limits, limits.total_seconds) as reply:
            if reply.status != 200:
                raise from_status(reply.status, await reply.body(error=True), reply.header, secret)
            return self.answer(await reply.body())

    async def stream(self, request: Request, model: str, limits: Limits) -> AsyncIterator[Chunk]:
        """The answer in parts; raises as `Provider.stream` says."""
        from companyos.llm.interface import Chunk

        secret, headers = self._headers(stream=True)
        body = msgspec.json.encode(self.body(request, model, stream=True))
        async with self._transport.post(self.path, body, headers, limits, limits.first_token_seconds) as reply:
            if reply.status != 200:
                raise from_status(reply.status, await reply.body(error=True), reply.header, secret)
            if "text/event-stream" not in (reply.header("Content-Type") or "").lower():
                raise malformed("the answer is no stream of events")
            reader = self.reader(Patience(limits), secret)
            async with aclosing(reply.events(reader.patience)) as events:
                async for name, data in events:
                    text = reader.event(name, data)
                    if text:
                        yield Chunk(text)
                    if reader.over:
                        break
            yield reader.last()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self._transport.aclose()

    @abstractmethod
    def body(self, request: Request, model: str, *, stream: bool) -> dict[str, Any]:
        """The request in this format."""

    @abstractmethod
    def answer(self, data: bytes) -> Answer:
        """The answer in a whole body.

        Raises:
            ProviderError: there is none in it.
        """

    @abstractmethod
    def reader(self, patience: Patience, secret: str | None) -> StreamReader:
        """A reader for one stream."""

    def authorization(self, key: str) -> dict[str, str]:
        """The headers that carry the key."""
        return {"Authorization": f"Bearer {key}"}

    def _headers(self, *, stream: bool) -> tuple[str | None, dict[str, str]]:
        accept = "text/event-stream" if stream else "application/json"
        headers = {"Content-Type": "application/json", "Accept": accept, "User-Agent": "companyos"}
        headers |= self._setting.headers
        reference = self._setting.api_key
        if reference is None:
            return None, headers
        key = read_key(reference)
        return key, headers | self.authorization(key)


def decoded(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """The value in JSON of the format.

    Raises:
        ProviderError: it is no JSON, cut off, or of another schema.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise malformed(f"not of the format: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed("no JSON, or not all of it") from error


def malformed(what: str) -> ProviderError:
    """The failure of an answer that is none."""
    return ProviderError("malformed", what, maybe_billed=True)
