"""What a dashboard asks of a Prometheus beyond one value now: ranges of time, exemplars, and which metrics there are.

https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from companyos.observability.slo.errors import PrometheusError
from companyos.observability.slo.prometheus import Prometheus

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("Exemplar", "PrometheusOverTime", "Series")


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer."""

    labels: Mapping[str, str]
    """Its labels, the metric's name among them as `__name__` where it has one."""
    points: tuple[tuple[float, float], ...]
    """Unix time in seconds and value, oldest first; NaN and infinities as Prometheus gave them."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One measurement that leads to its trace."""

    labels: Mapping[str, str]
    """Its own labels, such as `trace_id`."""
    time: float
    """Unix time in seconds."""
    value: float
    """What was measured, in the metric's unit."""


class PrometheusOverTime(Prometheus):
    """A Prometheus that is asked about other times than now.

    Raises:
        QueryError: by every method: the query does not parse, or cannot be evaluated.
        PrometheusError: the same: no answer in time, too long a one, or not one of this API.
    """

    def at(self, expr: str, *, time: float) -> list[Series]:
        """The value of a query at one moment (Unix seconds), one point a series."""
        return self._series(self.ask("/api/v1/query", {"query": expr, "time": f"{time:.3f}"}))

    def over(self, expr: str, *, start: float, end: float, step: float) -> list[Series]:
        """The values of a query from `start` to `end` (Unix seconds), one every `step` seconds."""
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        return self._series(self.ask("/api/v1/query_range", {"query": expr} | times))

    def exemplars(self, expr: str, *, start: float, end: float) -> list[Exemplar]:
        """The exemplars of the series in a query; none where the server does not keep them."""
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}"}
        data = self.ask("/api/v1/query_exemplars", {"query": expr} | times)
        try:
            return [
                Exemplar(dict(found["labels"]), float(found["timestamp"]), float(found["value"]))
                for series in data or ()
                for found in series["exemplars"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise self._strange(error) from error

    def metric_names(self, *, start: float, end: float) -> frozenset[str]:
        """Every metric that has series in that time."""
        times = urlencode({"start": f"{start:.3f}", "end": f"{end:.3f}"})
        return frozenset(map(str, self.ask(f"/api/v1/label/__name__/values?{times}") or ()))

    def _series(self, data: Any) -> list[Series]:
        """Vectors and matrices as series; a scalar is a series without labels."""
        try:
            if data["resultType"] == "scalar":
                return [Series({}, (_point(data["result"]),))]
            return [
                Series(dict(one["metric"]), tuple(map(_point, one["values"] if "values" in one else [one["value"]])))
                for one in data["result"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise self._strange(error) from error

    def _strange(self, error: Exception) -> PrometheusError:
        return PrometheusError(f"{self.url} answered outside of the API", got=repr(error))


def _point(pair: Any) -> tuple[float, float]:
    moment, value = pair
    return float(moment), float(value)
