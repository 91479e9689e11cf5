"""A small client of Prometheus' HTTP API (v1): queries, exemplars, names of metrics; bounded in time and size."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.observability.dashboards.errors import PrometheusError, QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("Exemplar", "Prometheus", "Series")

_LIMIT_BYTES = 32 * 1024 * 1024
_REFUSED = frozenset({400, 422})
"""Statuses by which Prometheus says that the query, not the server, is at fault."""


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


class Prometheus:
    """The server at `url`, for example `http://127.0.0.1:9090`; nothing is asked before the first query.

    Raises:
        PrometheusError: by every method: no answer in time, too long an answer, or not one of this API.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 10.0) -> None:
        if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
            raise PrometheusError("not an address of a Prometheus", got=url, expected="http:// or https://")
        self._url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds

    def query(self, expr: str, *, time: float) -> list[Series]:
        """The value of a query at one moment, one point a series.

        Raises:
            QueryError: the query does not parse or cannot be evaluated.
        """
        return _series(self._ask("query", {"query": expr, "time": f"{time:.3f}"}))

    def query_range(self, expr: str, *, start: float, end: float, step: float) -> list[Series]:
        """The values of a query from `start` to `end` (Unix seconds), one every `step` seconds.

        Raises:
            QueryError: the query does not parse or cannot be evaluated.
        """
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        return _series(self._ask("query_range", {"query": expr} | times))

    def exemplars(self, expr: str, *, start: float, end: float) -> list[Exemplar]:
        """The exemplars of the series in a query; none where the server does not keep them.

        Raises:
            QueryError: the query does not parse.
        """
        data = self._ask("query_exemplars", {"query": expr, "start": f"{start:.3f}", "end": f"{end:.3f}"})
        try:
            return [
                Exemplar(dict(found["labels"]), float(found["timestamp"]), float(found["value"]))
                for series in data or ()
                for found in series["exemplars"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise _strange(error) from error

    def metric_names(self, *, start: float, end: float) -> frozenset[str]:
        """Every metric that has series in that time."""
        data = self._ask("label/__name__/values", {"start": f"{start:.3f}", "end": f"{end:.3f}"}, get=True)
        return frozenset(map(str, data or ()))

    def _ask(self, path: str, values: Mapping[str, str], *, get: bool = False) -> Any:
        form = urllib.parse.urlencode(values)
        url = f"{self._url}/api/v1/{path}"
        request = urllib.request.Request(f"{url}?{form}") if get else urllib.request.Request(url, form.encode())  # noqa: S310 - the scheme was checked
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_seconds) as answer:  # noqa: S310 - the same
                body = answer.read(_LIMIT_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error.code, error.read(_LIMIT_BYTES), values.get("query", "")) from error
        except (OSError, ValueError) as error:
            raise PrometheusError(
                "the Prometheus cannot be reached",
                got=getattr(error, "reason", None) or error,
                hint="check --prometheus",
            ) from error
        if len(body) > _LIMIT_BYTES:
            raise PrometheusError("the answer of the Prometheus is too long", expected=f"at most {_LIMIT_BYTES} bytes")
        return _payload(body)["data"]

    @staticmethod
    def _refusal(status: int, body: bytes, query: str) -> PrometheusError | QueryError:
        try:
            said = str(json.loads(body)["error"])
        except (KeyError, TypeError, ValueError):
            said = ""
        if status in _REFUSED and query and said:
            return QueryError(f"the Prometheus refused the query: {said}", got=query)
        return PrometheusError(f"the Prometheus answered with status {status}", got=said or "no reason")


def _payload(body: bytes) -> dict[str, Any]:
    try:
        payload = json.loads(body)
    except (RecursionError, ValueError) as error:
        raise _strange(error) from error
    if not isinstance(payload, dict) or payload.get("status") != "success" or "data" not in payload:
        raise _strange(ValueError("no data"))
    return payload


def _series(data: Any) -> list[Series]:
    """Vectors and matrices as series; a scalar is a series without labels."""
    try:
        if data["resultType"] == "scalar":
            return [Series({}, (_point(data["result"]),))]
        return [
            Series(dict(one["metric"]), tuple(map(_point, one["values"] if "values" in one else [one["value"]])))
            for one in data["result"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise _strange(error) from error


def _point(pair: Any) -> tuple[float, float]:
    moment, value = pair
    return float(moment), float(value)


def _strange(error: Exception) -> PrometheusError:
    return PrometheusError(
        "the answer is not one of Prometheus' HTTP API",
        got=f"{type(error).__name__}: {error}",
        hint="check the address",
    )
