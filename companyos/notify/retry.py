"""When to try again: exponential backoff with full jitter, and the receiver's own wish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.ledger.outbox import Result

if TYPE_CHECKING:
    import random

    from companyos.ledger.outbox import Item
    from companyos.notify.attempt import Attempt

__all__ = ("RetryPolicy",)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how long between attempts.

    Full jitter as in Brooker, "Exponential Backoff and Jitter": any time up to the bound, so that those who failed
    together do not come back together. The defaults are quick at first and go on for about eight hours.
    """

    attempts: int = 20
    """After so many failures a message is dead."""
    base_seconds: float = 0.1
    """Bound of the first wait; each further one is twice as long."""
    cap_seconds: float = 4 * 3600.0
    """Longest wait; a receiver that asks for more gets this."""

    def delay(self, attempts: int, rng: random.Random, retry_after_seconds: float | None = None) -> float:
        """Seconds to wait after that many attempts."""
        bound = min(self.cap_seconds, self.base_seconds * 2.0 ** min(attempts - 1, 60))
        waited = rng.uniform(0.0, bound)
        if retry_after_seconds is None:
            return waited
        # Not all at the very second that was asked for.
        return min(self.cap_seconds, retry_after_seconds + waited)

    def result(self, item: Item, tried: Attempt, rng: random.Random) -> Result:
        """What an attempt means for the item."""
        if tried.delivered:
            return Result(item, "delivered")
        if tried.permanent or item.attempts >= self.attempts:
            return Result(item, "dead", note=tried.note)
        delay = self.delay(item.attempts, rng, tried.retry_after_seconds)
        return Result(item, "waiting", delay, tried.note)
