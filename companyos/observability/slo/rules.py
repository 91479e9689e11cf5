"""OpenSLO in, recording and alerting rules of Prometheus out.

The names of the recorded series are those that Sloth made common (https://sloth.dev); labels begin with `slo_`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from companyos.observability.slo import burn
from companyos.observability.slo.durations import DAY, HOUR, MINUTE, notation, shorthand_seconds
from companyos.observability.slo.errors import Problem, SloError
from companyos.observability.slo.expressions import RATIO, Measure
from companyos.observability.slo.promql import number, quoted
from companyos.observability.slo.ruleset import Group, Rule, Rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from decimal import Decimal

    from companyos.observability.slo.burn import BurnAlert, BurnWindow
    from companyos.observability.slo.openslo import AlertPolicy, Documents, Objective, Slo

__all__ = ("Compiled", "compile_rules", "objectives", "percent")

WINDOWS = (5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, DAY, 3 * DAY)
"""Error ratios are recorded over these, as far as they are shorter than the period."""
NO_DATA_AFTER = "15m"
"""How long nothing may be measured before somebody is told."""
RUNBOOK = "Find what changed, stop the loss, then look for the cause; `companyos slo status` says what is left."
_RESERVED = re.compile(r"slo_.*|severity|alertname|__.*")
_NOT_A_LABEL = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class Compiled:
    """One objective of an SLO, with what identifies it."""

    slo: Slo
    """What it belongs to."""
    objective: Objective
    """The objective."""
    slo_id: str
    """`<service>-<SLO>`, followed by the objective's name where there are several."""
    slo_name: str
    """`<SLO>`, likewise."""
    measure: Measure
    """How its error ratio is had."""
    alerts: tuple[BurnAlert, ...]
    """Its burn-rate alerts that can fire."""

    @property
    def identity(self) -> dict[str, str]:
        """The labels that every series of it has."""
        return {"slo_id": self.slo_id, "slo_service": self.slo.service, "slo_name": self.slo_name}

    @property
    def selector(self) -> str:
        """What picks its recorded series."""
        return _selector(self.identity)

    @property
    def budget(self) -> Decimal:
        """The share of errors that is allowed."""
        return 1 - self.objective.target

    @property
    def base_seconds(self) -> int:
        """The shortest window: the burn rate *now* is that over this one."""
        return max(WINDOWS[0], self.measure.slice_seconds)

    @property
    def windows(self) -> tuple[int, ...]:
        """Seconds of the windows over which error ratios are recorded, ascending; the period is not among them."""
        period = self.slo.window.seconds
        usual = {size for size in WINDOWS if self.base_seconds <= size < period}
        asked = {size for alert in self.alerts for window in alert.windows for size in _sizes(window)}
        return tuple(sorted((usual | asked | {self.base_seconds}) - {period}))


@dataclass
class _Found:
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def compile_rules(documents: Documents) -> Rules:
    """Compile what was read; the same documents give the same rules.

    Raises:
        SloError: two objectives of the same identity, an alert that could never fire, a label that is taken.
    """
    found = _Found(warnings=list(documents.warnings))
    compiled = _compiled(documents, found)
    groups = [group for item in compiled for group in _groups(item, found)]
    if found.problems:
        raise SloError(found.problems)
    groups.sort(key=lambda group: group.name)
    ids = tuple(sorted(item.slo_id for item in compiled))
    return Rules(tuple(groups), tuple(sorted(set(found.warnings))), documents.digest, ids)


def objectives(documents: Documents) -> list[Compiled]:
    """Every objective with its identity, windows and alerts, sorted by identity.

    Raises:
        SloError: as `compile_rules` does.
    """
    found = _Found()
    compiled = _compiled(documents, found)
    if found.problems:
        raise SloError(found.problems)
    return sorted(compiled, key=lambda item: item.slo_id)


def _compiled(documents: Documents, found: _Found) -> list[Compiled]:
    held: dict[str, Compiled] = {}
    for slo in documents.slos:
        for objective, suffix in zip(slo.objectives, _suffixes(slo, found), strict=True):
            name = f"{slo.metadata.name}{suffix}"
            slo_id = f"{slo.service}-{name}"
            identity = {"slo_id": slo_id, "slo_service": slo.service, "slo_name": name}
            measure = Measure(slo, objective, _selector(identity))
            alerts = tuple(_alerts(slo, objective, measure.slice_seconds, found))
            if slo_id in held:
                other = held[slo_id].objective.place
                what = f"{slo_id!r} is also the identity of the objective at {other.file}:{other.line}"
                found.problems.append(Problem(objective.place.file, objective.place.line, "metadata.name", what))
            held[slo_id] = Compiled(slo, objective, slo_id, name, measure, alerts)
    return list(held.values())


def _suffixes(slo: Slo, found: _Found) -> list[str]:
    if len(slo.objectives) == 1:
        return [""]
    names = [re.sub(r"[^a-z0-9]+", "-", item.display_name.lower()).strip("-") for item in slo.objectives]
    names = [name or str(index) for index, name in enumerate(names)]
    for index, name in enumerate(names):
        if name in names[:index]:
            place = slo.objectives[index].place
            what = f"another objective of this SLO is called {name!r}, too: give each a displayName of its own"
            found.problems.append(Problem(place.file, place.line, f"spec.objectives[{index}].displayName", what))
    return [f"-{name}" for name in names]


def _alerts(slo: Slo, objective: Objective, slice_seconds: int, found: _Found) -> Iterator[BurnAlert]:
    budget = Fraction(1 - objective.target)
    if slo.policies:
        for policy in slo.policies:
            alert = _of_policy(policy, slo, slice_seconds, found)
            if alert is not None and alert.windows[0].factor * budget >= 1:
                found.problems.append(_never(policy, alert.windows[0], budget))
            elif alert is not None:
                yield alert
        return
    for alert in burn.of_playbook(slo.window.seconds, slice_seconds):
        able = tuple(window for window in alert.windows if window.factor * budget < 1)
        for window in alert.windows:
            if window not in able:
                what = (
                    f"the {alert.severity} at {window.text} could never fire, because {percent(objective)} % leaves "
                    "so large a budget; it is left out. Write an AlertPolicy with a smaller threshold"
                )
                found.warnings.append(Problem(objective.place.file, objective.place.line, "spec.objectives", what))
        if able:
            yield burn.BurnAlert(alert.key, alert.severity, able)


def _never(policy: AlertPolicy, window: BurnWindow, budget: Fraction) -> Problem:
    place = policy.condition.place
    most = number(float(1 / budget))
    what = f"a burn rate of {window.text} can never be passed: even if everything fails it is {most}"
    return Problem(place.file, place.line, "spec.condition.threshold", what)


def _of_policy(policy: AlertPolicy, slo: Slo, slice_seconds: int, found: _Found) -> BurnAlert | None:
    condition = policy.condition
    place = condition.place
    written = condition.metadata.annotations.get(burn.SHORT_WINDOW)
    short = None if written is None else shorthand_seconds(written)
    if written is not None and (not short or short >= condition.lookback_seconds):
        what = f"got {written!r}, expected a duration shorter than the lookbackWindow"
        found.problems.append(Problem(place.file, place.line, f"metadata.annotations.{burn.SHORT_WINDOW}", what))
        return None
    lookback = condition.lookback_seconds
    if not slice_seconds <= min(lookback, short or lookback) <= lookback < slo.window.seconds:
        limits = f"less than the period, {notation(slo.window.seconds)}" + (
            f", and at least a time slice, {notation(slice_seconds)}" if slice_seconds else ""
        )
        found.problems.append(
            Problem(
                place.file, place.line, "spec.condition.lookbackWindow", f"for {slo.metadata.name} it must be {limits}"
            )
        )
        return None
    return burn.of_policy(policy, short) if policy.when_breaching else None


def _groups(item: Compiled, found: _Found) -> Iterator[Group]:
    sliced = item.measure.slice_record()
    if sliced is not None:
        name, expr = sliced
        yield Group(
            f"slo-{item.slo_id}-slices", (Rule(name, expr, item.identity),), notation(item.measure.slice_seconds)
        )
    extra = _extra_labels(item, found)
    rules = (*_ratios(item), *_meta(item, extra), *_burn_rules(item, extra), *_no_data(item, extra))
    yield Group(f"slo-{item.slo_id}", rules)


def _ratios(item: Compiled) -> Iterator[Rule]:
    for name, expr in item.measure.records():
        yield Rule(name, expr, item.identity)
    for size in item.windows:
        window = notation(size)
        labels = item.identity | {"slo_window": window}
        yield Rule(f"{RATIO}{window}", item.measure.error_ratio(window), labels)
    period = notation(item.slo.window.seconds)
    labels = item.identity | {"slo_window": period}
    yield Rule(f"{RATIO}{period}", item.measure.period_error_ratio(period), labels)


def _meta(item: Compiled, extra: Mapping[str, str]) -> Iterator[Rule]:
    identity, selector = item.identity, item.selector
    over_budget = f"/ on (slo_id, slo_service, slo_name) group_left ()\nslo:error_budget:ratio{selector}"
    yield Rule("slo:objective:ratio", f"vector({number(item.objective.target)})", identity)
    yield Rule("slo:error_budget:ratio", f"vector({number(item.budget)})", identity)
    yield Rule("slo:time_period:days", f"vector({number(item.slo.window.seconds / DAY)})", identity)
    now, period = notation(item.base_seconds), notation(item.slo.window.seconds)
    yield Rule("slo:current_burn_rate:ratio", f"{RATIO}{now}{selector}\n{over_budget}", identity)
    yield Rule("slo:period_burn_rate:ratio", f"{RATIO}{period}{selector}\n{over_budget}", identity)
    yield Rule("slo:period_error_budget_remaining:ratio", f"1 - slo:period_burn_rate:ratio{selector}", identity)
    about = {
        "slo_objective": percent(item.objective),
        "slo_method": item.slo.method.value,
        "slo_period": period,
        "slo_display_name": item.slo.metadata.display_name,
    }
    if item.slo.window.calendar is not None:
        about["slo_calendar"] = item.slo.window.shorthand
    yield Rule("companyos_slo_info", "vector(1)", {**identity, **about, **extra})


def _burn_rules(item: Compiled, extra: Mapping[str, str]) -> Iterator[Rule]:
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
    each = [
        f"max({RATIO}{notation(size)}{item.selector} {sign} {limit}) without (slo_window)" for size in _sizes(window)
    ]
    return "\nand\n".join(each)


def _no_data(item: Compiled, extra: Mapping[str, str]) -> Iterator[Rule]:
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


def _extra_labels(item: Compiled, found: _Found) -> dict[str, str]:
    metadata = item.slo.metadata
    labels = {}
    for key, value in metadata.labels.items():
        name = _NOT_A_LABEL.sub("_", key)
        name = f"_{name}" if name[:1].isdigit() else name
        if not name or _RESERVED.fullmatch(name) or name in labels:
            what = f"becomes the label {name!r} of alerts, which is taken; use another name"
            found.problems.append(Problem(metadata.place.file, metadata.place.line, f"metadata.labels.{key}", what))
        labels[name] = value
    return labels


def _runbook(slo: Slo) -> str:
    annotations = slo.metadata.annotations
    return annotations.get("runbook_url") or annotations.get("runbook") or RUNBOOK


def _plain(text: str) -> str:
    """`text` so that Prometheus, which expands templates in labels and annotations of alerts, leaves it as it is."""
    return text.replace("{{", '{{"{{"}}')


def _selector(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name}={quoted(value)}" for name, value in labels.items()) + "}"


def _sizes(window: BurnWindow) -> tuple[int, ...]:
    return (window.long_seconds,) if window.short_seconds is None else (window.short_seconds, window.long_seconds)


def percent(objective: Objective) -> str:
    """The target of an objective in percent, without zeros at its end."""
    text = f"{objective.target * 100:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
