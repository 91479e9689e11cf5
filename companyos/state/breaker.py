"""A circuit breaker: after a few failures in a row, ask only now and then whether it works again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from companyos.state.interface import Clock

__all__ = ("Breaker",)


class Breaker:
    """Closed: every call goes through. Open: none does, but one probe each `pause_seconds`; its success closes it."""

    def __init__(self, clock: Clock, *, failures: int = 3, pause_seconds: float = 1.0) -> None:
        self._clock = clock
        self._limit = failures
        self._pause = pause_seconds
        self._failures = 0
        self._probe_at = 0.0
        self._lock = threading.Lock()

    @property
    def open(self) -> bool:
        """Whether calls are held back."""
        return self._failures >= self._limit

    def admits(self) -> bool:
        """Whether a call may go through now; it must then be followed by `succeeded` or `failed`."""
        if self._failures < self._limit:
            return True
        with self._lock:
            now = self._clock.monotonic()
            if now < self._probe_at:
                return False
            self._probe_at = now + self._pause
            return True

    def succeeded(self) -> None:
        """The call was answered."""
        if self._failures:
            with self._lock:
                self._failures = 0

    def failed(self) -> None:
        """The call was not answered."""
        with self._lock:
            self._failures += 1
            self._probe_at = self._clock.monotonic() + self._pause
