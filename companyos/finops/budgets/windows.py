"""Days, weeks and months of a time zone as spans of real time, whatever its clocks do."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

__all__ = ("FOREVER", "Kind", "Window", "window_at")

Kind = Literal["day", "week", "month", "total"]
"""How long a window is; `total` never ends, for what is over when its task is (a run)."""
FOREVER = 253_402_300_800
"""Seconds since 1970 of the end of a window that never ends: the year 10000."""
_DAY = timedelta(days=1)
_STEP = timedelta(minutes=1)


class Window(NamedTuple):
    """A span of real time: a moment belongs to it from `start` on until before `end`."""

    kind: Kind
    """How long it is."""
    label: str
    """The local date that it begins with; empty for `total`."""
    start: int
    """Seconds since 1970."""
    end: int
    """Seconds since 1970; the start of the next window."""

    @property
    def hours(self) -> float:
        """How long it is; 23 or 25 for the days on which the clocks are changed."""
        return (self.end - self.start) / 3600


def window_at(moment: float, kind: Kind, zone: ZoneInfo) -> Window:
    """The window that a moment (seconds since 1970) belongs to.

    Each local date begins at its first moment: at 00:00, or when the clocks have jumped over that, where they landed.
    Windows neither overlap nor leave gaps. A date that a zone skipped has no window; when clocks are set back over
    midnight, the repeated hour belongs to the date that began first. Weeks begin on Monday (ISO 8601).
    """
    if kind == "total":
        return Window("total", "", 0, FOREVER)
    first = _first_day(datetime.fromtimestamp(moment, UTC).astimezone(zone).date(), kind)
    while _begin(first, zone) > moment:  # the local date says more than has begun
        first = _first_day(first - _DAY, kind)
    after = _next(first, kind)
    while _begin(after, zone) <= moment:
        first, after = after, _next(after, kind)
    return Window(kind, first.isoformat(), _begin(first, zone), _begin(after, zone))


def _first_day(day: date, kind: Kind) -> date:
    if kind == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if kind == "month" else day


def _next(first: date, kind: Kind) -> date:
    if kind == "month":
        return (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    return first + timedelta(days=7 if kind == "week" else 1)


def _begin(day: date, zone: ZoneInfo) -> int:
    """Seconds since 1970 of the first moment of a local date."""
    # Of a midnight that comes twice, fold=0 is the first; one that is jumped over is read with the offset from before,
    # which is the moment of the jump, or up to the length of the jump after it: then go back to where it landed.
    moment = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    while moment.astimezone(zone).replace(tzinfo=None) != datetime(day.year, day.month, day.day):  # noqa: DTZ001 - wall
        before = moment - _STEP
        if before.astimezone(zone).date() < day:
            break
        moment = before
    return int(moment.timestamp())
