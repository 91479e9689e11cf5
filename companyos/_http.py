"""One HTTP exchange within bounds: no redirects, no proxies, and the whole answer in time and size, or none.

For the rooms that ask one known server a short question, and must not be held up or filled up by it.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("BoundsError", "Server", "UnansweredError", "UnusableURLError")

_CONNECTIONS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}


class UnusableURLError(ValueError):
    """Not the `http:` or `https:` URL of a server, or one with a user, a query or a fragment."""


class UnansweredError(Exception):
    """No answer, or none that is HTTP; the text says why."""


class BoundsError(Exception):
    """The answer is longer, or took longer, than it may."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server at a URL."""

    url: str
    """With the prefix of its paths, if it has one."""
    timeout_seconds: float
    """For one exchange, from the connection to the last byte of the answer."""
    most_bytes: int
    """Of an answer."""

    def exchange(
        self, method: str, path: str, body: str | bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Status and body of the answer to a request for `path` below the URL.

        Raises:
            UnusableURLError: there is no such server.
            UnansweredError: it does not answer.
            BoundsError: its answer is too long or too slow.
        """
        connection, prefix = self._connection()
        late = threading.Event()
        watch: threading.Timer | None = None
        try:
            connection.connect()
            # A socket's own timeout starts anew with each byte; this one does not.
            watch = threading.Timer(self.timeout_seconds, _cut, [connection.sock, late])
            watch.daemon = True
            watch.start()
            connection.request(method, f"{prefix}{path}", body, dict(headers))
            response = connection.getresponse()
            answer = response.read(self.most_bytes + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UnansweredError(str(error) or repr(error)) from error
        finally:
            if watch is not None:
                watch.cancel()
            connection.close()
        if late.is_set() or len(answer) > self.most_bytes:
            raise BoundsError(f"{self.most_bytes} bytes within {self.timeout_seconds:g} s")
        return response.status, answer

    def _connection(self) -> tuple[http.client.HTTPConnection, str]:
        try:
            parts = urlsplit(self.url)
            kind, host, port = _CONNECTIONS.get(parts.scheme), parts.hostname, parts.port
        except ValueError:
            kind = host = port = None
        if kind is None or host is None or parts.username or parts.query or parts.fragment:
            raise UnusableURLError(self.url)
        return kind(host, port, timeout=self.timeout_seconds), parts.path.rstrip("/")


def _cut(sock: socket.socket, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError):
        # That of the plain socket: the TLS layer belongs to the thread that reads.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
