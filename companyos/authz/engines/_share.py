"""How much of something that is scarce one caller may have at a time, so that the others are left some."""

from __future__ import annotations

import threading

__all__ = ("Shares",)


class Shares:
    """Counts what each caller has; nothing is kept of one that has, and wants, nothing. Any thread may use it."""

    __slots__ = ("_lock", "_of", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        """How much one caller may have."""
        self._lock = threading.Lock()
        self._of: dict[str, tuple[threading.Semaphore, int]] = {}

    def take(self, caller: str | None, seconds: float) -> bool:
        """Take one share, waiting for it if need be; whether there was one in time. None may have any number."""
        if caller is None:
            return True
        with self._lock:
            semaphore, users = self._of.get(caller) or (threading.Semaphore(self.most), 0)
            self._of[caller] = semaphore, users + 1
        if semaphore.acquire(timeout=seconds):
            return True
        self._leave(caller)
        return False

    def give_back(self, caller: str | None) -> None:
        """Give one back."""
        if caller is not None:
            self._leave(caller).release()

    def __len__(self) -> int:
        return len(self._of)

    def _leave(self, caller: str) -> threading.Semaphore:
        with self._lock:
            semaphore, users = self._of.pop(caller)
            if users > 1:
                self._of[caller] = semaphore, users - 1
        return semaphore
