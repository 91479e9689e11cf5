"""Dashboards: starter packs for Grafana, checked against a Prometheus, and drawn from it.

    from companyos.observability.dashboards import starter_pack, to_json

    text = to_json(starter_pack("api", "orders"))

Names load on first use; only making a dashboard needs the extra `dashboards`.
"""

from typing import TYPE_CHECKING

from companyos._lazy import attach

if TYPE_CHECKING:
    from companyos.observability.dashboards.checking import check
    from companyos.observability.dashboards.drawing.picture import draw
    from companyos.observability.dashboards.errors import DashboardError
    from companyos.observability.dashboards.grafana import to_json
    from companyos.observability.dashboards.interface import Dashboard, Panel, Query, Row, Threshold
    from companyos.observability.dashboards.packs import DEPENDENCIES, KINDS, objectives, starter_pack
    from companyos.observability.dashboards.prometheus import PrometheusOverTime
    from companyos.observability.dashboards.reading import TimeRange, read

__all__ = (
    "DEPENDENCIES",
    "KINDS",
    "Dashboard",
    "DashboardError",
    "Panel",
    "PrometheusOverTime",
    "Query",
    "Row",
    "Threshold",
    "TimeRange",
    "check",
    "draw",
    "objectives",
    "read",
    "starter_pack",
    "to_json",
)

_HOMES = {
    "checking": ("check",),
    "drawing.picture": ("draw",),
    "errors": ("DashboardError",),
    "grafana": ("to_json",),
    "interface": ("Dashboard", "Panel", "Query", "Row", "Threshold"),
    "packs": ("DEPENDENCIES", "KINDS", "objectives", "starter_pack"),
    "prometheus": ("PrometheusOverTime",),
    "reading": ("TimeRange", "read"),
}

__getattr__, __dir__ = attach(__name__, _HOMES)
