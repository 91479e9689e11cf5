"""Names of the OpenTelemetry semantic conventions that we use, and the playbook's names for the same things.

The stable HTTP conventions (semantic conventions 1.23 and later) and database conventions (1.33 and later). Spelt here
because the package that holds them comes with the SDK, which is optional.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = (
    "ALIASES",
    "BOUNDS",
    "BUCKETS",
    "DESCRIPTIONS",
    "DURATION_BUCKETS",
    "KNOWN_METHODS",
    "SEVERITY",
    "UNITS",
    "Alias",
)

HTTP_SERVER_REQUEST_DURATION = "http.server.request.duration"
HTTP_SERVER_ACTIVE_REQUESTS = "http.server.active_requests"
HTTP_CLIENT_REQUEST_DURATION = "http.client.request.duration"
DB_CLIENT_OPERATION_DURATION = "db.client.operation.duration"
MESSAGING_PROCESS_DURATION = "messaging.process.duration"
MESSAGING_ACTIVE_JOBS = "messaging.client.active_jobs"
METRICS_OVERFLOW = "companyos.metrics.overflow"
PROPAGATION_REJECTED = "companyos.propagation.rejected"

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.3, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Bounds in seconds as the HTTP conventions advise, and the playbook's objective of 300 ms, so that it is exact."""

BUCKETS = {"s": DURATION_BUCKETS}
"""Bounds by unit, where the SDK's default bounds would tell nothing."""

BOUNDS = {DB_CLIENT_OPERATION_DURATION: (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)}
"""Bounds by instrument, where the conventions advise others than for its unit."""

UNITS = {
    HTTP_SERVER_REQUEST_DURATION: "s",
    HTTP_SERVER_ACTIVE_REQUESTS: "{request}",
    HTTP_CLIENT_REQUEST_DURATION: "s",
    DB_CLIENT_OPERATION_DURATION: "s",
    MESSAGING_PROCESS_DURATION: "s",
    MESSAGING_ACTIVE_JOBS: "{job}",
    METRICS_OVERFLOW: "{measurement}",
    "gen_ai.client.token.usage": "{token}",
    "gen_ai.client.operation.duration": "s",
    "gen_ai.client.operation.time_to_first_chunk": "s",
    PROPAGATION_REJECTED: "{header}",
    "otel.sdk.processor.span.processed": "{span}",
    "otel.sdk.exporter.span.exported": "{span}",
    "otel.sdk.exporter.metric_data_point.exported": "{data_point}",
    "requests_total": "{request}",
    "http_requests_total": "{request}",
    "errors_total": "{error}",
}
"""Units of the instruments that we know by name."""

DESCRIPTIONS = {
    HTTP_SERVER_REQUEST_DURATION: "Duration of HTTP server requests.",
    HTTP_SERVER_ACTIVE_REQUESTS: "Number of active HTTP server requests.",
    HTTP_CLIENT_REQUEST_DURATION: "Duration of HTTP client requests.",
    DB_CLIENT_OPERATION_DURATION: "Duration of database client operations.",
    MESSAGING_PROCESS_DURATION: "Duration of processing operation.",
    MESSAGING_ACTIVE_JOBS: "Number of messages and jobs being processed.",
    METRICS_OVERFLOW: "Measurements that went to the overflow series, because a metric has too many series.",
    PROPAGATION_REJECTED: "Incoming trace headers that were malformed or too long, and ignored.",
    "otel.sdk.processor.span.processed": "Spans whose processing has finished; those with error.type were lost.",
    "otel.sdk.exporter.span.exported": "Spans whose export has finished; those with error.type were not delivered.",
    "otel.sdk.exporter.metric_data_point.exported": "Data points whose export has finished, well or with error.type.",
}
"""What the instruments that we know by name are for."""

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
