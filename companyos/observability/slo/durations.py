"""Durations: OpenSLO's shorthand in, seconds inside, Prometheus's notation out."""

from __future__ import annotations

import re

__all__ = ("DAY", "HOUR", "MINUTE", "WEEK", "notation", "shorthand_seconds")

MINUTE, HOUR, DAY, WEEK = 60, 3600, 86_400, 604_800
UNITS = {"m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK, "M": 30 * DAY, "Q": 90 * DAY, "Y": 365 * DAY}
"""OpenSLO leaves the length of months, quarters and years to the reader: 30, 90 and 365 days here."""
LONGEST = 10 * 365 * DAY
_SHORTHAND = re.compile(r"([0-9]{1,9})([mhdwMQY])", re.ASCII)
_STEPS = (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", 1))


def shorthand_seconds(text: str) -> int | None:
    """Seconds of a `duration-shorthand` (OpenSLO v1, custom data types), or None if it is not one."""
    found = _SHORTHAND.fullmatch(text)
    return int(found[1]) * UNITS[found[2]] if found else None


def notation(seconds: int) -> str:
    """Whole seconds as Prometheus writes a duration, in the largest unit that divides them: `5m`, `6h`, `30d`."""
    for letter, size in _STEPS:
        if seconds % size == 0:
            return f"{seconds // size}{letter}"
    raise AssertionError(seconds)
