"""A decision engine: working hours only, by the time that the request states."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from companyos.ports import Opinion

if TYPE_CHECKING:
    from companyos.ports import AccessRequest

__all__ = ("OfficeHours",)


class OfficeHours:
    """Allows requests between 8:00 and 18:00 on weekdays, UTC; the clock is the request's, never the machine's."""

    name = "office-hours"
    version = "office-hours/1"

    def decide(self, request: AccessRequest) -> Opinion:
        """Deny without a usable time, outside of the hours, and at the weekend."""
        try:
            moment = datetime.fromisoformat(str(request.environment["time"]))
        except (KeyError, ValueError):
            return Opinion(allow=False, reason="office_hours.no_time", message="the request states no usable time")
        if moment.weekday() >= 5 or not 8 <= moment.hour < 18:
            return Opinion(allow=False, reason="office_hours.closed", message="outside of working hours")
        return Opinion(allow=True, reason="office_hours.open")
