"""Service level objectives: OpenSLO in, rules of Prometheus out, and what a Prometheus says about them.

Names load on first use.
"""

from typing import TYPE_CHECKING

from companyos._lazy import attach

if TYPE_CHECKING:
    from companyos.observability.slo.errors import KitError, Problem, PrometheusError, SloError
    from companyos.observability.slo.openslo import Documents
    from companyos.observability.slo.reader import read, read_files
    from companyos.observability.slo.rules import compile_rules
    from companyos.observability.slo.ruleset import Group, Rule, Rules

__all__ = (
    "Documents",
    "Group",
    "KitError",
    "Problem",
    "PrometheusError",
    "Rule",
    "Rules",
    "SloError",
    "compile_rules",
    "read",
    "read_files",
)

_HOMES = {
    "errors": ("KitError", "Problem", "PrometheusError", "SloError"),
    "openslo": ("Documents",),
    "reader": ("read", "read_files"),
    "rules": ("compile_rules",),
    "ruleset": ("Group", "Rule", "Rules"),
}

__getattr__, __dir__ = attach(__name__, _HOMES)
