"""Errors of dashboards."""

from __future__ import annotations

from companyos.errors import ConfigError, RefusedError, UnverifiableError

__all__ = ("DashboardError", "PrometheusError", "QueryError")


class DashboardError(ConfigError):
    """A dashboard cannot be made or read: a name, a kind or the JSON is wrong."""

    code = "dashboard.invalid"


class PrometheusError(UnverifiableError):
    """A Prometheus did not answer, or not in its own protocol, so nothing is known of its data."""

    code = "prometheus.unavailable"


class QueryError(RefusedError):
    """A Prometheus refused a query: it does not parse, or it cannot be evaluated."""

    code = "prometheus.query"
