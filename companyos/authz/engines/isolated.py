"""An embedded engine in a process that is ended when its time is up: for policies that nobody vouches for yet."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Self

from companyos.authz.engines._child import Child, frame_of, opinion_of
from companyos.authz.engines._worker import Start
from companyos.authz.interface import EngineError, EngineTimeoutError, PolicyError

if TYPE_CHECKING:
    from companyos.authz.engines.embedded import Recipe
    from companyos.ports import AccessRequest, Opinion

__all__ = ("DEADLINE_SECONDS", "IsolatedEngine")

DEADLINE_SECONDS = 30.0
"""How long policies may take in all, unless it is said otherwise."""
_MEMORY_BYTES = 1024**3


class IsolatedEngine:
    """Decides by an embedded engine in one child process, which starts on first use. Close it after use.

    Its time is for everything together: reading the policies, checking them, and each decision. When it is used up the
    child is killed, and everything asked from then on is refused as `policy.timeout`. A child that breaks down, by the
    memory that it takes for example, costs the one decision; the next has a new child.
    """

    def __init__(self, recipe: Recipe, *, seconds: float = DEADLINE_SECONDS, memory_bytes: int = _MEMORY_BYTES) -> None:
        """Take what to make the engine of; a child may use `memory_bytes` of address space."""
        self._recipe = recipe
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._end: float | None = None
        self._child: Child | None = None
        self._version: str | None = None

    @property
    def name(self) -> str:
        """The name of the engine in the child."""
        return self._recipe.name

    @property
    def version(self) -> str:
        """The version of the engine in the child.

        Raises:
            PolicyError: its policies cannot be used.
            EngineTimeoutError: they were not ready in time.
        """
        with self._lock:
            if self._version is None:
                self._started()
            return str(self._version)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def decide(self, request: AccessRequest) -> Opinion:
        """The opinion of the engine in the child; one at a time.

        Raises:
            PolicyError: the policies cannot be used.
            EngineTimeoutError: the time is used up.
            EngineError: the engine could not decide, or its process ended while it did.
        """
        frame = frame_of(request)
        with self._lock:
            child = self._started()
            try:
                return opinion_of(child.ask(frame, self._left()))
            except TimeoutError as error:
                self._drop()
                raise self._late() from error
            except OSError as error:
                self._drop()
                raise EngineError("the process of the policy engine ended", got=child.ending) from error

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._drop()

    def _started(self) -> Child:
        if self._child is None:
            left = self._left()
            if left <= 0:
                raise self._late()
            told = self._recipe.factory, self._recipe.arguments, self._seconds + 1, self._memory_bytes, left + 1
            child = Child(Start(*told))
            try:
                self._version = self._same(child.hello(left)[1])
            except EngineTimeoutError as error:
                raise self._late() from error
            except BaseException:
                child.kill()
                raise
            self._child = child
        return self._child

    def _same(self, version: str) -> str:
        if self._version not in {None, version}:
            raise PolicyError("the policies changed while they were asked", got=version, expected=self._version)
        return version

    def _left(self) -> float:
        now = time.monotonic()
        if self._end is None:
            self._end = now + self._seconds
        return self._end - now

    def _late(self) -> EngineTimeoutError:
        return EngineTimeoutError(
            "the policies took too long; their process was killed",
            expected=f"everything within {self._seconds:g} s",
            hint="look for rules that loop over what they loop over; --deadline gives them more time",
        )

    def _drop(self) -> None:
        child: Any = self._child
        self._child = None
        if child is not None:
            child.kill()
