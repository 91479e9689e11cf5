"""How much of something that is scarce one caller may have at a time, so that the others are left some."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("ByCaller", "Shares")

_T = TypeVar("_T")


class ByCaller(Generic[_T]):
    """One thing for each caller that has, or wants, something; forgotten with its last use. Any thread may use it."""

    __slots__ = ("_lock", "_make", "_of")

    def __init__(self, make: Callable[[], _T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._of: dict[str, tuple[_T, int]] = {}

    def enter(self, caller: str) -> _T:
        """The caller's thing, in one use more."""
        with self._lock:
            found, users = self._of.get(caller) or (self._make(), 0)
            self._of[caller] = found, users + 1
        return found

    def leave(self, caller: str) -> _T:
        """The caller's thing, in one use less."""
        with self._lock:
            found, users = self._of.pop(caller)
            if users > 1:
                self._of[caller] = found, users - 1
        return found

    def __len__(self) -> int:
        return len(self._of)


class Shares:
    """Counts what each caller has; nothing is kept of one that has, and wants, nothing. Any thread may use it."""

    __slots__ = ("_of", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        """How much one caller may have."""
        self._of = ByCaller(lambda: threading.Semaphore(most))

    def take(self, caller: str | None, seconds: float) -> bool:
        """Take one share, waiting for it if need be; whether there was one in time. None may have any number."""
        if caller is None or self._of.enter(caller).acquire(timeout=seconds):
            return True
        self._of.leave(caller)
        return False

    def give_back(self, caller: str | None) -> None:
        """Give one back."""
        if caller is not None:
            self._of.leave(caller).release()

    def __len__(self) -> int:
        return len(self._of)
