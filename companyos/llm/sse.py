"""Server-sent events out of bytes, within bounds.

Source: WHATWG HTML, section 9.2.6 (event stream interpretation), as far as the providers use it.
"""

from __future__ import annotations

from companyos.llm.errors import ProviderError

__all__ = ("EventReader",)

MAX_EVENT_BYTES = 1024 * 1024
"""Of one event; a token is a few hundred."""


class EventReader:
    """Makes events of the bytes that come; what was begun and not ended by an empty line is no event."""

    __slots__ = ("_buffer", "_data", "_name", "_size")

    def __init__(self) -> None:
        self._buffer = b""
        self._data: list[bytes] = []
        self._name = ""
        self._size = 0

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """The events, each with its name (or nothing) and data, that these bytes end.

        Raises:
            ProviderError: an event is larger than any can be.
        """
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        found = []
        for line in lines:
            event = self._line(line[:-1] if line.endswith(b"\r") else line)
            if event is not None:
                found.append(event)
        if self._size + len(self._buffer) > MAX_EVENT_BYTES:
            raise ProviderError(
                "malformed", f"an event of the stream is larger than {MAX_EVENT_BYTES} bytes", maybe_billed=True
            )
        return found

    def _line(self, line: bytes) -> tuple[str, bytes] | None:
        if not line:
            event = (self._name, b"\n".join(self._data)) if self._data else None
            self._data, self._name, self._size = [], "", 0
            return event
        self._size += len(line)
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
        return None
