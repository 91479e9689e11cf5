"""What this room registers: the budget gate as a control."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.controls import Control
from companyos.decision import Severity
from companyos.finops.gate import RULES
from companyos.finops.specimens import SPECIMENS, check_case
from companyos.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("FINOPS_GATE", "companyos_controls")

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


@hookimpl
def companyos_controls() -> Sequence[Control]:
    """The controls of this room."""
    return (FINOPS_GATE,)
