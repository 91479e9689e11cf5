"""Masks streamed JSON lines: each line as soon as it is whole, in bounded memory, however the stream is cut.

Only complete, masked lines leave. The first line that cannot be masked (not UTF-8, not JSON, too long) refuses the rest
of the stream by a named error; it never leaves, and neither does anything after it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import overload

from companyos.authz.interface import ObligationError
from companyos.authz.obligations._fields import Fields
from companyos.authz.obligations.mask_text import mask_json

__all__ = ("MAX_LINE_BYTES", "JsonLines", "LineMasker", "MaskStreamError", "mask_lines")

MAX_LINE_BYTES = 1_048_576
"""Longest line, unless told otherwise."""

Chunk = bytes | bytearray | memoryview | str
Complain = Callable[[ObligationError], None]


class MaskStreamError(ObligationError):
    """A line of a stream cannot be masked; that line and the rest of the stream are refused."""

    code = "authz.mask_stream"


class LineMasker:
    """Takes a stream piece by piece, and gives back masked lines.

    After an error it takes no more.
    """

    def __init__(self, fields: Fields | Iterable[str], *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        """Prepare for one stream.

        Raises:
            ObligationError: a field's name is blank.
        """
        self._fields = fields if isinstance(fields, Fields) else Fields(fields)
        self._limit = max_line_bytes
        self._held: list[bytes] = []
        self._size = 0
        self._number = 1
        self._broken = False

    def feed(self, chunk: Chunk) -> Iterator[bytes]:
        """The lines, each with its end, that are whole with this piece of the stream.

        Raises:
            MaskStreamError: a line cannot be masked, or the stream was refused before.
        """
        piece = self._bytes(chunk)
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            self._hold(piece[start:end])
            yield self._line(b"\n")
            start = end + 1
        self._hold(piece[start:])

    def finish(self) -> Iterator[bytes]:
        """The last line, where no line end stood behind it.

        Raises:
            MaskStreamError: it cannot be masked, or the stream was refused before.
        """
        self._require_whole()
        if self._size:
            yield self._line(b"")

    def _bytes(self, chunk: Chunk) -> bytes:
        self._require_whole()
        if isinstance(chunk, str):
            try:
                return chunk.encode()
            except UnicodeEncodeError as error:
                raise self._refuse("is not Unicode text") from error
        if not isinstance(chunk, bytes | bytearray | memoryview):
            raise self._refuse(f"comes as {type(chunk).__name__}")
        return bytes(chunk)

    def _hold(self, piece: bytes) -> None:
        self._require_whole()
        self._size += len(piece)
        if self._size > self._limit:
            raise self._refuse(f"is longer than {self._limit} bytes")
        if piece:
            self._held.append(piece)

    def _line(self, end: bytes) -> bytes:
        line = b"".join(self._held)
        self._held, self._size = [], 0
        if line.endswith(b"\r"):
            line, end = line[:-1], b"\r" + end
        try:
            text = line.decode()
            # A blank line, sent to keep a connection open, holds nothing.
            masked = mask_json(text, self._fields) if text.strip(" \t\r") else ""
        except (UnicodeDecodeError, ObligationError) as error:
            raise self._refuse("is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.what) from None
        self._number += 1
        return masked.encode() + end

    def _refuse(self, why: str) -> MaskStreamError:
        self._broken = True
        self._held = []
        return MaskStreamError(f"line {self._number} of the stream cannot be masked: {why}")

    def _require_whole(self) -> None:
        if self._broken:
            raise MaskStreamError("the stream was refused before", got=f"line {self._number}")


@overload
def mask_lines(
    stream: AsyncIterable[Chunk],
    fields: Fields | Iterable[str],
    *,
    max_line_bytes: int = ...,
    complain: Complain | None = ...,
) -> AsyncIterator[bytes]: ...
@overload
def mask_lines(
    stream: Iterable[Chunk],
    fields: Fields | Iterable[str],
    *,
    max_line_bytes: int = ...,
    complain: Complain | None = ...,
) -> Iterator[bytes]: ...
def mask_lines(
    stream: Iterable[Chunk] | AsyncIterable[Chunk],
    fields: Fields | Iterable[str],
    *,
    max_line_bytes: int = MAX_LINE_BYTES,
    complain: Complain | None = None,
) -> Iterator[bytes] | AsyncIterator[bytes]:
    """The lines of a JSON-lines stream, masked, as bytes, each with the line end it had (LF, CR LF or none).

    The stream gives bytes or texts, cut anywhere. A generator is closed when the reading ends, however it ends.
    `complain` is told of the error that refuses the rest, before it is raised.

    Raises:
        MaskStreamError: while reading: a line cannot be masked; what was given before are complete lines.
        ObligationError: a field's name is blank, or `stream` is no stream.
    """
    masker = LineMasker(fields, max_line_bytes=max_line_bytes)
    if isinstance(stream, JsonLines):
        stream = stream.source
    if isinstance(stream, AsyncIterable):
        return _lines_async(stream, masker, complain)
    if isinstance(stream, str | bytes | bytearray | memoryview):
        return _lines([stream], masker, complain)
    if not isinstance(stream, Iterable):
        raise ObligationError("there is no stream to mask", got=type(stream).__name__, expected="an iterable of chunks")
    return _lines(stream, masker, complain)


class JsonLines:
    """A result that is a stream of JSON lines, plain or asynchronous, so that obligations are carried out on it.

    A generator as a result is refused under an obligation to mask, for nobody knows what it gives; wrapped in this, it
    is masked while it is read.
    """

    __slots__ = ("source",)

    def __init__(self, stream: Iterable[Chunk] | AsyncIterable[Chunk]) -> None:
        self.source: Iterable[Chunk] | AsyncIterable[Chunk] = stream.source if isinstance(stream, JsonLines) else stream
        """The stream of bytes or texts."""

    def __iter__(self) -> Iterator[Chunk]:
        if not isinstance(self.source, Iterable):
            raise TypeError("these lines are asynchronous: read them by `async for`")
        return iter(self.source)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        if not isinstance(self.source, AsyncIterable):
            raise TypeError("these lines are not asynchronous: read them by `for`")
        return aiter(self.source)

    def masked(self, fields: Fields | Iterable[str], complain: Complain | None = None) -> JsonLines:
        """The same lines, masked while they are read."""
        return JsonLines(mask_lines(self.source, fields, complain=complain))


def _lines(stream: Iterable[Chunk], masker: LineMasker, complain: Complain | None) -> Iterator[bytes]:
    try:
        for chunk in stream:
            yield from masker.feed(chunk)
        yield from masker.finish()
    except MaskStreamError as error:
        if complain is not None:
            complain(error)
        raise
    finally:
        if inspect.isgenerator(stream):
            stream.close()


async def _lines_async(
    stream: AsyncIterable[Chunk], masker: LineMasker, complain: Complain | None
) -> AsyncIterator[bytes]:
    try:
        async for chunk in stream:
            for line in masker.feed(chunk):
                yield line
        for line in masker.finish():
            yield line
    except MaskStreamError as error:
        if complain is not None:
            await asyncio.to_thread(complain, error)
        raise
    finally:
        if inspect.isasyncgen(stream):
            await stream.aclose()
