"""The body of a request: read within limits, and JSON in the strict sense."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from companyos._json import NotStrictError, strict_loads
from companyos.server.interface import HttpRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

__all__ = ("MOST_DROPPED", "parse_json", "read_body")

MOST_DROPPED = 16 * 1024 * 1024
"""How much of a body that is refused is read all the same, in bytes."""


async def read_body(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    headers: Iterable[tuple[bytes, bytes]],
    *,
    limit: int,
    seconds: float,
) -> bytes:
    """The whole body; of one that is too large the rest is read and dropped, so that its sender reads the refusal.

    A sender that is still sending when the connection is closed gets a reset in place of the answer. What is announced
    as larger than `MOST_DROPPED`, or is only sent on demand (`Expect`), is not read at all.

    Raises:
        HttpRefusedError: 413 above `limit` bytes, 408 after `seconds`, 400 if the caller went away.
    """
    fields = dict(headers)
    length = fields.get(b"content-length", b"")
    announced = int(length[:20]) if length.isdigit() else 0
    if announced > limit:
        if announced <= MOST_DROPPED and b"expect" not in fields:
            await _drop(receive, seconds)
        raise _too_large(limit)
    message = await _next(receive, seconds)
    if not message.get("more_body"):
        body = bytes(message.get("body", b""))
        if len(body) > limit:
            raise _too_large(limit)
        return body
    try:
        async with asyncio.timeout(seconds):
            whole = await _rest(receive, message, limit)
    except TimeoutError:
        raise _too_slow(seconds) from None
    if whole is None:
        await _drop(receive, seconds)
        raise _too_large(limit)
    return whole


def parse_json(body: bytes) -> Any:
    """The JSON value of a body in UTF-8; a name may stand only once in an object.

    Raises:
        HttpRefusedError: 400, it is not JSON, or nests too deeply to be read.
    """
    if not body:
        raise HttpRefusedError(400, "the body is empty")
    try:
        return strict_loads(body.decode())
    except NotStrictError as error:
        raise HttpRefusedError(400, f"the body is not JSON: {error}") from None
    except ValueError:
        raise HttpRefusedError(400, "the body is not JSON in UTF-8") from None


async def _next(receive: Callable[[], Awaitable[MutableMapping[str, Any]]], seconds: float) -> MutableMapping[str, Any]:
    try:
        async with asyncio.timeout(seconds):
            message = await receive()
    except TimeoutError:
        raise _too_slow(seconds) from None
    if message["type"] == "http.disconnect":
        raise HttpRefusedError(400, "the caller went away")
    return message


async def _rest(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]], message: MutableMapping[str, Any], limit: int
) -> bytes | None:
    """The body from a message on; None as soon as it is too large."""
    body = bytearray()
    while True:
        body += message.get("body", b"")
        if len(body) > limit:
            return None
        if not message.get("more_body"):
            return bytes(body)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HttpRefusedError(400, "the caller went away")


async def _drop(receive: Callable[[], Awaitable[MutableMapping[str, Any]]], seconds: float) -> None:
    """Read what still comes of a body and keep none of it, so much and so long at most."""
    dropped, more = 0, True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while more and dropped <= MOST_DROPPED:
                message = await receive()
                dropped += len(message.get("body", b""))
                more = message.get("more_body", False)


def _too_large(limit: int) -> HttpRefusedError:
    return HttpRefusedError(413, f"the body is larger than {limit} bytes")


def _too_slow(seconds: float) -> HttpRefusedError:
    return HttpRefusedError(408, f"the body did not come within {seconds:g} s", headers={"connection": "close"})
