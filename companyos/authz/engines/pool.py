"""An engine in processes of its own, each of which can be killed: the only way to end a policy that does not end.

`WorkerEngine("companyos.authz.engines.rego:RegoEngine", {"directories": []})` decides like the engine that it makes in
its children. An evaluation that takes longer than the deadline is refused as `policy.timeout`; its child is killed and
replaced.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import select
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Self

import msgspec

from companyos.authz.engines._worker import HEADER, Start
from companyos.authz.interface import EngineError, EngineTimeoutError, EngineUnreachableError, PolicyError
from companyos.decision import Obligation
from companyos.ports import Opinion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from companyos.ports import AccessRequest

__all__ = ("EngineBusyError", "WorkerEngine")

_BOOT = (
    "import sys; sys.path[:] = sys.argv[2:]; from companyos.authz.engines import _worker; "
    "_worker.main(int(sys.argv[1]))"
)
_SEND_SECONDS = 30.0
_MOST = 64 * 1024 * 1024
"""Largest answer of a child that is read, in bytes."""
_log = logging.getLogger(__name__)
_ERRORS = {kind.reason: kind for kind in (EngineTimeoutError, EngineUnreachableError)}
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class EngineBusyError(EngineError):
    """Every worker was busy for as long as a decision may take."""

    code = "authz.busy"
    reason = "policy.busy"


class WorkerEngine:
    """Decides by an engine that lives in a pool of child processes; any thread may ask. Close it after use.

    On an event loop `decide_async` asks without a thread.
    """

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
        self._wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._waiting: deque[asyncio.Future[_Child]] = deque()
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
        frame = _frame(request)
        try:
            child = self._idle.get(timeout=self._deadline)
        except queue.Empty:
            raise self._nobody() from None
        try:
            answer = child.ask(frame, self._deadline)
        except OSError as error:
            self._replace(child)
            raise self._failed(child, error) from error
        self._give_back(child)
        return _opinion(answer)

    async def decide_async(self, request: AccessRequest) -> Opinion:
        """The same on an event loop, which goes on meanwhile.

        Raises:
            EngineError: as `decide`.
        """
        frame = _frame(request)
        try:
            child = self._idle.get_nowait()
        except queue.Empty:
            child = await self._turn()
        try:
            answer = await child.ask_async(frame, self._deadline)
        except OSError as error:
            await asyncio.get_running_loop().run_in_executor(None, self._replace, child)
            raise self._failed(child, error) from error
        except BaseException:
            # Whoever asked went away; what the child still answers would be taken for the answer to the next one.
            self._replace(child)
            raise
        self._give_back(child)
        return _opinion(answer)

    def close(self) -> None:
        """End the children; one that still evaluates ends after its answer."""
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
        self._wanted.put(False)
        self._keeper.join()
        while True:
            try:
                self._end(self._idle.get_nowait())
            except queue.Empty:
                return

    async def _turn(self) -> _Child:
        """The next child that is given back."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[_Child] = loop.create_future()
        with self._lock:
            self._waiting.append(turn)
        try:
            # One that came back just before this was put in line is found here.
            self._serve_line()
            async with asyncio.timeout(self._deadline):
                await asyncio.wait((turn,))
            return turn.result()
        except BaseException as error:
            # A child that was handed over in the very moment that the wait ended is not to be lost.
            if not turn.cancel() and not turn.cancelled():
                self._give_back(turn.result())
            if isinstance(error, TimeoutError):
                raise self._nobody() from None
            raise

    def _serve_line(self) -> None:
        """Give idle children to those in line, from any thread."""
        while self._waiting:
            with self._lock:
                try:
                    child = self._idle.get_nowait()
                except queue.Empty:
                    return
                turn = self._waiting.popleft() if self._waiting else None
            if turn is None or turn.get_loop().is_closed():
                self._give_back(child)
            else:
                turn.get_loop().call_soon_threadsafe(self._hand_over, turn, child)

    def _hand_over(self, turn: asyncio.Future[_Child], child: _Child) -> None:
        if turn.done():
            self._give_back(child)
        else:
            turn.set_result(child)

    def _nobody(self) -> EngineError:
        if self._closing.is_set():
            return EngineError("the pool of policy workers is closed")
        return EngineBusyError("every policy worker is busy", got=self.alive, expected=self._size)

    def _failed(self, child: _Child, error: OSError) -> EngineError:
        if isinstance(error, TimeoutError):
            return EngineTimeoutError(
                "the policies did not answer in time; their process was killed",
                expected=f"within {self._deadline:g} s",
            )
        return EngineError("the process of the policy engine ended", got=child.ending)

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
            is_open = not self._closing.is_set()
            if is_open:
                self._idle.put(child)
        if not is_open:
            self._end(child)
        elif self._waiting:
            self._serve_line()

    def _end(self, child: _Child) -> None:
        self._children.discard(child)
        child.stop()

    def _replace(self, child: _Child) -> None:
        self._children.discard(child)
        child.kill()
        with self._lock:
            self.replaced += 1
        self._wanted.put(True)

    def _keep(self) -> None:
        """Replace children that are gone, until the pool is closed; one that does not start is tried again, later."""
        pause = 0.1
        while self._wanted.get():
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
        # An event loop makes a socket non-blocking that it watches, so that waiting is always for `poll` to do.
        ours.setblocking(False)
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(ours, select.POLLIN)
        self._writable.register(ours, select.POLLOUT)
        frame = _encode(start)
        try:
            self._send(HEADER.pack(len(frame)) + frame, time.monotonic() + _SEND_SECONDS)
        except OSError:
            self.kill()
            raise

    def hello(self, seconds: float) -> tuple[str, str]:
        """Name and version of the engine, once it stands."""
        try:
            answer = self._receive(time.monotonic() + seconds)
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
        self._send(HEADER.pack(len(frame)) + frame, until)
        return self._receive(until)

    async def ask_async(self, frame: bytes, seconds: float) -> Any:
        """The same on an event loop.

        Raises:
            TimeoutError: it did not come in time.
            OSError: the process ended.
        """
        loop = asyncio.get_running_loop()
        data = HEADER.pack(len(frame)) + frame
        sent = self._socket.send(data)
        if sent < len(data):
            # Larger than the buffers: rare enough for a thread.
            await loop.run_in_executor(None, self._send, data[sent:], time.monotonic() + seconds)
        answer: asyncio.Future[Any] = loop.create_future()
        loop.add_reader(self._socket, self._read, answer, bytearray())
        late = loop.call_later(seconds, _too_late, answer)
        try:
            return await answer
        finally:
            late.cancel()
            loop.remove_reader(self._socket)

    def _read(self, answer: asyncio.Future[Any], data: bytearray) -> None:
        """Take what has come; with the whole frame the answer is there."""
        if answer.done():
            return
        try:
            part = self._socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError as error:
            answer.set_exception(error)
            return
        data += part
        if not part:
            answer.set_exception(ConnectionResetError("the process ended"))
        elif len(data) >= HEADER.size:
            (size,) = HEADER.unpack_from(data)
            if size > _MOST:
                answer.set_exception(OSError("an answer without measure"))
            elif len(data) >= size + HEADER.size:
                answer.set_result(_decode(memoryview(data)[HEADER.size :]))

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

    def _receive(self, until: float) -> Any:
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
        _wait(self._readable, until)
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionResetError("the process ended")
        return data

    def _send(self, data: bytes, until: float) -> None:
        while data:
            _wait(self._writable, until)
            data = data[self._socket.send(data) :]


def _wait(what: select.poll, until: float) -> None:
    left = until - time.monotonic()
    if left <= 0 or not what.poll(left * 1000):
        raise TimeoutError


def _too_late(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


def _frame(request: AccessRequest) -> bytes:
    try:
        return _encode((request.subject, request.action, request.resource, request.environment))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise EngineError("the request holds a value that no worker can be given", got=error) from error


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
