"""The time window of an SLO; OpenSLO v1, section "Notes (SLO)"."""

from __future__ import annotations

from calendar import monthrange
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from companyos.observability.slo.durations import DAY, UNITS, notation
from companyos.observability.slo.openslo import Calendar, TimeWindow

if TYPE_CHECKING:
    from companyos.observability.slo.fields import Fields

__all__ = ("calendar_start", "time_window")

SHORTEST_SECONDS = 3600
DEFAULT = TimeWindow(30 * DAY, "30d", None)
"""Where an SLO names none."""


def time_window(spec: Fields) -> TimeWindow | None:
    """`timeWindow`: exactly one item, rolling or calendar-aligned."""
    items = list(spec.items("timeWindow"))
    if not items:
        if "timeWindow" in spec:
            spec.problem("timeWindow", "expected a list of exactly one time window")
            return None
        spec.warning("timeWindow", "no time window is given: 30d, rolling, is taken")
        return DEFAULT
    node, fields = items[0]
    if len(items) > 1 or fields is None:
        spec.problem("timeWindow", "expected a list of exactly one time window", line=node.line)
        return None
    return _window(fields)


def _window(fields: Fields) -> TimeWindow | None:
    fields.only("duration", "isRolling", "calendar")
    seconds = fields.duration("duration", required=True)
    shorthand = fields.text("duration")
    rolling = fields.boolean("isRolling")
    calendar = _calendar(fields)
    if rolling and calendar is not None:
        fields.problem("isRolling", "a window with a calendar does not roll; expected false")
        return None
    if rolling is False and "calendar" not in fields:
        fields.problem("calendar", "is missing: a window that does not roll begins at a time; or set isRolling: true")
        return None
    if seconds is None:
        return None
    if calendar is not None:
        seconds, shorthand = _aligned(fields, seconds, shorthand)
    if seconds < SHORTEST_SECONDS:
        fields.problem("duration", f"got {shorthand!r}, expected at least 1h")
        return None
    return TimeWindow(seconds, shorthand, calendar)


def _aligned(fields: Fields, seconds: int, shorthand: str) -> tuple[int, str]:
    """A calendar has no windows of minutes: `1m` there means a month, as in the specification's own example."""
    if shorthand.endswith("m"):
        shorthand = f"{shorthand[:-1]}M"
        seconds = int(shorthand[:-1]) * UNITS["M"]
        fields.warning("duration", f"minutes on a calendar are taken for months; write {shorthand}")
    fields.warning(
        "calendar",
        f"rules of Prometheus cannot begin at a date: they watch the last {notation(seconds)}, rolling; "
        "`companyos slo status` keeps to the calendar",
    )
    return seconds, shorthand


def _calendar(fields: Fields) -> Calendar | None:
    held = fields.fields("calendar")
    if held is None:
        return None
    held.only("startTime", "timeZone")
    start = held.text("startTime", required=True)
    zone = held.text("timeZone", required=True)
    try:
        datetime.strptime(start, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - its zone is a field of its own
    except ValueError:
        held.problem("startTime", f"got {start[:40]!r}, expected YYYY-MM-DD HH:MM:SS")
    try:
        ZoneInfo(zone or "UTC")
    except (KeyError, OSError, ValueError):
        held.problem(
            "timeZone",
            f"got {zone[:80]!r}, expected a name of the IANA database on this machine, such as Europe/Berlin",
        )
    return Calendar(start, zone)


_MONTHS = {"M": 1, "Q": 3, "Y": 12}


def calendar_start(window: TimeWindow, now: datetime) -> tuple[datetime, datetime]:
    """When the calendar-aligned window that holds `now` began, and when it ends.

    Counted in local time from the calendar's start, so that a day of 23 hours is a day.
    """
    if window.calendar is None:
        raise ValueError("a rolling window has no start")
    zone = ZoneInfo(window.calendar.time_zone)
    start = datetime.strptime(window.calendar.start, "%Y-%m-%d %H:%M:%S").replace(tzinfo=zone)
    count, unit = int(window.shorthand[:-1]), window.shorthand[-1]
    local = now.astimezone(zone)
    if unit in _MONTHS:
        return _months(start, local, count * _MONTHS[unit])
    length = timedelta(seconds=count * UNITS[unit])
    # Naive differences are those of the clock on the wall.
    passed = (local.replace(tzinfo=None) - start.replace(tzinfo=None)) // length
    began = start + passed * length
    return began, began + length


def _months(start: datetime, local: datetime, step: int) -> tuple[datetime, datetime]:
    passed = ((local.year - start.year) * 12 + local.month - start.month) // step
    began = _shifted(start, passed * step)
    if began > local:
        passed -= 1
        began = _shifted(start, passed * step)
    following = _shifted(start, (passed + 1) * step)
    if following <= local:
        began, following = following, _shifted(start, (passed + 2) * step)
    return began, following


def _shifted(moment: datetime, months: int) -> datetime:
    index = moment.year * 12 + moment.month - 1 + months
    year, month = index // 12, index % 12 + 1
    return moment.replace(year=year, month=month, day=min(moment.day, monthrange(year, month)[1]))
