"""The golden signals of a service in one environment, as PromQL, and what a Prometheus says of them.

Metric names are those that OpenTelemetry's exporter for Prometheus gives to `http.server.request.duration` and
`messaging.process.duration` (semantic conventions; specification, "Prometheus and OpenMetrics Compatibility").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.observability.dashboards.prometheus import PrometheusOverTime, Series
    from companyos.observability.markers.marker import Marker

__all__ = ("QUANTILES", "Queries", "Signals", "queries_for")

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_METRICS = ("http_server_request_duration_seconds", "messaging_process_duration_seconds")


@dataclass(frozen=True, slots=True)
class Signals:
    """The golden signals over one stretch of time; None where the Prometheus knows nothing."""

    rate: float | None
    """Requests or jobs a second."""
    error_share: float | None
    """Failed ones of all, 0 to 1."""
    p50: float | None
    """Median duration in seconds."""
    p95: float | None
    """Duration in seconds that 95 % stay below."""
    p99: float | None
    """Duration in seconds that 99 % stay below."""

    def to_dict(self) -> dict[str, float | None]:
        """The signals as a JSON object."""
        return {name: getattr(self, name) for name in ("rate", "error_share", "p50", "p95", "p99")}


@dataclass(frozen=True, slots=True)
class Queries:
    """The queries about one histogram of durations of one service in one environment."""

    metric: str
    """Its name without `_bucket`, `_count`."""
    service: str
    """`service_name`."""
    environment: str
    """`deployment_environment_name`."""

    def selector(self, suffix: str, *matchers: str) -> str:
        """The selector of one of its series."""
        labels = (f"service_name={_quoted(self.service)}", f"deployment_environment_name={_quoted(self.environment)}")
        return f"{self.metric}_{suffix}{{{','.join((*labels, *matchers))}}}"

    def rate(self, window: int, *matchers: str) -> str:
        """Events a second over the last `window` seconds."""
        return f"sum(rate({self.selector('count', *matchers)}[{window}s]))"

    def error_share(self, window: int) -> str:
        """Failed events of all; the zero of a service without errors comes from its traffic, never from nothing."""
        traffic = self.rate(window)
        return f"""({self.rate(window, 'error_type!=""')} or 0 * {traffic}) / {traffic}"""

    def quantile(self, share: float, window: int) -> str:
        """The duration in seconds that this share of the events stays below."""
        return f"histogram_quantile({share:g}, sum by (le) (rate({self.selector('bucket')}[{window}s])))"

    def over(self, source: PrometheusOverTime, window: int, *, until: float) -> Signals:
        """The signals over the `window` seconds up to `until`."""

        def ask(expr: str) -> float | None:
            return _one(source.at(expr, time=until))

        quantiles: dict[str, Any] = {name: ask(self.quantile(share, window)) for name, share in QUANTILES.items()}
        return Signals(ask(self.rate(window)), ask(self.error_share(window)), **quantiles)

    def failing_traces(
        self, source: PrometheusOverTime, *, start: float, end: float, limit: int = 5
    ) -> tuple[str, ...]:
        """Ids of traces of failed events, where the Prometheus keeps exemplars."""
        failed = self.selector("bucket", 'error_type!=""')
        found = [exemplar.labels.get("trace_id") for exemplar in source.exemplars(failed, start=start, end=end)]
        return tuple(dict.fromkeys(trace for trace in found if trace))[:limit]


def queries_for(marker: Marker, source: PrometheusOverTime, *, until: float, window: int) -> Queries | None:
    """Queries about the first metric of the service that has data: requests, else jobs; None if neither has."""
    for metric in _METRICS:
        queries = Queries(metric, marker.service, marker.environment)
        if _one(source.at(queries.rate(window), time=until)) is not None:
            return queries
    return None


def _one(found: Sequence[Series]) -> float | None:
    values = [value for series in found for _, value in series.points]
    return values[0] if len(values) == 1 and math.isfinite(values[0]) else None


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
