"""Errors of dashboards."""

from __future__ import annotations

from companyos.errors import ConfigError

__all__ = ("DashboardError",)


class DashboardError(ConfigError):
    """A dashboard cannot be made or read: a name, a kind or the JSON is wrong."""

    code = "dashboard.invalid"
