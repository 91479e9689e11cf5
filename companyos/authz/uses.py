"""An allow is for one call, now: which decisions have been used, and how old one may be.

A decision that is kept, copied or written into a checkpoint outlives what it rested on: a revoked role, a changed
policy. Within one process each decision carries one guarded call. What another process did is not known here; there the
age alone limits a replay.
"""

from __future__ import annotations

import threading
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from companyos.authz.interface import StaleDecisionError
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.decision import Decision

__all__ = ("MAX_AGE_SECONDS", "ONCE", "Uses")

MAX_AGE_SECONDS = 60.0
"""How long after it was made a decision may begin a call, unless told otherwise."""
_AHEAD = timedelta(seconds=5)
"""How far ahead of the clock a decision may be: clocks are corrected."""


class Uses:
    """Remembers the decisions that were used for as long as they could be used again; safe between threads."""

    def __init__(
        self, max_age_seconds: float = MAX_AGE_SECONDS, *, clock: Callable[[], datetime] | None = None
    ) -> None:
        """A memory of its own: whoever wants another age for one service gives each of its calls the same one.

        Raises:
            ConfigError: the age is not positive.
        """
        if not max_age_seconds > 0:
            raise ConfigError("a decision cannot be used at no age", got=max_age_seconds, expected="seconds, above 0")
        self._max_age = timedelta(seconds=max_age_seconds)
        self._clock = clock or (lambda: datetime.now(UTC))
        self._used: set[str] = set()
        self._order: deque[tuple[datetime, str]] = deque()
        self._lock = threading.Lock()

    def check(self, decision: Decision) -> None:
        """Let a decision pass that could be used now; it is not used by that.

        Raises:
            StaleDecisionError: it was used before, is too old, or is from the future.
        """
        self._check_age(decision, self._clock())
        with self._lock:
            self._check_unused(decision)

    def claim(self, decision: Decision) -> None:
        """Use a decision, once.

        Raises:
            StaleDecisionError: it was used before, is too old, or is from the future.
        """
        now = self._clock()
        self._check_age(decision, now)
        with self._lock:
            while self._order and self._order[0][0] < now:
                self._used.discard(self._order.popleft()[1])
            self._check_unused(decision)
            self._used.add(str(decision.audit_id))
            # Two ages, for a clock that is set back; the order of claims is nearly that of decisions.
            self._order.append((now + self._max_age * 2 + _AHEAD, str(decision.audit_id)))

    def _check_age(self, decision: Decision, now: datetime) -> None:
        age = now - decision.decided_at
        if age > self._max_age or age < -_AHEAD:
            raise StaleDecisionError(
                "the decision is too old" if age > self._max_age else "the decision is from the future",
                got=f"{age.total_seconds():.0f} seconds",
                expected=f"0 to {self._max_age.total_seconds():.0f} seconds",
                hint="ask again",
            )

    def _check_unused(self, decision: Decision) -> None:
        if decision.audit_id in self._used:
            raise StaleDecisionError("the decision was used before", got=decision.audit_id, hint="ask again")


ONCE = Uses()
"""The memory of this process, for everybody who brings none."""
