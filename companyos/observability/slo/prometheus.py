"""Asking a Prometheus by its HTTP API: https://prometheus.io/docs/prometheus/latest/querying/api/.

An answer is complete and in time, or it is an error: nothing is guessed.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from companyos._http import BoundsError, Server, UnansweredError, UnusableURLError
from companyos.observability.slo.errors import PrometheusError, QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("Prometheus", "Sample")

LARGEST_ANSWER_BYTES = 32 * 1024 * 1024
_AT_FAULT = frozenset({"bad_data", "execution"})
"""Kinds of error for which the query is to blame, not the server."""
_HINT = "check the URL, and whether it is up: curl URL/-/ready"


@dataclass(frozen=True, slots=True)
class Sample:
    """The value of one series at one moment."""

    labels: Mapping[str, str]
    """With `__name__` where the series has a name."""
    value: float
    """Never NaN: such samples are left out."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus at a URL, such as `http://localhost:9090`."""

    url: str
    """With the prefix of its routes, if it has one."""
    timeout_seconds: float = 10.0
    """For one question, from the connection to the last byte of the answer."""

    def query(self, expression: str) -> list[Sample]:
        """The result of an instant query, which must be a vector.

        Raises:
            PrometheusError: no answer in time, too long a one, an error, or something else than a vector.
        """
        data = self.ask("/api/v1/query", {"query": expression})
        result = data.get("result") if isinstance(data, dict) and data.get("resultType") == "vector" else None
        try:
            samples = [Sample(dict(item["metric"]), float(item["value"][1])) for item in result or ()]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise PrometheusError(f"{self.url} answered outside of the API", got=repr(error)) from error
        if result is None:
            raise PrometheusError(f"{self.url} answered outside of the API", got=data, expected="a vector")
        return [sample for sample in samples if not math.isnan(sample.value)]

    def ask(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        """`data` of the answer; a POST where there are parameters, else a GET.

        Raises:
            QueryError: it refused the query that is among the parameters.
            PrometheusError: no answer in time, too long a one, or an error.
        """
        status, body = self._exchange(path, None if parameters is None else urlencode(parameters))
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or answer.get("status") not in {"success", "error"}:
            raise PrometheusError(
                f"what answers at {self.url} is no Prometheus", got=f"{status} {body[:80]!r}", hint=_HINT
            )
        if answer["status"] == "error":
            refused = answer.get("errorType") in _AT_FAULT and "query" in (parameters or ())
            raise (QueryError if refused else PrometheusError)(
                f"{self.url} refused the question", got=answer.get("error"), hint=_HINT
            )
        return answer.get("data")

    def _exchange(self, path: str, body: str | None) -> tuple[int, bytes]:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        server = Server(self.url, self.timeout_seconds, LARGEST_ANSWER_BYTES)
        try:
            return server.exchange("GET" if body is None else "POST", path, body, headers)
        except UnusableURLError as error:
            raise PrometheusError("not the URL of a Prometheus", got=self.url, expected="http://HOST:9090") from error
        except UnansweredError as error:
            raise PrometheusError(f"no answer from {self.url}", got=error, hint=_HINT) from error
        except BoundsError as error:
            raise PrometheusError(f"the answer of {self.url} is too long or too slow", expected=str(error)) from error
