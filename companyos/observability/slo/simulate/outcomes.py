"""What a simulation found out, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ("AlertOutcome", "HealthyOutcome", "IncidentOutcome", "SubjectOutcome")


@dataclass(frozen=True, slots=True)
class AlertOutcome:
    """What one alert made of one incident. Seconds; None is *never*."""

    name: str
    """Of the alert."""
    key: str
    """Its label `slo_alert`, or empty."""
    severity: str
    """`page`, `ticket` or whatever the rule says."""
    detection_seconds: float | None
    """From the beginning of the incident to the first evaluation at which it fired."""
    expected_detection_seconds: float | None
    """The same by the mathematics of burn rates, without the wait for an evaluation."""
    reset_seconds: float | None
    """From the end of the last errors to the evaluation at which it fired no more."""
    expected_reset_seconds: float | None
    """The same by the mathematics."""
    computable: bool
    """Whether the mathematics says anything about this alert and this incident."""
    budget_spent: float | None
    """Share of the period's error budget that was gone at detection."""
    firings: int
    """How often it began to fire."""
    spans_seconds: tuple[tuple[float, float | None], ...]
    """From when to when it fired, since the beginning of the incident."""

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "alert": self.name,
            "slo_alert": self.key,
            "severity": self.severity,
            "detection_seconds": self.detection_seconds,
            "expected_detection_seconds": self.expected_detection_seconds,
            "reset_seconds": self.reset_seconds,
            "expected_reset_seconds": self.expected_reset_seconds,
            "computable": self.computable,
            "budget_spent_at_detection": self.budget_spent,
            "firings": self.firings,
            "firing_spans_seconds": [list(span) for span in self.spans_seconds],
        }


@dataclass(frozen=True, slots=True)
class IncidentOutcome:
    """What all alerts of an objective made of one incident."""

    name: str
    """Of the incident."""
    title: str
    """In a few words."""
    expected: str
    """`page`, `no page` or `either`."""
    stretches: tuple[tuple[float, float], ...]
    """Seconds and share of errors of each of its phases."""
    budget_spent: float
    """Share of the period's error budget that it costs."""
    alerts: tuple[AlertOutcome, ...]
    """In the order of the rules."""

    @property
    def paged(self) -> bool:
        """Whether anybody was called."""
        return any(alert.firings and alert.severity == "page" for alert in self.alerts)

    @property
    def as_expected(self) -> bool:
        """Whether what ought to page did, and what ought not to did not."""
        return self.expected == "either" or self.paged == (self.expected == "page")

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "incident": self.name,
            "title": self.title,
            "expected": self.expected,
            "paged": self.paged,
            "as_expected": self.as_expected,
            "budget_spent": self.budget_spent,
            "phases": [{"seconds": seconds, "errors": errors} for seconds, errors in self.stretches],
            "alerts": [alert.to_dict() for alert in self.alerts],
        }


@dataclass(frozen=True, slots=True)
class HealthyOutcome:
    """What the alerts made of 30 days in which the objective was kept with ease."""

    days: int
    """How many."""
    requests: int
    """In them."""
    failures: int
    """Of these requests."""
    firings: tuple[tuple[str, str, int], ...]
    """Name, severity, and how often it began to fire, for each alert."""

    @property
    def false_pages(self) -> int:
        """How often somebody was called for nothing."""
        return sum(count for _, severity, count in self.firings if severity == "page")

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "days": self.days,
            "requests": self.requests,
            "failures": self.failures,
            "false_pages": self.false_pages,
            "alerts": [{"alert": name, "severity": severity, "firings": n} for name, severity, n in self.firings],
        }


@dataclass(frozen=True, slots=True)
class SubjectOutcome:
    """Everything about one objective."""

    slo_id: str
    """Its id."""
    objective: float
    """Share of events that must go well."""
    period_days: float
    """Over which."""
    traffic_rps: float
    """Requests a second in the incidents, and on average in the healthy days."""
    seed: int
    """Of the healthy days."""
    incidents: tuple[IncidentOutcome, ...]
    """In order."""
    healthy: HealthyOutcome | None
    """None if it was not asked for."""
    warnings: tuple[str, ...]
    """What else a person should know."""

    @property
    def findings(self) -> tuple[str, ...]:
        """What is wrong with the alerts, one sentence each; empty if nothing is."""
        found = [
            f"{self.slo_id}: {one.name} ({one.title}) must not page, and does"
            if one.paged
            else f"{self.slo_id}: {one.name} ({one.title}) must page, and does not"
            for one in self.incidents
            if not one.as_expected
        ]
        if self.healthy is not None and self.healthy.false_pages:
            found.append(f"{self.slo_id}: {self.healthy.false_pages} pages in {self.healthy.days} healthy days")
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "slo_id": self.slo_id,
            "objective": self.objective,
            "period_days": self.period_days,
            "traffic_rps": self.traffic_rps,
            "seed": self.seed,
            "incidents": [incident.to_dict() for incident in self.incidents],
            "healthy": None if self.healthy is None else self.healthy.to_dict(),
            "warnings": list(self.warnings),
            "findings": list(self.findings),
        }
