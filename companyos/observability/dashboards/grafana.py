"""A dashboard as Grafana's JSON, built with Grafana's own generated models (`grafana-foundation-sdk`)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from companyos._extras import require

if TYPE_CHECKING:
    from companyos.observability.dashboards.interface import Dashboard, Panel, Query

__all__ = ("to_json",)

GRID_COLUMNS = 24
_TITLE_HEIGHT = 1
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def to_json(dashboard: Dashboard) -> str:
    """The dashboard as a file that Grafana imports or provisions: the same dashboard gives the same bytes.

    The schema is that of Grafana 11.6; later versions migrate it when they load it.

    Raises:
        MissingExtraError: the extra `dashboards` is not installed.
    """
    require("grafana_foundation_sdk", extra="dashboards")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    built = _build(dashboard)
    return json.dumps(built, cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"


def _build(dashboard: Dashboard) -> Any:
    from grafana_foundation_sdk.builders import dashboard as grafana
    from grafana_foundation_sdk.models.dashboard import DashboardCursorSync

    builder = (
        grafana.Dashboard(dashboard.title)
        .uid(dashboard.uid)
        .description(dashboard.description)
        .tags(list(dashboard.tags))
        .timezone("utc")
        .time("now-6h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(grafana.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    if dashboard.environments:
        builder.with_variable(_environments(dashboard.environments))
    if dashboard.releases:
        builder.annotation(_releases(dashboard.releases))
    _lay_out(dashboard, builder)
    return builder.build()


def _lay_out(dashboard: Dashboard, builder: Any) -> None:
    """Add every heading and panel at its place in the grid."""
    from grafana_foundation_sdk.builders import dashboard as grafana
    from grafana_foundation_sdk.models.dashboard import GridPos

    number, top = 1, 0
    for row in dashboard.rows:
        place = GridPos(h=_TITLE_HEIGHT, w=GRID_COLUMNS, x=0, y=top)
        builder.with_row(grafana.Row(row.title).id(number).grid_pos(place))
        number, top, left, tallest = number + 1, top + _TITLE_HEIGHT, 0, 0
        for panel in row.panels:
            if left + panel.width > GRID_COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            place = GridPos(h=panel.height, w=panel.width, x=left, y=top)
            builder.with_panel(_panel(panel, number).grid_pos(place))
            number, left, tallest = number + 1, left + panel.width, max(tallest, panel.height)
        top += tallest


def _environments(query: str) -> Any:
    from grafana_foundation_sdk.builders import dashboard as grafana
    from grafana_foundation_sdk.models.dashboard import VariableOption, VariableRefresh, VariableSort

    return (
        grafana.QueryVariable("environment")
        .label("Environment")
        .datasource(_source())
        .query({"query": query, "refId": "environment"})
        .include_all(True)
        .all_value(".*")
        .multi(True)
        .current(VariableOption(selected=True, text="All", value="$__all"))
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def _releases(query: str) -> Any:
    from grafana_foundation_sdk.builders import dashboard as grafana

    return grafana.AnnotationQuery().name("Releases").datasource(_source()).enable(True).icon_color("blue").expr(query)


def _source() -> Any:
    from grafana_foundation_sdk.models.dashboard import DataSourceRef

    return DataSourceRef(type_val="prometheus", uid="${datasource}")


def _panel(panel: Panel, number: int) -> Any:
    builder = _table(panel) if panel.kind == "table" else _timeseries(panel)
    builder.id(number).title(panel.title).description(panel.description).datasource(_source())
    for letter, query in zip(_LETTERS, panel.queries, strict=False):
        builder.with_target(_target(query, letter, table=panel.kind == "table"))
    return builder


def _timeseries(panel: Panel) -> Any:
    from grafana_foundation_sdk.builders import common, timeseries
    from grafana_foundation_sdk.models.common import (
        GraphThresholdsStyleMode,
        LegendDisplayMode,
        LegendPlacement,
        TooltipDisplayMode,
        VisibilityMode,
    )

    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.TABLE).placement(LegendPlacement.BOTTOM)
    builder = (
        timeseries.Panel()
        .unit(panel.unit)
        .line_width(1)
        .fill_opacity(8)
        .show_points(VisibilityMode.NEVER)
        .legend(legend.show_legend(True).calcs(["lastNotNull", "max"]))
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    if panel.minimum is not None:
        builder.min(panel.minimum)
    if panel.thresholds:
        builder.thresholds(_thresholds(panel))
        builder.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    return builder


def _thresholds(panel: Panel) -> Any:
    from grafana_foundation_sdk.builders import dashboard as grafana
    from grafana_foundation_sdk.models.dashboard import Threshold, ThresholdsMode

    steps = [Threshold(value=None, color="transparent")]
    steps += [Threshold(value=line.value, color=line.colour) for line in panel.thresholds]
    return grafana.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _table(panel: Panel) -> Any:
    """One row for each value of the key: the instant answers are joined by it and their columns named."""
    from grafana_foundation_sdk.builders import table
    from grafana_foundation_sdk.models.common import FieldTextAlignment
    from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue

    values = [f"Value #{letter}" for letter in _LETTERS[: len(panel.queries)]]
    names = {value: query.legend for value, query in zip(values, panel.queries, strict=True)}
    order = {name: place for place, name in enumerate((panel.key, *values))}
    builder = table.Panel().unit(panel.unit).align(FieldTextAlignment.AUTO).inspect(False)
    builder.with_transformation(DataTransformerConfig("joinByField", options={"byField": panel.key, "mode": "outer"}))
    options = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
    # Joining numbers the times of the frames; the expression catches however many there are.
    hidden = {"include": {"pattern": f"^({panel.key}|Value #[A-Z])$"}}
    builder.with_transformation(DataTransformerConfig("filterFieldsByName", options=hidden))
    builder.with_transformation(DataTransformerConfig("organize", options=options))
    for query, unit in zip(panel.queries, panel.units, strict=True):
        builder.override_by_name(query.legend, [DynamicConfigValue("unit", unit)])
    return builder


def _target(query: Query, letter: str, *, table: bool) -> Any:
    from grafana_foundation_sdk.builders import prometheus
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

    builder = prometheus.Dataquery().ref_id(letter).expr(query.expr).editor_mode(QueryEditorMode.CODE)
    if table:
        return builder.instant().format(PromQueryFormat.TABLE)
    builder.range().format(PromQueryFormat.TIME_SERIES).legend_format(query.legend)
    return builder.exemplar(True) if query.exemplar else builder
