"""One child process with an engine, seen from its parent: the frames between them, and how it is ended."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec

from companyos.authz.engines._worker import HEADER, Start
from companyos.authz.interface import (
    EngineError,
    EngineTimeoutError,
    EngineUnreachableError,
    PoliciesExpiredError,
    PolicyError,
)
from companyos.decision import Obligation
from companyos.errors import MissingExtraError
from companyos.ports import Opinion

if TYPE_CHECKING:
    from companyos.ports import AccessRequest

__all__ = ("Child", "frame_of", "opinion_of")

_BOOT = (
    "import sys; sys.path[:] = sys.argv[2:]; from companyos.authz.engines import _worker; "
    "_worker.main(int(sys.argv[1]))"
)
_MOST = 64 * 1024 * 1024
"""Largest answer of a child that is read, in bytes."""
_ERRORS = {kind.reason: kind for kind in (EngineTimeoutError, EngineUnreachableError, PoliciesExpiredError)}
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class Child:
    """One process and the socket to it."""

    __slots__ = ("_process", "_readable", "_socket", "_writable", "ending")

    def __init__(self, start: Start) -> None:
        self.ending: str | None = None
        ours, theirs = socket.socketpair()
        with theirs:
            descriptor = theirs.fileno()
            command = [sys.executable, "-c", _BOOT, str(descriptor), *sys.path]
            try:
                self._process = subprocess.Popen(
                    command,
                    pass_fds=[descriptor],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,  # what interrupts the server must not interrupt an evaluation
                )
            except BaseException:
                ours.close()
                raise
        self._socket = ours
        # The calls themselves never wait, so that each request costs three of them and no more.
        ours.setblocking(False)
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(ours, select.POLLIN)
        self._writable.register(ours, select.POLLOUT)
        frame = _encode(start)
        try:
            ours.send(HEADER.pack(len(frame)) + frame)
        except OSError:
            self.kill()
            raise

    def hello(self, seconds: float) -> tuple[str, str]:
        """Name and version of the engine, once it stands.

        Raises:
            EngineTimeoutError: its policies were not read and checked in time.
            PolicyError, MissingExtraError: they cannot be used.
        """
        try:
            answer = self._receive(seconds)
        except TimeoutError as error:
            self.kill()
            raise EngineTimeoutError(
                "the policies were not ready in time; their process was killed",
                expected=f"within {seconds:g} s",
                hint="look for rules that loop over what they loop over",
            ) from error
        except OSError as error:
            self.kill()
            raise PolicyError("a policy worker did not start", got=self.ending or error) from error
        if answer[0] is not True:
            _, what, got, expected, hint, _, code = answer
            kind = MissingExtraError if code == MissingExtraError.code else PolicyError
            raise kind(what, got=got, expected=expected, hint=hint)
        return answer[1], answer[2]

    def ask(self, frame: bytes, seconds: float) -> Any:
        """The answer to one frame.

        Raises:
            TimeoutError: it did not come in time.
            OSError: the process ended.
        """
        until = time.monotonic() + seconds
        data = HEADER.pack(len(frame)) + frame
        sent = self._socket.send(data)
        while sent < len(data):
            self._wait(self._writable, until)
            sent += self._socket.send(data[sent:])
        return self._receive(seconds)

    def stop(self) -> None:
        """Let it end by itself, for a moment."""
        self._socket.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it now, whatever it does."""
        self._process.kill()
        code = self._process.wait()
        self._socket.close()
        self.ending = f"exit status {code}" if code >= 0 else f"signal {-code}"

    def _receive(self, seconds: float) -> Any:
        until = time.monotonic() + seconds
        data = self._more(until)
        while len(data) < HEADER.size:
            data += self._more(until)
        (size,) = HEADER.unpack_from(data)
        if size > _MOST:
            raise OSError("an answer without measure")
        if len(data) < size + HEADER.size:
            parts = [data]
            left = size + HEADER.size - len(data)
            while left:
                parts.append(self._more(until))
                left -= len(parts[-1])
            data = b"".join(parts)
        return _decode(memoryview(data)[HEADER.size :])

    def _more(self, until: float) -> bytes:
        self._wait(self._readable, until)
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionResetError("the process ended")
        return data

    @staticmethod
    def _wait(what: select.poll, until: float) -> None:
        left = until - time.monotonic()
        if left <= 0 or not what.poll(left * 1000):
            raise TimeoutError


def frame_of(request: AccessRequest) -> bytes:
    """A request as a child takes it.

    Raises:
        EngineError: it holds a value that cannot be sent.
    """
    try:
        return _encode((request.subject, request.action, request.resource, request.environment))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise EngineError("the request holds a value that no worker can be given", got=error) from error


def opinion_of(answer: Any) -> Opinion:
    """The opinion in a child's answer.

    Raises:
        EngineError: the engine in the child could not decide.
    """
    if answer[0] is not True:
        _, what, got, expected, hint, reason, _ = answer
        raise _ERRORS.get(reason, EngineError)(what, got=got, expected=expected, hint=hint)
    _, allow, reason, message, obligations, version = answer
    return Opinion(allow is True, reason, message, tuple(Obligation(*item) for item in obligations), version)
