"""Incidents and healthy months against burn-rate alerts, by an evaluator of PromQL of our own.

Start here: `simulate(read_rules(text, name="rules.yml"), Options())`. Names load on first use; the extra is `slo`.
"""

from typing import TYPE_CHECKING

from companyos._lazy import attach

if TYPE_CHECKING:
    from companyos.observability.slo.simulate.errors import ReplayError, RuleFileError, UnsupportedRuleError
    from companyos.observability.slo.simulate.incidents import INCIDENTS, Expect, Incident, Phase
    from companyos.observability.slo.simulate.outcomes import (
        AlertOutcome,
        HealthyOutcome,
        IncidentOutcome,
        SubjectOutcome,
    )
    from companyos.observability.slo.simulate.rulefile import Rule, RuleGroup, read_rules
    from companyos.observability.slo.simulate.simulation import Options, simulate

__all__ = (
    "INCIDENTS",
    "AlertOutcome",
    "Expect",
    "HealthyOutcome",
    "Incident",
    "IncidentOutcome",
    "Options",
    "Phase",
    "ReplayError",
    "Rule",
    "RuleFileError",
    "RuleGroup",
    "SubjectOutcome",
    "UnsupportedRuleError",
    "read_rules",
    "simulate",
)

_HOMES = {
    "errors": ("ReplayError", "RuleFileError", "UnsupportedRuleError"),
    "incidents": ("INCIDENTS", "Expect", "Incident", "Phase"),
    "outcomes": ("AlertOutcome", "HealthyOutcome", "IncidentOutcome", "SubjectOutcome"),
    "rulefile": ("Rule", "RuleGroup", "read_rules"),
    "simulation": ("Options", "simulate"),
}

__getattr__, __dir__ = attach(__name__, _HOMES)
