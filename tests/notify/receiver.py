"""A receiver of webhooks on a real socket: faults by plan, and effects that happen once for each key."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from companyos.notify import verify_webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ("SECRET", "Receiver", "running")

SECRET = "whsec_" + "c3BlY2ltZW4tc3BlY2ltZW4tc3BlY2ltZW4="
OK = b"HTTP/1.1 204 Taken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class Receiver:
    r"""What arrived, and how it answers.

    The plan maps id and attempt (from 1) to a fault: `ok`, `hang`, `reset`, `taken-then-reset`, `taken-then-hang`, or a
    number with an optional answer head, such as `503\\r\\nRetry-After: 7`; bytes are sent as they are.
    """

    plan: Callable[[str, int], str | bytes]
    port: int = 0
    attempts: Counter[str] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)
    """How often each id had an effect; the receiver remembers keys, so that it is at most 1."""
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    on_effect: Callable[[str], None] = lambda _: None
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def serve(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError, ValueError):
            peer.settimeout(30)
            line, headers, body = _request(peer)
            name = headers.get("webhook-id", "")
            with self.lock:
                self.requests.append((line, headers, body))
                self.attempts[name] += 1
                fault = self.plan(name, self.attempts[name])
            if fault == "ok" or (isinstance(fault, str) and fault.startswith("taken")):
                self.take(name, headers, body)
            self.answer(peer, fault)

    def take(self, name: str, headers: dict[str, str], body: bytes) -> None:
        verify_webhook(headers, body, [SECRET])
        with self.lock:
            first = not self.effects[name]
            if first:
                self.effects[name] = 1
        if first:
            self.on_effect(name)

    def answer(self, peer: socket.socket, fault: str | bytes) -> None:
        if isinstance(fault, bytes):
            peer.sendall(fault)
        elif fault == "ok":
            peer.sendall(OK)
        elif fault.endswith("hang"):
            peer.recv(1)  # until the sender has had enough
        elif fault.endswith("reset"):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            status, _, head = fault.partition("\r\n")
            more = f"{head}\r\n" if head else ""
            peer.sendall(f"HTTP/1.1 {status} Fault\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())


def _request(peer: socket.socket) -> tuple[str, dict[str, str], bytes]:
    stream: Any = peer.makefile("rb")
    with stream:
        line = stream.readline().decode("latin-1").strip()
        headers = {}
        for raw in iter(stream.readline, b"\r\n"):
            if not raw:
                raise ValueError("cut")
            key, _, value = raw.decode("latin-1").partition(":")
            headers[key.strip().lower()] = value.strip()
        return line, headers, stream.read(int(headers.get("content-length", 0)))


@contextlib.contextmanager
def running(plan: Callable[[str, int], str | bytes] = lambda _name, _attempt: "ok") -> Iterator[Receiver]:
    """A receiver that listens on this machine."""
    receiver = Receiver(plan)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        receiver.port = server.getsockname()[1]

        def accept() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                if receiver.closing.is_set():
                    peer.close()
                    return
                threading.Thread(target=receiver.serve, args=(peer,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.closing.set()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", receiver.port)).close()
            thread.join()
