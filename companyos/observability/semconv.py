"""Names of the OpenTelemetry semantic conventions that we use, and the playbook's names for the same things.

The stable HTTP conventions (semantic conventions 1.23 and later). Spelt here because the package that holds them
comes with the SDK, which is optional.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("ALIASES", "DURATION_BUCKETS", "KNOWN_METHODS", "SEVERITY", "Alias")

HTTP_SERVER_REQUEST_DURATION = "http.server.request.duration"
HTTP_SERVER_ACTIVE_REQUESTS = "http.server.active_requests"

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Bounds in seconds, as the HTTP conventions advise."""

KNOWN_METHODS = frozenset(["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"])
"""Methods kept as they are; any other is `_OTHER`, so that a client cannot invent metric series."""

SEVERITY = {"DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "FATAL": 21}
"""Our levels as OpenTelemetry severity numbers (logs data model, SeverityNumber)."""

_TAGS = {"method": "http.request.method", "route": "http.route", "status": "http.response.status_code"}


@dataclass(frozen=True, slots=True)
class Alias:
    """A playbook name for a measurement that the conventions name otherwise."""

    instrument: str
    """The conventional instrument."""
    scale: float
    """What a recorded value is multiplied with to get the instrument's unit."""
    part: str
    """What a reader of the alias gets: the `histogram`, its `count`, or the count of its `errors`."""

    @staticmethod
    def tags(tags: dict[str, str | bool | int | float]) -> dict[str, str | bool | int | float]:
        """The playbook's tags (`route`, `method`, `status`) by their conventional names."""
        return {_TAGS.get(key, key): value for key, value in tags.items()}


ALIASES = {
    "request_duration_ms": Alias(HTTP_SERVER_REQUEST_DURATION, 0.001, "histogram"),
    "http_request_latency_ms": Alias(HTTP_SERVER_REQUEST_DURATION, 0.001, "histogram"),
    "requests_total": Alias(HTTP_SERVER_REQUEST_DURATION, 1, "count"),
    "http_requests_total": Alias(HTTP_SERVER_REQUEST_DURATION, 1, "count"),
    "errors_total": Alias(HTTP_SERVER_REQUEST_DURATION, 1, "errors"),
}
"""The playbook's metric names. The first two write and read the histogram. The counters are counters of their own
when incremented by hand, and when read also hold what the ASGI middleware measured."""
