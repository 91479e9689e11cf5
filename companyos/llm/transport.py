"""HTTP to one provider: one pool of connections an event loop, no redirects, no proxies, everything within bounds."""

from __future__ import annotations

import asyncio
import functools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from companyos._extras import require
from companyos.llm.errors import ProviderError
from companyos.llm.sse import EventReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from companyos.llm.interface import Limits

__all__ = ("Patience", "Reply", "Transport")

MAX_LINE_BYTES = 16 * 1024
"""Of a header, and of the status line."""
MAX_CONNECTIONS = 256
"""At a time, to one provider."""
MAX_GRACE_SECONDS = 2.0
"""How long to wait for what was counted once the model has stopped."""
MAX_ERROR_BYTES = 64 * 1024
"""What is read of an answer that is an error."""


class Transport:
    """POSTs to URLs below one endpoint."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()

    @asynccontextmanager
    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str], limits: Limits, head_seconds: float
    ) -> AsyncIterator[Reply]:
        """The reply to a POST, once its head is here; released at the end of the `async with`.

        Raises:
            ProviderError: no connection, no head in time, or what comes is not HTTP; inside, the body broke off.
        """
        aiohttp = require("aiohttp", extra="llm")
        session = self._session(aiohttp)
        response = None
        try:
            async with asyncio.timeout(limits.total_seconds):
                async with asyncio.timeout(min(head_seconds, limits.total_seconds)):
                    response = await session.post(
                        self._endpoint + path,
                        data=body,
                        headers=headers,
                        allow_redirects=False,
                        timeout=_timeout(limits.connect_seconds),
                    )
                _check_head(response, limits)
                yield Reply(response, limits)
        except aiohttp.ConnectionTimeoutError as error:
            raise ProviderError("connect", "no connection in time") from error
        except TimeoutError as error:
            what = "no answer in time" if response is None else "the answer was not whole in time"
            raise ProviderError("timeout", what, maybe_billed=True) from error
        except aiohttp.ClientConnectorError as error:
            raise ProviderError("connect", f"no connection: {type(error.os_error).__name__}") from error
        except (aiohttp.ClientPayloadError, aiohttp.http.HttpProcessingError, aiohttp.ClientResponseError) as error:
            raise _broken(aiohttp, error) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            if response is None:
                raise ProviderError(
                    "connect", f"the connection broke before an answer: {type(error).__name__}"
                ) from error
            raise ProviderError("cut", "the connection broke in the answer", maybe_billed=True) from error
        finally:
            if response is not None:
                response.release() if response.content.at_eof() else response.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.close()

    def _session(self, aiohttp: Any) -> Any:
        loop = asyncio.get_running_loop()
        found = self._sessions.get(loop)
        if found is None or found.closed:
            found = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                max_line_size=MAX_LINE_BYTES,
                max_field_size=MAX_LINE_BYTES,
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
            )
            self._sessions[loop] = found
        return found


class Reply:
    """The head of a reply, and its body on request."""

    __slots__ = ("_limits", "_response", "status")

    def __init__(self, response: Any, limits: Limits) -> None:
        self._response, self._limits = response, limits
        self.status: int = response.status
        """HTTP status."""

    def header(self, name: str) -> str | None:
        """A header, whatever the case of its name."""
        value: str | None = self._response.headers.get(name)
        return value

    async def body(self, *, error: bool = False) -> bytes:
        """All of the body, or, of an error, its beginning.

        Raises:
            ProviderError: it is longer than any answer.
        """
        parts, size, most = [], 0, MAX_ERROR_BYTES if error else self._limits.max_bytes
        while part := await self._response.content.readany():
            parts.append(part)
            size += len(part)
            if size > most:
                if error:
                    break
                raise ProviderError("malformed", f"the answer is longer than {most} bytes", maybe_billed=True)
        return b"".join(parts)

    async def events(self, patience: Patience) -> AsyncGenerator[tuple[str, bytes]]:
        """The events of a stream, until it ends, or until nothing more comes after its last token.

        Raises:
            ProviderError: the next token is too late, or the stream is longer than any.
        """
        reader, size = EventReader(), 0
        while True:
            try:
                async with asyncio.timeout_at(patience.until):
                    data = await self._response.content.readany()
            except TimeoutError:
                if patience.finished:
                    return
                raise patience.error() from None
            if not data:
                return
            size += len(data)
            if size > self._limits.max_bytes:
                what = f"the stream is longer than {self._limits.max_bytes} bytes"
                raise ProviderError("malformed", what, maybe_billed=True)
            for event in reader.feed(data):
                yield event


class Patience:
    """How long to wait for the next token of a stream; pings and empty events do not prolong it."""

    __slots__ = ("_idle", "_loop", "finished", "started", "until")

    def __init__(self, limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle = limits.idle_seconds
        self.until = self._loop.time() + limits.first_token_seconds
        """By the loop's clock."""
        self.started = False
        """Whether there was a token."""
        self.finished = False
        """Whether the model has said why it stopped."""

    def token(self) -> None:
        """There was a token, shown or not."""
        self.started = True
        self.until = self._loop.time() + self._idle

    def finish(self) -> None:
        """The model has stopped; what was counted may still come."""
        self.finished = True
        self.until = self._loop.time() + min(self._idle, MAX_GRACE_SECONDS)

    def error(self) -> ProviderError:
        """What it is when nothing came."""
        if self.started:
            return ProviderError("stalled", "the stream went silent in the middle", maybe_billed=True)
        return ProviderError("timeout", "no first token in time", maybe_billed=True)


@functools.lru_cache(maxsize=64)
def _timeout(connect_seconds: float) -> Any:
    aiohttp = require("aiohttp", extra="llm")
    return aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds, connect=None)


def _check_head(response: Any, limits: Limits) -> None:
    if 300 <= response.status < 400:
        raise ProviderError("redirected", "it points elsewhere, and nobody follows", status=response.status)
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise ProviderError("malformed", "the answer is compressed, which nobody asked for", maybe_billed=True)
    if (response.content_length or 0) > limits.max_bytes:
        raise ProviderError("malformed", f"the answer is longer than {limits.max_bytes} bytes", maybe_billed=True)


def _broken(aiohttp: Any, error: Exception) -> ProviderError:
    if isinstance(error, aiohttp.ClientPayloadError):
        return ProviderError("cut", "the answer ended before it was whole", maybe_billed=True)
    return ProviderError("malformed", "what came is no HTTP, or its head is too large", maybe_billed=True)
