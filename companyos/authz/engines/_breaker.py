"""A circuit breaker: whoever fails again and again is left alone for a while, and then asked by one caller first."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("Breaker",)


class Breaker:
    """Counts failures in a row; after `failures` of them nobody passes until `cool_down_seconds` have gone by.

    Then one caller passes. If it succeeds, all pass again; if it fails, the wait begins anew. Any thread may use it.
    """

    def __init__(
        self, *, failures: int = 5, cool_down_seconds: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = failures
        self._cool_down = cool_down_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = 0
        self._until: float | None = None
        self._probe: int | None = None
        self._tickets = 0
        self._era = 0

    @property
    def state(self) -> str:
        """`closed` (all pass), `open` (nobody does) or `half-open` (one is trying)."""
        with self._lock:
            if self._until is None:
                return "closed"
            return "open" if self._probe is None else "half-open"

    def enter(self) -> int | None:
        """A ticket to give back to `leave`, or None for whoever may not pass."""
        with self._lock:
            if self._until is None:
                self._tickets += 1
                return self._tickets
            if self._probe is not None or self._clock() < self._until:
                return None
            self._tickets += 1
            self._probe = self._tickets
            return self._tickets

    def leave(self, ticket: int, *, healthy: bool) -> None:
        """Say how it went. What began before the last change of state is old news and changes nothing."""
        with self._lock:
            if self._probe == ticket:
                self._probe = None
                self._close() if healthy else self._open()
            elif self._until is None and ticket > self._era:
                self._failed = 0 if healthy else self._failed + 1
                if self._failed >= self._limit:
                    self._open()

    def _open(self) -> None:
        self._until = self._clock() + self._cool_down
        self._era = self._tickets

    def _close(self) -> None:
        self._until = None
        self._failed = 0
        self._era = self._tickets
