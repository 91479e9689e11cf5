"""Does every panel of a dashboard have data? Asked of the Prometheus it is meant for."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.decision import Decision, Finding, Severity
from companyos.observability.dashboards.asking import Asking
from companyos.observability.slo.errors import PrometheusError, QueryError

if TYPE_CHECKING:
    from companyos.observability.dashboards.prometheus import PrometheusOverTime, Series
    from companyos.observability.dashboards.reading import ReadDashboard, ReadPanel, ReadQuery, TimeRange

__all__ = ("Outcome", "check")

_METRIC = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*[{\[]")
"""A name that a selector or a range follows."""
_WORDS = frozenset({"by", "on", "ignoring", "without", "group_left", "group_right", "offset"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one query of one panel gave."""

    panel: str
    """The panel's title."""
    ref: str
    """The query's letter in the panel."""
    state: str
    """`data`, `empty`, `refused` or `unasked`."""
    detail: str
    """How many series; or why there are none."""

    def to_dict(self) -> dict[str, str]:
        """The outcome as a JSON object."""
        return {"panel": self.panel, "query": self.ref, "state": self.state, "detail": self.detail}


def check(dashboard: ReadDashboard, prometheus: PrometheusOverTime, time: TimeRange) -> Decision:
    """Ask every query of every panel, as the dashboard is saved, over the range.

    Denied where the Prometheus refuses a query; undetermined where a query has no data (a panel that shows nothing
    tells nothing), where it does not ask a Prometheus at all, and where the Prometheus does not answer. The facts hold
    every outcome.
    """
    asked = [(panel, query) for panel in dashboard.panels for query in panel.queries]
    asking = Asking(dashboard, prometheus, time)
    if not asked:
        return Decision.undetermined("dashboard.empty", "the dashboard has no panel that asks for anything")
    try:
        known = prometheus.metric_names(start=time.start, end=time.end)
        outcomes = [_outcome(asking, panel, query, known) for panel, query in asked]
    except PrometheusError as error:
        return Decision.undetermined(error.code, error.what)
    return _judge(outcomes)


def _outcome(asking: Asking, panel: ReadPanel, query: ReadQuery, known: frozenset[str]) -> Outcome:
    if not query.expr:
        return Outcome(panel.title, query.ref, "unasked", "not a query to a Prometheus")
    try:
        series = asking.series(query)
    except QueryError as error:
        return Outcome(panel.title, query.ref, "refused", error.got or error.what)
    if any(map(_has_figure, series)):
        return Outcome(panel.title, query.ref, "data", f"{len(series)} series")
    absent = sorted(set(_METRIC.findall(asking.text(query))) - known - _WORDS)
    reason = f"nobody exposes {', '.join(absent)}" if absent else "its metrics exist, but none of their series fits"
    return Outcome(panel.title, query.ref, "empty", "only NaN: there was no traffic" if series else reason)


def _has_figure(series: Series) -> bool:
    return any(math.isfinite(value) for _, value in series.points)


def _judge(outcomes: list[Outcome]) -> Decision:
    refused = [one for one in outcomes if one.state == "refused"]
    silent = [one for one in outcomes if one.state in {"empty", "unasked"}]
    facts = {"queries": [one.to_dict() for one in outcomes]}
    findings = [
        *(Finding("dashboard.query", _sentence(one), Severity.HIGH) for one in refused),
        *(Finding("dashboard.no-data", _sentence(one), Severity.MEDIUM) for one in silent),
    ]
    count = f"of {len(outcomes)} queries {len(refused)} are refused and {len(silent)} have no data"
    if refused:
        return Decision.denied("dashboard.query", count, findings=findings, facts=facts)
    if silent:
        return Decision.undetermined("dashboard.no-data", count, findings=findings, facts=facts)
    return Decision.allowed("dashboard.data", f"all {len(outcomes)} queries have data", facts=facts)


def _sentence(outcome: Outcome) -> str:
    return f"{outcome.panel}, query {outcome.ref}: {outcome.detail}"
