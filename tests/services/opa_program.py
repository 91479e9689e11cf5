"""A server that speaks OPA's wire format and evaluates with the real OPA engine: `python opa_program.py PORT`.

There is no OPA binary to be had everywhere; the engine is its library, and only the HTTP around it is ours, written
after OPA's REST API (`POST /v1/data/…` with `provenance` and `strict-builtin-errors`). Everything lies below a place of
its own, so that one process serves many tests:

- `PUT /sets/NAME` with `{"sources": …, "data": …, "revision": …}` loads policies; `/sets/NAME/v1/data/…` asks them
- `PUT /answers/NAME` keeps bytes; `/answers/NAME/v1/data/…` gives exactly those as the body of a 200
- `/faults/KIND/…` misbehaves; `/faults/flaky/NUMBER/NAME/…` answers 503 as often as that, and then like the set
- `GET /seen` gives each request's path and `authorization`, oldest first
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

sys.path.append(str(Path(__file__).resolve().parents[2]))

from tests.services import opa_engine

MODULE = opa_engine.find()
FOREVER_SECONDS = 60.0
LARGE = 3 * 1024 * 1024


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    sets: ClassVar[dict[str, tuple[opa_engine.Opa, str | None]]] = {}
    answers: ClassVar[dict[str, bytes]] = {}
    seen: ClassVar[list[dict[str, str]]] = []
    flaky: ClassVar[dict[str, int]] = {}

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Health, and what was seen."""
        self._send(200, list(self.seen) if self.path == "/seen" else {})

    def do_PUT(self) -> None:
        """Load policies, or keep an answer."""
        kind, name = self.path.strip("/").split("/")
        body = self._body()
        if kind == "answers":
            self.answers[name] = body
            self._send(200, {})
            return
        given = json.loads(body)
        try:
            self.sets[name] = (opa_engine.Opa(MODULE, given["sources"], given["data"]), given["revision"])
        except MODULE.OpaError as error:
            self._send(400, {"code": "invalid_parameter", "message": str(error)})
        else:
            self._send(200, {})

    def do_POST(self) -> None:
        """A decision, or a fault."""
        body = self._body()
        self.seen.append({"path": self.path, "authorization": self.headers.get("authorization", "")})
        place, _, rest = urlsplit(self.path).path.partition("/v1/data/")
        kind, *names = place.strip("/").split("/")
        if kind == "faults":
            getattr(self, f"_{names[0]}")(names[1:], body, rest)
        elif kind == "answers":
            self._raw(200, self.answers[names[0]])
        else:
            self._decide(names[0], rest, body)

    def _decide(self, name: str, path: str, body: bytes) -> None:
        engine, revision = self.sets[name]
        asked = parse_qs(urlsplit(self.path).query)
        answer: dict[str, Any] = {}
        if asked.get("provenance") == ["true"]:
            bundles = {} if revision is None else {"companyos": {"revision": revision}}
            answer["provenance"] = {"version": "1.0.0", "build_commit": "", "bundles": bundles}
        try:
            answer["result"] = engine.ask(path.replace("/", "."), json.loads(body)["input"])
        except opa_engine.UndefinedError as error:
            if not str(error).startswith("undefined"):
                self._send(500, {"code": "internal_error", "message": "error(s) occurred while evaluating query"})
                return
        self._send(200, answer)

    def _flaky(self, names: list[str], body: bytes, path: str) -> None:
        times = self.flaky.setdefault(self.path, int(names[0]))
        self.flaky[self.path] = times - 1
        if times > 0:
            self._send(503, {"code": "away"})
        else:
            self._decide(names[1], path, body)

    def _silent(self, *_: Any) -> None:
        time.sleep(FOREVER_SECONDS)

    def _trickle(self, *_: Any) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _number in range(int(FOREVER_SECONDS * 10)):
            self.wfile.write(b"a")
            self.wfile.flush()
            time.sleep(0.1)

    def _drip(self, *_: Any) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _number in range(int(FOREVER_SECONDS * 10)):
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.1)

    def _cut(self, *_: Any) -> None:
        self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"result": {"allow": true, ')
        self.close_connection = True

    def _hangup(self, *_: Any) -> None:
        self.close_connection = True

    def _garbage(self, *_: Any) -> None:
        self.wfile.write(b"\x16\x03\x01\x00\xff nonsense\r\n\r\n")
        self.close_connection = True

    def _error(self, *_: Any) -> None:
        self._send(500, {"code": "internal_error", "message": "boom"})

    def _status(self, names: list[str], *_: Any) -> None:
        self._send(int(names[0]), {"result": {"allow": True, "reasons": [{"id": "x"}], "obligations": []}})

    def _redirect(self, names: list[str], *_: Any) -> None:
        self.send_response(307)
        self.send_header("location", f"/sets/{names[0]}/v1/data/companyos/access/decision?provenance=true")
        self.send_header("content-length", "0")
        self.end_headers()

    def _huge(self, *_: Any) -> None:
        self._raw(200, b'{"result": "' + b"x" * LARGE + b'"}')

    def _endless(self, *_: Any) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _number in range(LARGE // 4096):
            self.wfile.write(b"1000\r\n" + b" " * 4096 + b"\r\n")

    def _packed(self, *_: Any) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}")

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", "0")))

    def _send(self, status: int, value: Any) -> None:
        self._raw(status, json.dumps(value).encode())

    def _raw(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_one_request(self) -> None:
        """One request; that the client has gone away is what many tests are about."""
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


class Server(ThreadingHTTPServer):
    """A thread for each connection, none of which keeps the process alive."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


if __name__ == "__main__":
    server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
    threading.current_thread().name = "opa"
    server.serve_forever()
