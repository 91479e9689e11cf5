"""uvicorn's HTTP protocol with bounds that it does not have: how long, and how large, the head of a request may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.server.body import MOST_DROPPED

if TYPE_CHECKING:
    import asyncio

__all__ = ("MAX_HEAD", "bounded_protocol")

MAX_HEAD = 32 * 1024
"""Largest head of a request, in bytes."""


def bounded_protocol(head_seconds: float = 10.0) -> type[Any]:
    """The protocol class to give to uvicorn as `http`.

    Raises:
        MissingExtraError: uvicorn or httptools is not installed.
    """
    base: type[Any] = require("uvicorn.protocols.http.httptools_impl", extra="server").HttpToolsProtocol
    return type("BoundedProtocol", (_Bounds, base), {"head_seconds": head_seconds})


class _Bounds:
    """One connection; each method does what it has to and hands on to uvicorn's."""

    head_seconds: float
    loop: asyncio.AbstractEventLoop
    transport: Any
    cycle: Any
    _timer: asyncio.TimerHandle | None = None
    _is_head = True
    _size = 0
    _discarded = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)  # type: ignore[misc] # of the protocol beside this class
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)  # type: ignore[misc] # the same

    def data_received(self, data: bytes) -> None:
        super().data_received(data)  # type: ignore[misc] # the same
        if self._is_head:
            self._size += len(data)
            if self._size > MAX_HEAD:
                self._cut(431, "Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()  # type: ignore[misc] # the same
        self._is_head = True
        self._size = self._discarded = 0
        self._watch()

    def on_headers_complete(self) -> None:
        self._is_head = False
        self._unwatch()
        super().on_headers_complete()  # type: ignore[misc] # the same

    def on_body(self, body: bytes) -> None:
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > MOST_DROPPED:
                self.transport.close()
        super().on_body(body)  # type: ignore[misc] # the same

    def _watch(self) -> None:
        self._unwatch()
        self._timer = self.loop.call_later(self.head_seconds, self._cut, 408, "Request Timeout")

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self, status: int, phrase: str) -> None:
        """Answer and hang up, unless an answer is on its way already."""
        self._unwatch()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            head = f"HTTP/1.1 {status} {phrase}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            self.transport.write(head.encode())
        self.transport.close()
