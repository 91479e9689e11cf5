"""One request within bounds: to a pinned address, no redirects, no proxies, limits on time and on what is read."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from companyos.errors import ConfigError
from companyos.notify.errors import WebhookAnswerError, WebhookTimeoutError, WebhookUnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from companyos.notify.webhooks.addresses import AddressRule

__all__ = ("Answer", "Client")

MOST_BYTES = 32 * 1024
"""Of head and body of an answer; nothing in it is needed but its status and a few headers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said."""

    status: int
    """HTTP status."""
    headers: Mapping[str, str]
    """Its headers, names in lower case."""


class Client:
    """Sends requests to one URL.

    Raises:
        ConfigError: it is no `https:` URL, or one with a user or a fragment; `http:` needs `plain_http`.
    """

    def __init__(
        self,
        url: str,
        rule: AddressRule,
        *,
        timeout_seconds: float = 10.0,
        plain_http: bool = False,
        context: ssl.SSLContext | None = None,
    ) -> None:
        try:
            parts = urlsplit(url)
            self.host, port = parts.hostname or "", parts.port
        except ValueError:
            raise ConfigError("the URL of a webhook is none") from None
        secure = parts.scheme == "https"
        if not self.host or not (secure or (parts.scheme == "http" and plain_http)) or parts.username or parts.fragment:
            # Not shown: the path of such a URL is often all that protects it.
            raise ConfigError(
                "the URL of a webhook cannot be used",
                got=f"{parts.scheme}://{self.host}/…",
                expected="https://host/path, without user or fragment; http only with plain_http: true",
            )
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ConfigError("the URL of a webhook has characters that no URL has")
        self._port = port or (443 if secure else 80)
        self._path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        self._context = (context or _system_trust()) if secure else None
        self._rule, self._timeout = rule, timeout_seconds

    def send(self, method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send and return the answer's head; its body is not read.

        Raises:
            WebhookAddressError: the host leads into a network that is not allowed; nothing was sent.
            WebhookTimeoutError: it took longer than it may, all in all.
            WebhookUnreachableError: there is no connection, or it broke.
            WebhookAnswerError: it is not HTTP, or too much.
        """
        until = time.monotonic() + self._timeout
        addresses = self._rule.pinned(self.host, self._port)
        try:
            return self._exchange(_connect(addresses, self._port, until), method, body, headers, until)
        except TimeoutError as error:
            raise WebhookTimeoutError(f"{self.host} took longer than {self._timeout:g} s") from error
        except _TooMuchError as error:
            raise WebhookAnswerError(f"{self.host} answered with more than {MOST_BYTES} bytes of headers") from error
        except (http.client.RemoteDisconnected, OSError) as error:
            raise WebhookUnreachableError(f"no answer from {self.host}: {type(error).__name__}") from error
        except (http.client.HTTPException, ValueError) as error:
            raise WebhookAnswerError(f"{self.host} answered with something that is not HTTP") from error

    def _exchange(
        self, plain: socket.socket, method: str, body: bytes, headers: Mapping[str, str], until: float
    ) -> Answer:
        sock = plain
        try:
            if self._context is not None:
                sock.settimeout(_left(until))
                sock = self._context.wrap_socket(sock, server_hostname=self.host)
            connection = http.client.HTTPConnection(self.host, self._port)
            connection.sock = _Bounded(sock, until)
            # Compressed answers are not asked for, and never unpacked.
            connection.request(method, self._path, body, {"Accept-Encoding": "identity", **headers})
            response = connection.getresponse()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()})
        finally:
            sock.close()


@cache
def _system_trust() -> ssl.SSLContext:
    return ssl.create_default_context()  # reads every certificate of the system, which takes long


def _connect(addresses: list[str], port: int, until: float) -> socket.socket:
    """A connection to the first address that takes one; time is left for the others."""
    for number, address in enumerate(addresses):
        share = _left(until) / (len(addresses) - number)
        try:
            return socket.create_connection((address, port), timeout=share)
        except OSError:
            if number == len(addresses) - 1:
                raise
    raise AssertionError("unreachable")


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _TooMuchError(Exception):
    """More was answered than is read."""


class _Bounded:
    """As much of a socket as `http.client` uses, with one deadline over everything and a limit on what comes in."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock, self._until = sock, until

    def sendall(self, data: Any) -> None:
        self._sock.settimeout(_left(self._until))
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._until), 4096)

    def close(self) -> None:
        """The socket is closed by who opened it."""


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, until: float) -> None:
        super().__init__()
        self._sock, self._until, self._left = sock, until, MOST_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # A socket's own timeout would start anew with each byte.
        self._sock.settimeout(_left(self._until))
        count = self._sock.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise _TooMuchError
        return count
