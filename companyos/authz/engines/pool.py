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
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

from companyos.authz.engines._child import Child, frame_of, opinion_of
from companyos.authz.engines._share import Shares
from companyos.authz.engines._worker import Start
from companyos.authz.interface import EngineError, EngineTimeoutError, PolicyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from companyos.ports import AccessRequest, Opinion

__all__ = ("EngineBusyError", "WorkerEngine", "asking_as")

_asking: ContextVar[str | None] = ContextVar("companyos_asking", default=None)
_log = logging.getLogger(__name__)


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
            EngineTimeoutError: the children were not ready within `start_seconds`.
        """
        told = 2 * deadline_seconds + 1, memory_bytes, 2 * start_seconds + 1
        self._start = Start(factory, dict(arguments or {}), *told)
        self._deadline = deadline_seconds
        self._start_seconds = start_seconds
        self._idle: queue.SimpleQueue[Child] = queue.SimpleQueue()
        self._wanted: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._shares = Shares(max(1, workers - 1))
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._children: set[Child] = set()
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
        frame = frame_of(request)
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

    def _free_child(self, until: float) -> Child:
        try:
            return self._idle.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            if self._closing.is_set():
                raise EngineError("the pool of policy workers is closed") from None
            raise EngineBusyError("every policy worker is busy", got=self.alive, expected=self._size) from None

    def _ask(self, child: Child, frame: bytes) -> Opinion:
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
        return opinion_of(answer)

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
        children: list[Child] = []
        try:
            children.extend(Child(self._start) for _ in range(workers))
            hello = _same({child.hello(self._start_seconds) for child in children})
        except BaseException:
            for child in children:
                child.kill()
            raise
        for child in children:
            self._children.add(child)
            self._idle.put(child)
        return hello

    def _give_back(self, child: Child) -> None:
        with self._lock:
            if not self._closing.is_set():
                self._idle.put(child)
                return
        self._end(child)

    def _end(self, child: Child) -> None:
        self._children.discard(child)
        child.stop()

    def _remove(self, child: Child) -> None:
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

    def _another(self) -> Child:
        child = Child(self._start)
        try:
            _same({child.hello(self._start_seconds), (self._name, self._version)})
        except BaseException:
            child.kill()
            raise
        return child


def _same(hellos: set[tuple[str, str]]) -> tuple[str, str]:
    """The one name and version of all workers."""
    if len(hellos) != 1:
        raise PolicyError(
            "workers decide by different policies", got=", ".join(sorted(version for _, version in hellos))
        )
    return hellos.pop()
