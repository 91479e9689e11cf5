"""A small witness over HTTP/1.1, for a company's own second machine; TLS is the business of a proxy before it."""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from companyos.ledger.witness.state import Answer

if TYPE_CHECKING:
    from types import TracebackType

    from companyos.ledger.witness.state import WitnessState

__all__ = ("WitnessServer",)

MAX_BODY_BYTES = 64 * 1024
"""63 hashes are under 3 KB, a signature of ML-DSA under 4 KB."""
MAX_CONNECTIONS = 64
IDLE_SECONDS = 10
CONNECTION_SECONDS = 60
_LENGTH = re.compile(r"[0-9]{1,9}")


class WitnessServer:
    """Serves `add-checkpoint`; as a context manager in a thread of its own, or by `serve` in the caller's.

    A body is at most 64 KiB. A connection lasts a minute at most, is closed after 10 idle seconds, and there are 64 of
    them at a time.
    """

    def __init__(self, state: WitnessState, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = _Server((host, port), type("_Bound", (_Handler,), {"state": state}))
        self._served = False

    @property
    def url(self) -> str:
        """The submission prefix."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def serve(self) -> None:
        """Serve until `close` is called from elsewhere."""
        self._served = True
        self._server.serve_forever(poll_interval=0.1)

    def start(self) -> Self:
        """Serve in a thread of its own until `close`."""
        self._served = True
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def close(self) -> None:
        """Stop serving."""
        if self._served:
            self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection if there is a place for it."""
        if self.places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        watch = threading.Timer(CONNECTION_SECONDS, _cut, [request])
        watch.daemon = True
        watch.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            watch.cancel()
            self.places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is nothing to report; anything else is."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    state: WitnessState
    protocol_version = "HTTP/1.1"
    server_version = "companyos-witness"
    sys_version = ""
    timeout = IDLE_SECONDS

    def do_POST(self) -> None:
        """Answer one request."""
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not _LENGTH.fullmatch(length):
            self._send(Answer(411), last=True)
        elif int(length) > MAX_BODY_BYTES:
            self._send(Answer(413), last=True)
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                self._send(self.state.add(body) if self.path.endswith("/add-checkpoint") else Answer(404))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class has
        """Not a word: what was cosigned is in the state, the rest is noise from the network."""

    def _send(self, answer: Answer, *, last: bool = False) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        if last:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)


def _cut(request: socket.socket) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)
