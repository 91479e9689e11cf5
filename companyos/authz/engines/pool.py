"""An engine in processes of its own, each of which can be killed: the only way to end a policy that does not end.

`WorkerEngine("companyos.authz.engines.rego:RegoEngine", {"directories": []})` decides like the engine that it makes in
its children. An evaluation that takes longer than the deadline is refused as `policy.timeout`; its child is killed and
replaced.

Within `asking_as(name)` a caller has at most one child less than there are, so that whoever asks for evaluations that
do not end leaves a child to the others. A child that was killed counts as its caller's until another is in its place.
"""

from __future__ import annotations

import logging
import queue
import select
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

import msgspec

from companyos.authz.engines._share import Shares
from companyos.authz.engines._worker import HEADER, Start
from companyos.authz.interface import EngineError, EngineTimeoutError, EngineUnreachableError, PolicyError
from companyos.decision import Obligation
from companyos.ports import Opinion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from companyos.ports import AccessRequest

__all__ = ("EngineBusyError", "WorkerEngine", "asking_as")

_BOOT = (
    "import sys; sys.path[:] = sys.argv[2:]; from companyos.authz.engines import _worker; "
    "_worker.main(int(sys.argv[1]))"
)
_MOST = 64 * 1024 * 1024
"""Largest answer of a child that is read, in bytes."""
_asking: ContextVar[str | None] = ContextVar("companyos_asking", default=None)
_log = logging.getLogger(__name__)
_ERRORS = {kind.reason: kind for kind in (EngineTimeoutError, EngineUnreachableError)}
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


@contextmanager
def asking_as(caller: str | None) -> Iterator[None]:
    """Name who asks for the evaluations within; None is nobody in particular, who may have every child."""
    token = _asking.set(caller)
    try:
        yield
    finally:
        _asking.reset(token)


class EngineBusyError(EngineError):
    """Every worker, or every one that the caller may have, was busy for as long as a decision may take."""

    code = "authz.busy"
    reason = "policy.busy"


class WorkerEngine:
    """Decides by an engine that lives in a pool of child processes; any thread may ask. Close it after use."""

    def __init__(
        self,
        factory: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        workers: int = 2,
        deadline_seconds: float = 1.0,
        start_seconds: float = 60.0,
        memory_bytes: int = 1024**3,
    ) -> None:
        """Start the children and wait until each has read and checked its policies.

        `factory` is a `package.module:callable` that makes the engine, `arguments` its keyword arguments. A child may
        use `memory_bytes` of address space.

        Raises:
            PolicyError: the engine cannot be made, or its policies cannot be used.
        """
        self._start = Start(factory, dict(arguments or {}), 2 * deadline_seconds + 1, memory_bytes)
        self._deadline = deadline_seconds
        self._start_seconds = start_seconds
        self._idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()
        self._wanted: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._shares = Shares(max(1, workers - 1))
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._children: set[_Child] = set()
        self._size = workers
        self.replaced = 0
        """How many children were killed or ended and had to be replaced."""
        self._name, self._version = self._begin(workers)
        self._keeper = threading.Thread(target=self._keep, name="companyos-pool", daemon=True)
        self._keeper.start()

    @property
    def name(self) -> str:
        """The name of the engine in the children."""
        return self._name

    @property
    def version(self) -> str:
        """The version of the engine in the children: the same in each."""
        return self._version

    @property
    def alive(self) -> int:
        """How many children are there at present."""
        return len(self._children)

    @property
    def size(self) -> int:
        """How many children there should be."""
        return self._size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def decide(self, request: AccessRequest) -> Opinion:
        """The opinion of the engine in a free child.

        Raises:
            EngineTimeoutError: not within the deadline.
            EngineBusyError: there was no free child within the deadline.
            EngineError: the engine could not decide, or its process ended while it did.
        """
        try:
            frame = _encode((request.subject, request.action, request.resource, request.environment))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise EngineError("the request holds a value that no worker can be given", got=error) from error
        until = time.monotonic() + self._deadline
        caller = _asking.get()
        if not self._shares.take(caller, self._deadline):
            raise EngineBusyError("the caller has every policy worker that it may have", expected=self._shares.most)
        child = None
        try:
            child = self._free_child(until)
            opinion = self._ask(child, frame)
        except BaseException:
            if child is None or child.ending is None:
                self._shares.give_back(caller)
            else:
                self._wanted.put(lambda: self._shares.give_back(caller))
            raise
        self._shares.give_back(caller)
        return opinion

    def _free_child(self, until: float) -> _Child:
        try:
            return self._idle.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            if self._closing.is_set():
                raise EngineError("the pool of policy workers is closed") from None
            raise EngineBusyError("every policy worker is busy", got=self.alive, expected=self._size) from None

    def _ask(self, child: _Child, frame: bytes) -> Opinion:
        """The opinion of a child, which is given back, or killed."""
        try:
            answer = child.ask(frame, self._deadline)
        except TimeoutError as error:
            self._remove(child)
            raise EngineTimeoutError(
                "the policies did not answer in time; their process was killed",
                expected=f"within {self._deadline:g} s",
            ) from error
        except OSError as error:
            self._remove(child)
            raise EngineError("the process of the policy engine ended", got=child.ending) from error
        self._give_back(child)
        return _opinion(answer)

    def close(self) -> None:
        """End the children; one that still evaluates ends after its answer."""
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
        self._wanted.put(None)
        self._keeper.join()
        while True:
            try:
                self._end(self._idle.get_nowait())
            except queue.Empty:
                return

    def _begin(self, workers: int) -> tuple[str, str]:
        children: list[_Child] = []
        try:
            children.extend(_Child(self._start) for _ in range(workers))
            hello = _same({child.hello(self._start_seconds) for child in children})
        except BaseException:
            for child in children:
                child.kill()
            raise
        for child in children:
            self._children.add(child)
            self._idle.put(child)
        return hello

    def _give_back(self, child: _Child) -> None:
        with self._lock:
            if not self._closing.is_set():
                self._idle.put(child)
                return
        self._end(child)

    def _end(self, child: _Child) -> None:
        self._children.discard(child)
        child.stop()

    def _remove(self, child: _Child) -> None:
        self._children.discard(child)
        child.kill()
        with self._lock:
            self.replaced += 1

    def _keep(self) -> None:
        """Replace children that are gone, until the pool is closed; one that does not start is tried again, later."""
        pause = 0.1
        while (replaced := self._wanted.get()) is not None:
            while not self._closing.is_set():
                try:
                    child = self._another()
                except Exception:  # noqa: BLE001 - whatever it is, the pool must go on trying
                    _log.exception("a policy worker could not be replaced; trying again in %s s", pause)
                    self._closing.wait(pause)
                    pause = min(2 * pause, 5.0)
                    continue
                pause = 0.1
                self._children.add(child)
                self._give_back(child)
                break
            replaced()

    def _another(self) -> _Child:
        child = _Child(self._start)
        try:
            _same({child.hello(self._start_seconds), (self._name, self._version)})
        except BaseException:
            child.kill()
            raise
        return child


class _Child:
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
        """Name and version of the engine, once it stands."""
        try:
            answer = self._receive(seconds)
        except OSError as error:
            self.kill()
            raise PolicyError("a policy worker did not start", got=self.ending or error) from error
        if answer[0] is not True:
            raise PolicyError(answer[1], got=answer[2])
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


def _same(hellos: set[tuple[str, str]]) -> tuple[str, str]:
    """The one name and version of all workers."""
    if len(hellos) != 1:
        raise PolicyError(
            "workers decide by different policies", got=", ".join(sorted(version for _, version in hellos))
        )
    return hellos.pop()


def _opinion(answer: Any) -> Opinion:
    if answer[0] is not True:
        _, what, got, reason = answer
        raise _ERRORS.get(reason, EngineError)(what, got=got)
    _, allow, reason, message, obligations, version = answer
    return Opinion(allow is True, reason, message, tuple(Obligation(*item) for item in obligations), version)
