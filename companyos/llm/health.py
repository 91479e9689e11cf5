"""Which providers to leave alone for a while, and who may try one again: one caller at a time.

A provider that fails is cooled down; once that is over, one caller probes it, and until that one is back the others
go on without. Success ends it, failure makes it longer, up to a bound.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.llm.interface import FailureKind

__all__ = ("Health",)

AT_ONCE: frozenset[FailureKind] = frozenset({"connect", "timeout", "overloaded", "unauthorized", "redirected"})
"""One of these is enough: the next caller would fare no better, or would have to wait as long to learn it."""
IN_A_ROW: frozenset[FailureKind] = frozenset({"server", "cut", "stalled", "malformed"})
"""These happen once in a while to a provider that is well."""
LONGEST = 4
"""How many times the first cool-down the longest one is."""
LOOK_AGAIN_SECONDS = 0.1
"""When to look again at a provider that another caller probes."""
_NEWEST = 0.2  # weight of the newest measurement in the average


@dataclass(slots=True)
class _State:
    failures: int = 0
    cooled_until: float = 0.0
    cool_down: float = 0.0
    probed_until: float = 0.0
    seconds: float | None = None


class Health:
    """How each provider fares, for all callers of this process; usable from any thread."""

    def __init__(self, failures: int, cool_down_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._first, self._clock = failures, cool_down_seconds, clock
        self._states: dict[str, _State] = {}
        self._lock = threading.Lock()

    def now(self) -> float:
        """Its clock, in seconds."""
        return self._clock()

    def ready_at(self, name: str) -> float:
        """When the provider may be asked; now or before if it may at once."""
        state = self._states.get(name)
        if state is None or not state.cooled_until:
            return 0.0
        now = self._clock()
        if state.probed_until > now:
            return min(state.probed_until, now + LOOK_AGAIN_SECONDS)
        return state.cooled_until

    def admit(self, name: str, lease_seconds: float) -> bool:
        """Whether to ask the provider now; one that was cooled down is then this caller's alone for the lease."""
        state = self._states.get(name)
        if state is None or not state.cooled_until:
            return True
        with self._lock:
            now = self._clock()
            if not state.cooled_until:
                return True
            if state.cooled_until > now or state.probed_until > now:
                return False
            state.probed_until = now + lease_seconds
            return True

    def succeeded(self, name: str, seconds: float | None = None) -> None:
        """The provider has answered, whatever it said; `seconds` is how long a whole answer took."""
        with self._lock:
            state = self._states.setdefault(name, _State())
            state.failures, state.cooled_until, state.cool_down, state.probed_until = 0, 0.0, 0.0, 0.0
            if seconds is not None:
                before = state.seconds
                state.seconds = seconds if before is None else before + _NEWEST * (seconds - before)

    def failed(self, name: str, kind: FailureKind, retry_after_seconds: float | None = None) -> None:
        """The provider has failed."""
        if kind not in AT_ONCE and kind not in IN_A_ROW and kind != "rate_limited":
            self.succeeded(name)
            return
        with self._lock:
            state = self._states.setdefault(name, _State())
            state.failures += 1
            was_probe, state.probed_until = state.probed_until > 0, 0.0
            if kind in IN_A_ROW and state.failures < self._most and not was_probe:
                return
            longer = min(state.cool_down * 2, self._first * LONGEST) or self._first
            state.cool_down = longer
            wait = longer if retry_after_seconds is None else retry_after_seconds
            state.cooled_until = self._clock() + wait

    def abandoned(self, name: str) -> None:
        """The caller went away before the provider could answer: another one may probe."""
        state = self._states.get(name)
        if state is not None:
            with self._lock:
                state.probed_until = 0.0

    def seconds(self, name: str) -> float | None:
        """How long the provider takes of late; None if nobody knows."""
        state = self._states.get(name)
        return None if state is None else state.seconds

    def cooling(self) -> dict[str, float]:
        """Seconds until each provider that is cooled down may be probed."""
        now = self._clock()
        return {name: max(0.0, one.cooled_until - now) for name, one in self._states.items() if one.cooled_until}
