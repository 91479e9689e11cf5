"""Two vendors on a real socket that answer as a specimen has it, and count who was asked."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("Behaviour", "Vendors")

Behaviour = Literal["ok", "overloaded", "broken", "cut", "filtered", "elsewhere"]
"""A whole answer; 503; 500; a body that ends early; stopped by the content filter; a redirect to another host."""
ANSWER = "The report is fine."


class Vendors:
    """Serves `http://127.0.0.1:PORT/NAME/v1/chat/completions` for each name; a context manager."""

    def __init__(self, behaviours: Mapping[str, Behaviour]) -> None:
        self.asked: Counter[str] = Counter()
        """How often each was asked."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, behaviours))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, name: str) -> str:
        """Base URL of a vendor."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}/v1"


def _handler(vendors: Vendors, behaviours: Mapping[str, Behaviour]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            name = self.path.split("/")[1]
            vendors.asked[name] += 1
            self.rfile.read(int(self.headers.get("content-length", 0)))
            status, body, location = _reply(behaviours[name])
            self.send_response(status)
            if location is not None:
                self.send_header("location", location)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if behaviours[name] == "cut" else body)
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library calls it so
            """Say nothing: specimens are not a server that anybody watches."""

    return Handler


def _reply(behaviour: Behaviour) -> tuple[int, bytes, str | None]:
    if behaviour in {"overloaded", "broken"}:
        status = 503 if behaviour == "overloaded" else 500
        return status, json.dumps({"error": {"message": behaviour, "code": behaviour}}).encode(), None
    if behaviour == "elsewhere":
        return 307, b"{}", "https://api.us.mistral.ai/v1/chat/completions"
    finish = "content_filter" if behaviour == "filtered" else "stop"
    message = {"role": "assistant", "content": "" if behaviour == "filtered" else ANSWER}
    value = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "specimen",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25},
    }
    return 200, json.dumps(value).encode(), None
