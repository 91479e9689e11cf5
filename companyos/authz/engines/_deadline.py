"""Sockets that keep a deadline over a whole exchange, not only over each wait for the next byte.

An HTTP client's read timeout begins anew with every byte, so that whoever sends one byte a second is never late.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from companyos._extras import require

__all__ = ("Deadline", "Network")

_STEP = 65_536


class Deadline:
    """When the exchange that this thread is in must be over; each thread has its own."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def start(self, seconds: float) -> None:
        """Begin an exchange."""
        self._of_thread.end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until then; negative when it is over."""
        end: float = self._of_thread.end
        return end - time.monotonic()


class Network:
    """An httpcore network backend whose every wait ends by the deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._core: Any = require("httpcore", extra="authz-remote")
        self._backend: Any = self._core.SyncBackend()
        self._deadline = deadline

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, **options: Any) -> _Stream:
        """Connect; looking up the name is the system's and keeps the system's own time."""
        allowed = _remaining(self._deadline, timeout, self._core.ConnectTimeout)
        return _Stream(self._backend.connect_tcp(host, port, allowed, **options), self._deadline, self._core)

    def connect_unix_socket(self, path: str, timeout: float | None = None, **options: Any) -> _Stream:
        """Connect to a socket of this machine."""
        allowed = _remaining(self._deadline, timeout, self._core.ConnectTimeout)
        return _Stream(self._backend.connect_unix_socket(path, allowed, **options), self._deadline, self._core)

    def sleep(self, seconds: float) -> None:
        """Wait, as httpcore does between attempts of its own; it is told to make none."""
        self._backend.sleep(min(seconds, max(self._deadline.left, 0.0)))


class _Stream:
    """One connection; it may serve one thread after another, each under its own deadline."""

    def __init__(self, stream: Any, deadline: Deadline, core: Any) -> None:
        self._stream = stream
        self._deadline = deadline
        self._core = core

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What has arrived."""
        data: bytes = self._stream.read(max_bytes, _remaining(self._deadline, timeout, self._core.ReadTimeout))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it."""
        for start in range(0, len(buffer), _STEP):
            allowed = _remaining(self._deadline, timeout, self._core.WriteTimeout)
            self._stream.write(buffer[start : start + _STEP], allowed)

    def close(self) -> None:
        """Close."""
        self._stream.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        """The same connection, encrypted."""
        allowed = _remaining(self._deadline, timeout, self._core.ConnectTimeout)
        stream = self._stream.start_tls(ssl_context, server_hostname, allowed)
        return _Stream(stream, self._deadline, self._core)

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks of a stream."""
        return self._stream.get_extra_info(info)


def _remaining(deadline: Deadline, timeout: float | None, late: type[Exception]) -> float:
    left = deadline.left
    if left <= 0:
        raise late("the deadline has passed")
    return left if timeout is None else min(timeout, left)
