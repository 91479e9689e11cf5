"""Objectives with what identifies them: labels, windows, and the alerts that can fire."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from companyos.observability.slo import burn
from companyos.observability.slo.durations import DAY, HOUR, MINUTE, notation, shorthand_seconds
from companyos.observability.slo.errors import Problem, SloError
from companyos.observability.slo.expressions import Measure
from companyos.observability.slo.promql import number, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from decimal import Decimal

    from companyos.observability.slo.burn import BurnAlert, BurnWindow
    from companyos.observability.slo.openslo import AlertPolicy, Documents, Objective, Slo

__all__ = ("BAD_MAY_BE_ABSENT", "Compiled", "Found", "compiled", "objectives", "percent")

WINDOWS = (5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, DAY, 3 * DAY)
"""Error ratios are recorded over these, as far as they are shorter than the period."""

BAD_MAY_BE_ABSENT = "companyos.bad-events-may-be-absent"
"""The annotation of an SLO whose bad events have no series until there is one, and nobody is to be told."""


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
    def bad_may_be_absent(self) -> bool:
        """Whether its author says that a missing counter of bad events is in order."""
        return self.slo.metadata.annotations.get(BAD_MAY_BE_ABSENT, "").lower() == "true"

    @property
    def base_seconds(self) -> int:
        """The shortest window: the burn rate *now* is that over this one."""
        return max(WINDOWS[0], self.measure.slice_seconds)

    @property
    def windows(self) -> tuple[int, ...]:
        """Seconds of the windows over which error ratios are recorded, ascending; the period is not among them."""
        period = self.slo.window.seconds
        usual = {size for size in WINDOWS if self.base_seconds <= size < period}
        asked = {size for alert in self.alerts for window in alert.windows for size in window.sizes}
        return tuple(sorted((usual | asked | {self.base_seconds}) - {period}))


@dataclass
class Found:
    """What was found wrong, and what is worth a warning."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def objectives(documents: Documents) -> list[Compiled]:
    """Every objective with its identity, windows and alerts, sorted by identity.

    Raises:
        SloError: as `compile_rules` does.
    """
    found = Found()
    items = compiled(documents, found)
    if found.problems:
        raise SloError(found.problems)
    return sorted(items, key=lambda item: item.slo_id)


def compiled(documents: Documents, found: Found) -> list[Compiled]:
    """Every objective; what is wrong goes to `found`."""
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


def _suffixes(slo: Slo, found: Found) -> list[str]:
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


def _alerts(slo: Slo, objective: Objective, slice_seconds: int, found: Found) -> Iterator[BurnAlert]:
    budget = Fraction(1 - objective.target)
    if slo.policies:
        for policy in slo.policies:
            alert = _of_policy(policy, slo, slice_seconds, found)
            if alert is not None and alert.windows[0].factor * budget >= 1:
                found.problems.append(_never(policy, alert.windows[0], budget))
            elif alert is not None:
                yield alert
        return
    fitted = burn.of_playbook(slo.window.seconds, slice_seconds)
    for severity in {"page", "ticket"} - {alert.severity for alert in fitted}:
        what = (
            f"no window fits between a slice and the period for a {severity}, so there is none; write an AlertPolicy, "
            "or use shorter slices or a longer period"
        )
        found.warnings.append(Problem(objective.place.file, objective.place.line, "spec.objectives", what))
    for alert in fitted:
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


def _of_policy(policy: AlertPolicy, slo: Slo, slice_seconds: int, found: Found) -> BurnAlert | None:
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


def _selector(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name}={quoted(value)}" for name, value in labels.items()) + "}"


def percent(objective: Objective) -> str:
    """The target of an objective in percent, without zeros at its end."""
    text = f"{objective.target * 100:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
