"""Token buckets: how many requests a caller may make, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic

__all__ = ("RateLimiter",)

_MOST_OWED_SECONDS = 60.0


class RateLimiter:
    """One bucket a caller: `burst` tokens at most, `rate` a second come back. Used from one thread.

    Of more than `callers` callers, the one that was quiet for longest is forgotten, and starts afresh.
    """

    __slots__ = ("_buckets", "_burst", "_callers", "_rate")

    def __init__(self, rate: float, burst: int, *, callers: int = 10_000) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._callers = callers
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str, cost: int = 1, *, now: float | None = None) -> float:
        """Take `cost` tokens: 0.0 if they were there, else the seconds until they are, and nothing is taken.

        A cost above the burst counts as the burst.
        """
        now = monotonic() if now is None else now
        needed = min(float(cost), self._burst)
        left, then = self._buckets.get(caller, (self._burst, now))
        left = min(self._burst, left + max(0.0, now - then) * self._rate)
        seconds = 0.0 if left >= needed else (needed - left) / self._rate
        self._buckets[caller] = (left if seconds else left - needed, now)
        self._buckets.move_to_end(caller)
        if len(self._buckets) > self._callers:
            self._buckets.popitem(last=False)
        return seconds

    def charge(self, caller: str, cost: float, *, now: float | None = None) -> None:
        """Take `cost` tokens, there or not: what is missing has to come back before the next request.

        Nobody owes more than a minute.
        """
        now = monotonic() if now is None else now
        left, then = self._buckets.get(caller, (self._burst, now))
        left = min(self._burst, left + max(0.0, now - then) * self._rate)
        self._buckets[caller] = (max(left - cost, -_MOST_OWED_SECONDS * self._rate), now)
        self._buckets.move_to_end(caller)

    def __len__(self) -> int:
        return len(self._buckets)
