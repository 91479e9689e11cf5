"""Windows are spans of real time, whatever the clocks of a zone do."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companyos.finops.budgets import window_at

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # clocks went forward at midnight
    "America/Havana",  # and back at one
    "America/St_Johns",  # changed at one minute past midnight
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # by half an hour
    "Pacific/Apia",  # skipped 30 December 2011
    "Pacific/Kwajalein",  # skipped 21 August 1993
    "Africa/Casablanca",
]


def seconds(text, zone=BERLIN, fold=0):
    """A local time as seconds since 1970."""
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)], ids=["spring", "autumn", "summer"]
)
def test_a_day_is_as_long_as_its_clocks_make_it(day, hours):
    """Days on which the clocks change have 23 and 25 hours."""
    window = window_at(seconds(f"{day} 12:00"), "day", BERLIN)

    assert (window.label, window.hours) == (day, hours)


@pytest.mark.parametrize(
    ("moment", "fold", "day"),
    [
        ("2026-10-25 02:30", 0, "2026-10-25"),
        ("2026-10-25 02:30", 1, "2026-10-25"),
        ("2026-10-25 23:59:59", 0, "2026-10-25"),
        ("2026-10-26 00:00", 0, "2026-10-26"),
        ("2026-03-28 23:59:59", 0, "2026-03-28"),
        ("2026-03-29 00:00", 0, "2026-03-29"),
    ],
)
def test_every_moment_has_its_day(moment, fold, day):
    """Both hours that read 02:30 belong to the day, and midnight to the day that it begins."""
    assert window_at(seconds(moment, fold=fold), "day", BERLIN).label == day


def test_a_day_without_midnight_begins_where_the_clocks_landed():
    """On 4 November 2018 São Paulo went from 23:59:59 to 01:00."""
    zone = ZoneInfo("America/Sao_Paulo")
    window = window_at(seconds("2018-11-04 12:00", zone), "day", zone)

    assert (window.hours, datetime.fromtimestamp(window.start, UTC).hour) == (23, 3)


def test_a_date_that_a_zone_skipped_has_no_window():
    """Samoa went from 29 to 31 December 2011."""
    zone = ZoneInfo("Pacific/Apia")
    window = window_at(seconds("2011-12-29 12:00", zone), "day", zone)

    assert window_at(window.end, "day", zone).label == "2011-12-31"


def test_weeks_begin_on_monday_and_months_on_the_first():
    """The same moment has a week and a month of its own."""
    moment = seconds("2026-03-01 00:00")
    labels = [window_at(moment, kind, BERLIN).label for kind in ("week", "month")]

    assert labels == ["2026-02-23", "2026-03-01"]
    assert window_at(seconds("2026-03-15"), "month", BERLIN).hours == 31 * 24 - 1


@given(st.integers(-1_500_000_000, 4_000_000_000), st.sampled_from(ZONES), st.sampled_from(["day", "week", "month"]))
def test_windows_leave_no_gap_and_do_not_overlap(moment, name, kind):
    """Every moment of every zone lies in its window, and the next window begins where that one ends."""
    zone = ZoneInfo(name)
    window = window_at(moment, kind, zone)

    assert window.start <= moment < window.end
    assert window_at(window.start, kind, zone) == window == window_at(window.end - 1, kind, zone)
    assert window_at(window.end, kind, zone).start == window.end
