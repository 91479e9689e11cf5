"""The embedded cache: a dictionary of this process, the least recently used going first."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from companyos.state.entry import settle

if TYPE_CHECKING:
    from companyos.state.interface import Clock

__all__ = ("MemoryCache",)


class MemoryCache:
    """At most `size` values in the memory of this process; other processes have caches of their own.

    What another process writes shows here within the lease, not at once.
    """

    def __init__(self, size: int = 10_000, *, clock: Clock | None = None) -> None:
        self._size = size
        self._now = time.monotonic if clock is None else clock.monotonic
        self._values: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """What is there."""
        with self._lock:
            return self._get(key)

    def put(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Put it there, whatever was there."""
        with self._lock:
            self._put(key, value, self._now() + ttl_seconds)

    def add(self, key: str, value: bytes, ttl_seconds: float) -> bool:
        """Put it there if nothing is there; whether it was done."""
        with self._lock:
            if self._get(key) is not None:
                return False
            self._put(key, value, self._now() + ttl_seconds)
            return True

    def swap(self, key: str, old: bytes, new: bytes | None, ttl_seconds: float) -> bool:
        """Put `new` in the place of `old`, if that is there; whether it was done."""
        with self._lock:
            if self._get(key) != old:
                return False
            self._put(key, new, self._now() + ttl_seconds)
            return True

    def publish(self, key: str, marker: bytes, value: bytes, ttl_seconds: float) -> None:
        """Put there what `settle` says."""
        with self._lock:
            current = self._get(key)
            settled = settle(current, marker, value)
            if settled is not current:
                expiry = self._now() + ttl_seconds if settled is value else self._values[key][1]
                self._put(key, settled, expiry)

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()

    def _get(self, key: str) -> bytes | None:
        found = self._values.get(key)
        if found is None:
            return None
        if found[1] <= self._now():
            del self._values[key]
            return None
        self._values.move_to_end(key)
        return found[0]

    def _put(self, key: str, value: bytes | None, expiry: float) -> None:
        if value is None:
            self._values.pop(key, None)
            return
        self._values[key] = (value, expiry)
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)
