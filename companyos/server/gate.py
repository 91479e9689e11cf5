"""What every request passes before the application: an id, a caller, a rate; and what every answer carries."""

from __future__ import annotations

import logging
import math
import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from companyos.server.interface import HttpRefusedError
from companyos.server.protocol import MAX_HEAD

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from companyos.server.authenticate import Authenticator
    from companyos.server.limits import RateLimiter

__all__ = ("PUBLIC_PATHS", "Gate", "refusal")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PUBLIC_PATHS = frozenset({"/.well-known/authzen-configuration", "/health", "/openapi.json", "/ready"})
"""What anyone may read."""
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_MAX_HEADERS = 100
_log = logging.getLogger("companyos.server")
_ALWAYS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=63072000"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)


class Gate:
    """ASGI middleware around the whole application; an error of the application is a 500 without a word of it."""

    def __init__(
        self,
        app: App,
        authenticator: Callable[[], Authenticator],
        executor: Executor,
        *,
        limiter: RateLimiter,
        strangers: RateLimiter,
    ) -> None:
        """`authenticator` is asked for anew each time, so that keys can change; `strangers` limits failures."""
        self._app = app
        self._authenticator = authenticator
        self._executor = executor
        self._limiter = limiter
        self._strangers = strangers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; there are no websockets here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        reply = _Reply(send)
        try:
            reply.request_id = _request_id(scope["headers"])
            if scope["path"] not in PUBLIC_PATHS:
                await self._admit(scope)
            await self._app(scope, receive, reply)
        except HttpRefusedError as error:
            await reply.refuse(error)
        except Exception:  # noqa: BLE001 - whatever it is, the caller is not told and the server goes on
            _log.exception("a request failed", extra={"request_id": reply.request_id.decode()})
            await reply.refuse(HttpRefusedError(500, "internal error"))

    async def _admit(self, scope: Scope) -> None:
        try:
            caller = await self._authenticator().caller(scope["headers"], self._executor)
        except HttpRefusedError:
            address = (scope.get("client") or ("?",))[0]
            _wait(self._strangers.wait(address))
            raise
        _wait(self._limiter.wait(caller.id))
        scope["companyos.caller"] = caller
        scope["companyos.charge"] = lambda cost: _wait(self._limiter.wait(caller.id, cost))
        scope["companyos.fine"] = lambda cost: self._limiter.charge(caller.id, cost)


class _Reply:
    """Passes an answer on with the headers that each has."""

    __slots__ = ("_send", "_started", "request_id")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._started = False
        self.request_id = uuid.uuid4().hex.encode()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            headers = [(name, value) for name, value in message.get("headers", ()) if name != b"x-request-id"]
            message = {**message, "headers": [*headers, *_ALWAYS, (b"x-request-id", self.request_id)]}
        await self._send(message)

    async def refuse(self, error: HttpRefusedError) -> None:
        """Answer with an error, if nothing was answered yet."""
        if self._started:
            return
        body, headers = refusal(error)
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self({"type": "http.response.start", "status": error.status, "headers": raw})
        await self({"type": "http.response.body", "body": body})


def refusal(error: HttpRefusedError) -> tuple[bytes, Mapping[str, str]]:
    """Body and headers of an error: a message string, as the specification has it."""
    body = error.what.encode()
    return body, {
        "content-type": "text/plain; charset=utf-8",
        "content-length": str(len(body)),
        **error.headers,
    }


def _request_id(headers: list[tuple[bytes, bytes]]) -> bytes:
    if len(headers) > _MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEAD:
        raise HttpRefusedError(431, f"more than {_MAX_HEADERS} headers, or than {MAX_HEAD} bytes of them")
    given = [value for name, value in headers if name == b"x-request-id"]
    if not given:
        return uuid.uuid4().hex.encode()
    if len(given) > 1 or not _REQUEST_ID.fullmatch(given[0]):
        raise HttpRefusedError(400, "X-Request-ID is not 1 to 128 visible characters without spaces")
    return given[0]


def _wait(seconds: float) -> None:
    if seconds:
        raise HttpRefusedError(429, "too many requests", headers={"retry-after": str(math.ceil(seconds))})
