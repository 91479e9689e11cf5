"""Many callers, one reader: calls for the same key that come while one is under way share the next one."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("Flights",)

_T = TypeVar("_T")


class Flights(Generic[_T]):
    """At most one call a key at a time in this process.

    A caller never gets the answer of a call that had begun before it came: those who find a call under way share the
    one after it. So what they get is no older than their own question.
    """

    def __init__(self) -> None:
        self._running: dict[str, Future[_T]] = {}
        self._waiting: dict[str, Future[_T]] = {}
        self._lock = threading.Lock()

    def do(self, key: str, action: Callable[[], _T]) -> tuple[_T, bool]:
        """The answer of `action`, and whether this caller was the one who made it; its error is everybody's."""
        with self._lock:
            running = self._running.get(key)
            if running is None:
                mine = self._running[key] = Future()
            elif key in self._waiting:
                running, mine = self._waiting[key], None
            else:
                mine = self._waiting[key] = Future()
        if mine is None:
            assert running is not None  # noqa: S101 - tells the type checker
            return running.result(), False
        return self._lead(key, mine, running, action), True

    def _lead(self, key: str, mine: Future[_T], before: Future[_T] | None, action: Callable[[], _T]) -> _T:
        try:
            if before is not None:
                before.exception()  # wait for its end, whatever that is
            answer = action()
        except BaseException as error:
            self._end(key, mine)
            mine.set_exception(error)
            raise
        self._end(key, mine)
        mine.set_result(answer)
        return answer

    def _end(self, key: str, mine: Future[_T]) -> None:
        with self._lock:
            following = self._waiting.pop(key, None)
            if following is mine:  # interrupted before its turn
                return
            if following is None:
                del self._running[key]
            else:
                self._running[key] = following
