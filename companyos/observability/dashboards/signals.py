"""The golden signals of one histogram of durations, as PromQL.

The names are those that the Prometheus exporter of OpenTelemetry gives to the metrics of the semantic conventions
(specification, "Prometheus and OpenMetrics Compatibility"): dots become underscores, the unit is appended.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("ENVIRONMENT", "RATE_WINDOW", "Signal", "database_calls", "http_calls", "http_requests", "jobs")

ENVIRONMENT = "deployment_environment_name"
"""The resource attribute that tells canary and production apart."""
RATE_WINDOW = "$__rate_interval"
"""Grafana fills in a window that holds at least four scrapes, whatever the zoom."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A histogram of durations of one service, and which of its labels mean what."""

    metric: str
    """Its name in Prometheus, without `_bucket`, `_sum`, `_count`."""
    service: str
    """The `service_name` whose series are asked for."""
    failed: str
    """Matcher of what failed."""
    part: str
    """The label by which it is broken down: the route, the destination, the dependency."""

    def series(self, suffix: str, *matchers: str, environment: str = '=~"$environment"') -> str:
        """The selector of one of its series: `bucket`, `sum` or `count`."""
        inside = ",".join((f'service_name="{self.service}"', f"{ENVIRONMENT}{environment}", *matchers))
        return f"{self.metric}_{suffix}{{{inside}}}"

    def traffic(self, *by: str, environment: str = '=~"$environment"') -> str:
        """Events a second."""
        return _rate(self.series("count", environment=environment), by)

    def failures(self, *by: str, environment: str = '=~"$environment"') -> str:
        """Failed events a second, 0 where there was traffic and nothing failed; without traffic there is no answer.

        The zero comes from the traffic itself: a service that is not measured at all does not look healthy.
        """
        failed = _rate(self.series("count", self.failed, environment=environment), by)
        return f"({failed} or 0 * {self.traffic(*by, environment=environment)})"

    def failing_share(self, *by: str, environment: str = '=~"$environment"') -> str:
        """Failed events of all events, 0 to 1."""
        return f"{self.failures(*by, environment=environment)} / {self.traffic(*by, environment=environment)}"

    def quantile(self, share: float, *by: str, environment: str = '=~"$environment"') -> str:
        """The duration in seconds that this share of the events stays below, estimated from the buckets."""
        buckets = _rate(self.series("bucket", environment=environment), ("le", *by))
        return f"histogram_quantile({share:g}, {buckets})"

    def top_errors(self, count: int = 5) -> str:
        """The most frequent `error_type`s a second; `none` at 0 where there was traffic and nothing failed."""
        failed = _rate(self.series("count", 'error_type!=""'), ("error_type",))
        none = f'label_replace(0 * {self.traffic()}, "error_type", "none", "", "")'
        return f"topk({count}, {failed}) or on () {none}"


def http_requests(service: str) -> Signal:
    """The requests that a service answers (`http.server.request.duration`).

    `error.type` is there for answers of 500 and above, and where no answer came.
    """
    return Signal("http_server_request_duration_seconds", service, 'error_type!=""', "http_route")


def jobs(service: str) -> Signal:
    """The messages or jobs that a service processes (`messaging.process.duration`)."""
    return Signal("messaging_process_duration_seconds", service, 'error_type!=""', "messaging_destination_name")


def http_calls(service: str) -> Signal:
    """The HTTP calls that a service makes (`http.client.request.duration`)."""
    return Signal("http_client_request_duration_seconds", service, 'error_type!=""', "server_address")


def database_calls(service: str) -> Signal:
    """The calls of a service to databases (`db.client.operation.duration`)."""
    return Signal("db_client_operation_duration_seconds", service, 'error_type!=""', "db_system_name")


def _rate(series: str, by: tuple[str, ...]) -> str:
    grouping = f" by ({', '.join(by)}) " if by else ""
    return f"sum{grouping}(rate({series}[{RATE_WINDOW}]))"
