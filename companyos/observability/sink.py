"""Where log lines go: one write a line, whatever kind of stream it is."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

__all__ = ("Sink", "Stream")

Stream = TextIO | io.RawIOBase | io.BufferedIOBase
Write = Callable[[bytes], None]


class Sink:
    """Writes lines to `stream` (None: stdout as it is when a line is written); a failure costs a line, no more.

    Each line is written past the buffers of the stream if it has any, so that it is out when the call returns, whole,
    and in order with what others have written to the stream. Threads take turns.
    """

    __slots__ = ("_lock", "_seen", "_stream", "_torn", "_write", "dropped")

    def __init__(self, stream: Stream | None) -> None:
        self._stream = stream
        self._seen: Any = None
        self._write: Any = None
        self._torn = False
        self._lock = threading.Lock()
        self.dropped: int = 0
        """Lines that could not be written: the stream was closed, or full."""

    def write(self, line: bytes) -> None:
        """Write one line, which is ASCII and has no end yet."""
        stream = sys.stdout if self._stream is None else self._stream
        with self._lock:
            try:
                if stream is not self._seen:
                    self._write, self._seen, self._torn = _writer(stream), stream, False
                self._write(b"\n" + line + b"\n" if self._torn else line + b"\n")
                self._torn = False
            except _TornError as torn:
                # The half of a line that a full pipe let through is ended by the next, so that it does not spoil that.
                self._torn = self._torn or torn.taken > 0
                self.dropped += 1
            except Exception:  # noqa: BLE001 - whatever the stream is (None, closed, full, somebody's own), work goes on
                self.dropped += 1


class _TornError(Exception):
    """A stream took only a part of a line, or nothing of it."""

    def __init__(self, taken: int) -> None:
        super().__init__(taken)
        self.taken = taken
        """Bytes that it took."""


def _writer(stream: Any) -> Write:
    """How bytes are best written to a stream."""
    if isinstance(stream, io.RawIOBase):
        return _past_the_buffers(lambda: None, stream.write)
    if isinstance(stream, io.BufferedIOBase):
        return _then_flush(stream.write, stream.flush)
    buffer = getattr(stream, "buffer", None)
    if not isinstance(buffer, io.BufferedIOBase) or not _writes_ascii(stream):
        return _then_flush(lambda data: stream.write(data.decode("ascii")), stream.flush)
    raw = getattr(buffer, "raw", None)
    if not isinstance(raw, io.RawIOBase):
        return _after_flush(stream.flush, _then_flush(buffer.write, buffer.flush))
    return _past_the_buffers(stream.flush, raw.write)


def _then_flush(write: Callable[[bytes], object], flush: Callable[[], None]) -> Write:
    def both(data: bytes) -> None:
        write(data)
        flush()

    return both


def _after_flush(flush: Callable[[], None], write: Write) -> Write:
    """What others wrote to the stream comes first."""

    def both(data: bytes) -> None:
        flush()
        write(data)

    return both


def _past_the_buffers(flush: Callable[[], None], write: Callable[[Any], int | None]) -> Write:
    """One write for the whole of a line, and more only if the system took less."""

    def whole(data: bytes) -> None:
        flush()
        taken = write(data) or 0
        while taken < len(data):
            try:
                more = write(data[taken:])
            except OSError as error:
                raise _TornError(taken) from error
            if not more:
                raise _TornError(taken)
            taken += more

    return whole


def _writes_ascii(stream: Any) -> bool:
    try:
        return "{\n".encode(stream.encoding) == b"{\n"
    except (AttributeError, LookupError, TypeError):
        return False
