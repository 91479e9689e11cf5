"""The queries of one dashboard, put to one Prometheus over one range of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.observability.slo.errors import QueryError

if TYPE_CHECKING:
    from companyos.observability.dashboards.prometheus import Exemplar, PrometheusOverTime, Series
    from companyos.observability.dashboards.reading import ReadDashboard, ReadQuery, TimeRange

__all__ = ("Asking",)


@dataclass(frozen=True, slots=True)
class Asking:
    """Who is asked what about when."""

    dashboard: ReadDashboard
    """Whose queries and variables."""
    prometheus: PrometheusOverTime
    """Who is asked."""
    time: TimeRange
    """When; what is asked of one moment is asked of its end."""

    def text(self, query: ReadQuery) -> str:
        """The query with its variables filled in."""
        return self.dashboard.filled_in(query.expr, self.time)

    def series(self, query: ReadQuery) -> list[Series]:
        """The answer to a query.

        Raises:
            QueryError: it is refused, or is no query to a Prometheus.
            PrometheusError: no answer.
        """
        if not query.expr:
            raise QueryError(f"query {query.ref} is not one to a Prometheus")
        if query.instant:
            return self.prometheus.at(self.text(query), time=self.time.end)
        return self.over_time(self.text(query))

    def over_time(self, expr: str) -> list[Series]:
        """The answer to PromQL over the whole range, with the same errors.

        The points are counted back from the end, so that what only just began to be recorded is seen.
        """
        step, end = self.time.step_seconds, self.time.end
        start = end - (end - self.time.start) // step * step
        return self.prometheus.over(expr, start=start, end=end, step=step)

    def exemplars(self, query: ReadQuery) -> list[Exemplar]:
        """The exemplars of a query's series, with the same errors."""
        return self.prometheus.exemplars(self.text(query), start=self.time.start, end=self.time.end)
