"""What this room registers as controls: the budget gate, budgets, anomalies and the tags of infrastructure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.controls import Control
from companyos.decision import Severity
from companyos.finops.anomalies import RULES as ANOMALY_RULES
from companyos.finops.anomaly_specimens import SPECIMENS as ANOMALY_SPECIMENS
from companyos.finops.anomaly_specimens import check_bill
from companyos.finops.budgets.specimens import SPECIMENS as BUDGET_SPECIMENS
from companyos.finops.budgets.specimens import check_spending
from companyos.finops.budgets.verdicts import RULES as BUDGET_RULES
from companyos.finops.gate import RULES
from companyos.finops.infrastructure.judging import RULES as TAG_RULES
from companyos.finops.infrastructure.specimens import SPECIMENS as TAG_SPECIMENS
from companyos.finops.infrastructure.specimens import check_tree
from companyos.finops.specimens import SPECIMENS, check_case
from companyos.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("BUDGET_CAP", "FINOPS_ANOMALY", "FINOPS_GATE", "FINOPS_TAGS", "companyos_controls")

FINOPS_GATE = Control(
    id="FINOPS-GATE",
    title="Costs beyond the weekly target or ceiling",
    check=check_case,
    rules=RULES,
    specimens=SPECIMENS,
    docs="finops.md",
    subject="budget case",
    severity=Severity.CRITICAL,
)
"""The control; its subject is a `BudgetCase`."""

FINOPS_ANOMALY = Control(
    id="FINOPS-ANOMALY",
    title="Costs that nobody expected",
    check=check_bill,
    rules=ANOMALY_RULES,
    specimens=ANOMALY_SPECIMENS,
    docs="forecast.md",
    subject="bill",
    severity=Severity.MEDIUM,
)
"""The control; its subject is an `AnomalyCase`."""

BUDGET_CAP = Control(
    id="BUDGET-CAP",
    title="Spending beyond a budget's caps",
    check=check_spending,
    rules=BUDGET_RULES,
    specimens=BUDGET_SPECIMENS,
    docs="budgets.md",
    subject="spending",
    severity=Severity.CRITICAL,
)
"""The control; its subject is a `Spending`."""

FINOPS_TAGS = Control(
    id="FINOPS-TAGS",
    title="Infrastructure without owner of its costs, lifetime or spot capacity",
    check=check_tree,
    rules=TAG_RULES,
    specimens=TAG_SPECIMENS,
    docs="finops.md",
    subject="infrastructure",
    severity=Severity.MEDIUM,
)
"""The control; its subject is a directory with infrastructure as code."""


@hookimpl
def companyos_controls() -> Sequence[Control]:
    """The controls of this room."""
    return (BUDGET_CAP, FINOPS_ANOMALY, FINOPS_GATE, FINOPS_TAGS)
