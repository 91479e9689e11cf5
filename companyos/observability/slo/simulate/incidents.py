"""Synthetic incidents, as data.

A phase is measured by what it does to the error budget, so that one incident means the same for every objective and
every period: spending 5 % of the budget within 4 hours is the same alarm at 99 % and at 99.99 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("INCIDENTS", "Expect", "Incident", "Phase", "Stretch")

MINUTE, HOUR, DAY = 60, 3600, 86_400


class Expect(Enum):
    """What an incident ought to do to the people on call."""

    PAGE = "page"
    """Somebody must be called."""
    QUIET = "no page"
    """Nobody should be called: a ticket will do, or nothing."""
    EITHER = "either"
    """It is only reported."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time with one share of errors."""

    seconds: float
    """How long."""
    errors: float
    """Share of failed events, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of an incident: at least so long, with so many errors or so much of the budget spent."""

    seconds: int
    """How long; longer if the budget cannot be spent otherwise."""
    errors: float | None = None
    """Share of failed events; None for what it takes to spend `spends` in the time."""
    spends: float = 0.0
    """Share of the period's error budget that it spends, at least."""

    def stretch(self, *, budget: float, period_seconds: float) -> Stretch:
        """The phase for an objective with this error budget (a share of events) and period."""
        lost = self.spends * budget * period_seconds
        errors = min(1.0, lost / self.seconds) if self.errors is None else self.errors
        return Stretch(max(self.seconds, lost / errors if errors else 0), errors)


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that happens to a service that has been well until then, and is well again afterwards."""

    name: str
    """As on the command line."""
    title: str
    """In a few words."""
    expect: Expect
    """What ought to come of it."""
    phases: tuple[Phase, ...]
    """One after the other."""
    single_failure_per_hour: int | None = None
    """If set, there are only so many requests an hour, and exactly one of them fails."""

    def stretches(self, *, budget: float, period_seconds: float) -> tuple[Stretch, ...]:
        """The phases for an objective."""
        return tuple(phase.stretch(budget=budget, period_seconds=period_seconds) for phase in self.phases)


_BLIP = (Phase(5 * MINUTE, spends=0.005), Phase(12 * HOUR, errors=0.0))

INCIDENTS: Mapping[str, Incident] = {
    incident.name: incident
    for incident in (
        Incident("outage", "every request fails", Expect.PAGE, (Phase(2 * HOUR, errors=1.0, spends=0.1),)),
        Incident("slow-burn", "5 % of the budget every 4 h, for 12 h", Expect.PAGE, (Phase(12 * HOUR, spends=0.15),)),
        Incident("leak", "5 % of the budget a day, for 3 days", Expect.QUIET, (Phase(3 * DAY, spends=0.15),)),
        Incident("blips", "5 minutes that cost 0.5 % of the budget, every 12 h", Expect.QUIET, 6 * _BLIP),
        Incident(
            "recovery",
            "an outage, then a fifth of the requests fails, then none",
            Expect.PAGE,
            (Phase(HOUR, errors=1.0, spends=0.05), Phase(30 * MINUTE, errors=0.2)),
        ),
        Incident(
            "low-traffic",
            "12 requests an hour, of which a single one fails",
            Expect.EITHER,
            (Phase(5 * MINUTE, errors=1.0),),
            single_failure_per_hour=12,
        ),
    )
}
"""By name."""
