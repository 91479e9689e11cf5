"""Alerting rules of an objective: burn rates, that nothing can be said, and that what is said cannot be right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.observability.slo.compiled import BAD_MAY_BE_ABSENT, percent
from companyos.observability.slo.durations import notation
from companyos.observability.slo.expressions import BEYOND, RATIO, TOTAL
from companyos.observability.slo.openslo import ThresholdMetric
from companyos.observability.slo.promql import number
from companyos.observability.slo.ruleset import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from companyos.observability.slo.burn import BurnAlert, BurnWindow
    from companyos.observability.slo.compiled import Compiled
    from companyos.observability.slo.openslo import AlertPolicy, Slo

__all__ = ("burn_rules", "doubt_rules", "no_data_rules")

NO_DATA_AFTER = "15m"
"""How long nothing may be measured before somebody is told."""
NO_ERRORS_AFTER = "1h"
"""How long there may be events and no counter of bad ones: a service that has just begun may be right about it."""
RUNBOOK = "Find what changed, stop the loss, then look for the cause; `companyos slo status` says what is left."


def burn_rules(item: Compiled, extra: Mapping[str, str]) -> Iterator[Rule]:
    """One rule for each burn-rate alert; `extra` are labels to route by."""
    for alert in item.alerts:
        parts = [_breach(item, alert, window) for window in alert.windows]
        expr = parts[0] if len(parts) == 1 else "\nor\n".join(f"(\n  {_indented(part)}\n)" for part in parts)
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
    # A service that is gone counts no errors: where errors page, so does that nothing is counted.
    pages = any(alert.severity == "page" for alert in item.alerts)
    severity = asked[0].condition.severity if asked else "page" if pages else "ticket"
    labels = _alert_labels(item, extra, severity, "no-data", asked[0] if asked else None)
    expr = f"absent({item.measure.watched}{item.selector})"
    yield Rule("SLOCannotBeChecked", expr, labels, alert=True, after=NO_DATA_AFTER, annotations=annotations)


def doubt_rules(item: Compiled, extra: Mapping[str, str]) -> Iterator[Rule]:
    """The alerts that say that what is measured is no error ratio, or that no bad event could be seen."""
    # What is compared with a threshold is 0 or 1, whatever was measured.
    if not isinstance(item.slo.indicator.metric, ThresholdMetric):
        yield _nonsense(item, extra)
    if item.measure.bad_names and not item.bad_may_be_absent:
        yield _errors_unseen(item, extra)


def _nonsense(item: Compiled, extra: Mapping[str, str]) -> Rule:
    share = f"(\n  {_indented(item.measure.measured)}\n)"
    return Rule(
        "SLOIsNonsense",
        f"{share} < -{number(BEYOND)}\nor\n{share} > {number(1 + BEYOND)}",
        _alert_labels(item, extra, "ticket", "nonsense", None),
        alert=True,
        after=NO_DATA_AFTER,
        annotations={
            "summary": _plain(f"{item.slo.metadata.display_name} of {item.slo.service}: the error ratio is none"),
            "description": _plain(f"The queries of {item.slo_id} give an error ratio outside of 0 to 1:")
            + " {{ $value }}.",
            "runbook": "Look whether both queries select the same events, and whether a ratio of somebody else's is "
            "written as a share, 0.995, and not in percent.",
        },
    )


def _errors_unseen(item: Compiled, extra: Mapping[str, str]) -> Rule:
    names = item.measure.bad_names
    gone = "\nor\n".join(f"absent({name})" for name in names)
    return Rule(
        "SLOCannotSeeErrors",
        f"(\n  {_indented(gone)}\n)\nand on ()\n({TOTAL}{item.selector} > 0)",
        _alert_labels(item, extra, "ticket", "no-errors-seen", None),
        alert=True,
        after=NO_ERRORS_AFTER,
        annotations={
            "summary": _plain(f"{item.slo.metadata.display_name} of {item.slo.service}: errors would not be seen"),
            "description": _plain(
                f"There are events of {item.slo_id}, and no series that counts bad ones: {', '.join(names)}. "
                "The objective looks kept, whatever happens."
            ),
            "runbook": "Mend the name if it is misspelt. Otherwise let the service export the counter as 0 from its "
            f"start, or annotate the SLO with {BAD_MAY_BE_ABSENT}: true.",
        },
    )


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


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
