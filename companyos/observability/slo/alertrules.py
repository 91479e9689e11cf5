"""Alerting rules of an objective: burn rates, and that nothing can be said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.observability.slo.compiled import percent
from companyos.observability.slo.durations import notation
from companyos.observability.slo.expressions import RATIO
from companyos.observability.slo.promql import number
from companyos.observability.slo.ruleset import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from companyos.observability.slo.burn import BurnAlert, BurnWindow
    from companyos.observability.slo.compiled import Compiled
    from companyos.observability.slo.openslo import AlertPolicy, Slo

__all__ = ("burn_rules", "no_data_rules")

NO_DATA_AFTER = "15m"
"""How long nothing may be measured before somebody is told."""
RUNBOOK = "Find what changed, stop the loss, then look for the cause; `companyos slo status` says what is left."


def burn_rules(item: Compiled, extra: Mapping[str, str]) -> Iterator[Rule]:
    """One rule for each burn-rate alert; `extra` are labels to route by."""
    for alert in item.alerts:
        parts = [_breach(item, alert, window) for window in alert.windows]
        expr = (
            parts[0]
            if len(parts) == 1
            else "\nor\n".join(f"(\n  {part.replace(chr(10), chr(10) + '  ')}\n)" for part in parts)
        )
        condition = alert.policy.condition if alert.policy is not None else None
        told = condition.description if condition is not None else ""
        rates = "; or ".join(window.text for window in alert.windows)
        annotations = {
            "summary": _plain(
                f"{item.slo.metadata.display_name} of {item.slo.service}: the error budget burns too fast"
            ),
            "description": _plain(
                f"{told + ' ' if told else ''}The burn rate of {item.slo_id} is above {rates}; objective: "
                f"{percent(item.objective)} % over {notation(item.slo.window.seconds)}."
            )
            + " Error ratio: {{ $value | humanizePercentage }}.",
            "runbook": _plain(_runbook(item.slo)),
        }
        labels = _alert_labels(item, extra, alert.severity, alert.key, alert.policy)
        after = notation(alert.after_seconds) if alert.after_seconds else None
        yield Rule("SLOErrorBudgetBurn", expr, labels, alert=True, after=after, annotations=annotations)


def _breach(item: Compiled, alert: BurnAlert, window: BurnWindow) -> str:
    condition = alert.policy.condition if alert.policy is not None else None
    sign = ">=" if condition is not None and condition.or_equal else ">"
    limit = f"({number(window.factor)} * {number(item.budget)})"
    each = [f"max({RATIO}{notation(size)}{item.selector} {sign} {limit}) without (slo_window)" for size in window.sizes]
    return "\nand\n".join(each)


def no_data_rules(item: Compiled, extra: Mapping[str, str]) -> Iterator[Rule]:
    """The alert that says that nothing can be said; policies may turn it off, and say how urgent it is."""
    asked = [policy for policy in item.slo.policies if policy.when_no_data]
    if item.slo.policies and not asked and all(policy.when_no_data is False for policy in item.slo.policies):
        return
    annotations = {
        "summary": _plain(f"{item.slo.metadata.display_name} of {item.slo.service}: the SLO cannot be checked"),
        "description": _plain(f"The queries of {item.slo_id} find no data at all: nobody knows whether it is kept."),
        "runbook": "Look whether the service is scraped, and whether its metrics still have the names and labels "
        "that the SLO asks for.",
    }
    severity = asked[0].condition.severity if asked else "ticket"
    labels = _alert_labels(item, extra, severity, "no-data", asked[0] if asked else None)
    expr = f"absent({item.measure.watched}{item.selector})"
    yield Rule("SLOCannotBeChecked", expr, labels, alert=True, after=NO_DATA_AFTER, annotations=annotations)


def _alert_labels(
    item: Compiled, extra: Mapping[str, str], severity: str, key: str, policy: AlertPolicy | None
) -> dict[str, str]:
    labels = item.identity | {"severity": _plain(severity), "slo_alert": key}
    labels |= {name: _plain(value) for name, value in extra.items()}
    if policy is not None and policy.targets:
        labels["slo_notification_targets"] = ",".join(target.metadata.name for target in policy.targets)
    return labels


def _runbook(slo: Slo) -> str:
    annotations = slo.metadata.annotations
    return annotations.get("runbook_url") or annotations.get("runbook") or RUNBOOK


def _plain(text: str) -> str:
    """`text` so that Prometheus, which expands templates in labels and annotations of alerts, leaves it as it is."""
    return text.replace("{{", '{{"{{"}}')
