"""The server: any number of providers on one port, each of which does next what its script says."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from companyos.testing.llm.faults import Fault
from companyos.testing.llm.wire import FORMATS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from companyos.testing.llm.wire import Format

__all__ = ("LlmServer", "Seen")

TEXT = " ".join(f"word{number}" for number in range(1, 61))
"""What is answered unless a script says otherwise: sixty words."""
USAGE = (11, 60)
"""Tokens of prompt and answer that are said to be counted."""
MAX_BODY_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came."""

    provider: str
    """First part of its path."""
    path: str
    """The rest."""
    headers: Mapping[str, str]
    """By lower-case name."""
    body: Any
    """Its JSON."""
    at: float
    """When, by `time.monotonic()`."""


class LlmServer:
    """Serves `http://127.0.0.1:PORT/NAME/v1` for any NAME, in the formats of OpenAI and Anthropic; a context manager.

    `script(NAME, fault, ...)` says what each next request to NAME gets; the last one stands for all that follow.
    """

    def __init__(self, text: str = TEXT) -> None:
        self.text = text
        self.seen: list[Seen] = []
        """Every request, in order."""
        self._scripts: dict[str, list[Fault]] = defaultdict(list)
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="llm-server", daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        """Chosen when it starts."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def url(self, name: str) -> str:
        """Base URL of a provider."""
        return f"http://127.0.0.1:{self.port}/{name}/v1"

    def script(self, name: str, *faults: Fault) -> None:
        """What the next requests to a provider get."""
        with self._lock:
            self._scripts[name] = list(faults)

    def requests(self, name: str) -> list[Seen]:
        """The requests to one provider."""
        return [one for one in self.seen if one.provider == name]

    async def _start(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=MAX_BODY_BYTES)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _next(self, name: str) -> Fault:
        with self._lock:
            script = self._scripts[name]
            return Fault() if not script else script.pop(0) if len(script) > 1 else script[0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, as clients of faults do, or the server is stopped
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection can take another one."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        body = await reader.readexactly(int(headers.get("content-length") or 0))
        name, _, path = head[0].split(" ")[1].removeprefix("/").partition("/v1")
        found = next((one for one in FORMATS if path == one.path), None)
        request = json.loads(body) if body else {}
        self.seen.append(Seen(name, path, headers, request, time.monotonic()))
        if found is None:
            await _send(writer, 404, b'{"error": {"code": "unknown_url", "message": "no such path"}}')
            return True
        return await _Reply(reader, writer, found, request, fault=self._next(name), text=self.text).answer()


class _Reply:
    """The answer to one request."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        wire: Format,
        request: Any,
        *,
        fault: Fault,
        text: str,
    ) -> None:
        self.reader, self.writer, self.wire, self.fault = reader, writer, wire, fault
        self.model = str(request.get("model"))
        self.streamed = request.get("stream") is True
        self.text = text if fault.text is None else fault.text
        self.turns = request.get("messages") or request.get("input") or []

    async def answer(self) -> bool:
        """Answer as the script says; whether the connection is still good."""
        simple = getattr(self, f"_{self.fault.kind}", None)
        if simple is not None:
            return bool(await simple())
        return await (self._stream() if self.streamed else self._whole())

    async def _status(self) -> bool:
        await self._error(self.fault.status, self.fault.code)
        return True

    async def _no_prefill(self) -> bool:
        if self.turns and self.turns[-1].get("role") == "assistant":
            await self._error(400, "invalid_request_error")
            return True
        self.fault = Fault()
        return await self.answer()

    async def _reset(self) -> bool:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        return False

    async def _close(self) -> bool:
        return False

    async def _silent(self) -> bool:
        await self._until_gone()
        return False

    async def _html(self) -> bool:
        kind = "text/event-stream" if self.streamed else "text/html"
        await _send(self.writer, 200, b"<html><body>Bad gateway</body></html>", kind)
        return True

    async def _schema(self) -> bool:
        await self._json_or_event({"answer": self.text, "ok": True})
        return True

    async def _no_choices(self) -> bool:
        body = self.wire.whole(self.model, "", "stop", None) | {"choices": [], "content": [], "output": []}
        await self._json_or_event(body)
        return True

    async def _redirect(self) -> bool:
        await _send(self.writer, 307, b"", headers={"Location": "http://127.0.0.1:9/elsewhere"})
        return True

    async def _big_header(self) -> bool:
        await _send(self.writer, 200, b"{}", headers={"X-Big": "x" * 1024 * 1024})
        return False

    async def _compressed(self) -> bool:
        await _send(self.writer, 200, b"\x1f\x8b\x08", headers={"Content-Encoding": "gzip"})
        return True

    async def _endless(self) -> bool:
        kind = "text/event-stream" if self.streamed else "application/json"
        self._head(kind)
        while not self.writer.is_closing():
            self._chunk(b"data: " + b" " * 65536)
            await self.writer.drain()
        return False

    async def _error(self, status: int, code: str) -> None:
        body = self.wire.error(code, f"scripted: {code}")
        await _send(self.writer, status, json.dumps(body).encode(), headers=self.fault.headers)

    async def _json_or_event(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        if self.streamed:
            await _send(self.writer, 200, b"data: " + data + b"\n\n" + self.wire.end(), "text/event-stream")
        else:
            await _send(self.writer, 200, data)

    def _usage(self) -> tuple[int, int] | None:
        if self.fault.kind == "no_usage":
            return None
        return (2**63, 2**63) if self.fault.kind == "huge_count" else USAGE

    async def _whole(self) -> bool:
        finish = "content_filter" if self.fault.kind == "filtered" else "stop"
        body = json.dumps(self.wire.whole(self.model, self.text, finish, self._usage())).encode()
        kind, half = self.fault.kind, len(body) // 2
        if self.fault.seconds:
            await asyncio.sleep(self.fault.seconds)
        if kind == "ended":
            body = body[:half]
        elif kind == "garbage":
            body = body[:half] + b"\x00{" + body[half:]
        elif kind == "error_event":
            await self._error(529, self.fault.code)
            return True
        elif kind in {"cut", "stall"}:
            await _send(self.writer, 200, body[:half], length=len(body))
            if kind == "stall":
                await self._until_gone()
            return False
        await _send(self.writer, 200, body, headers=self.fault.headers)
        return True

    async def _stream(self) -> bool:
        kind = self.fault.kind
        self._head("text/event-stream")
        if kind == "slow":
            await asyncio.sleep(self.fault.seconds)
        self._chunk(self.wire.opening(self.model, self._usage()))
        while kind == "pings":
            self._chunk(b": ping\n\n" + self.wire.opening(self.model, None))
            await self.writer.drain()
            await asyncio.sleep(0.02)
        words = self.text.split(" ")
        for number, word in enumerate(words):
            if number == self.fault.after and kind in {"cut", "ended", "stall", "garbage", "error_event"}:
                return await self._break(number)
            self._chunk(self.wire.word(self.model, word if number == 0 else f" {word}"))
            if self.fault.seconds and kind != "slow":
                await self.writer.drain()
                await asyncio.sleep(self.fault.seconds)
        finish = "content_filter" if kind == "filtered" else "stop"
        self._chunk(self.wire.finish(self.model, self.text, finish, self._usage()))
        if kind not in {"unterminated", "hanging"}:
            self._chunk(self.wire.end())
        if kind == "hanging":
            await self._until_gone()
            return False
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()
        return True

    async def _break(self, number: int) -> bool:
        """What goes wrong in the middle of a stream."""
        kind = self.fault.kind
        if kind == "garbage":
            self._chunk(b'data: {"choices": [{"delta\n\n')
            rest = self.text.split(" ")[number + 1 :]
            for word in rest:
                self._chunk(self.wire.word(self.model, f" {word}"))
            self._chunk(self.wire.finish(self.model, self.text, "stop", self._usage()) + self.wire.end())
        elif kind == "error_event":
            self._chunk(self.wire.error_event(self.fault.code, "scripted"))
        if kind == "cut":
            await self.writer.drain()
            return False
        if kind == "stall":
            await self._until_gone()
            return False
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()
        return True

    def _head(self, kind: str) -> None:
        more = "".join(f"{name}: {value}\r\n" for name, value in self.fault.headers.items())
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n{more}\r\n"
        self.writer.write(head.encode())

    def _chunk(self, data: bytes) -> None:
        if data:  # a chunk of no bytes would be the last one
            self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    async def _until_gone(self) -> None:
        await self.writer.drain()
        while await self.reader.read(1024):
            pass


async def _send(
    writer: asyncio.StreamWriter,
    status: int,
    body: bytes,
    kind: str = "application/json",
    *,
    headers: Mapping[str, str] | None = None,
    length: int | None = None,
) -> None:
    lines = {"Content-Type": kind, "Content-Length": str(len(body) if length is None else length)} | dict(headers or {})
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"HTTP/1.1 {status} Scripted\r\n{text}\r\n".encode() + body)
    await writer.drain()
