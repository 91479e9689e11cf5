"""What this room registers: its controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.controls import Control
from companyos.decision import Severity
from companyos.hookspecs import hookimpl
from companyos.llm.residency.judging import RULES as RESIDENCY_RULES
from companyos.llm.specimens.residency import SPECIMENS as RESIDENCY_SPECIMENS
from companyos.llm.specimens.residency import check_residency

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("LLM_RESIDENCY", "companyos_controls")

LLM_RESIDENCY = Control(
    id="LLM-RESIDENCY",
    title="Prompts sent where they may not be processed",
    check=check_residency,
    rules=RESIDENCY_RULES,
    specimens=RESIDENCY_SPECIMENS,
    docs="residency.md",
    subject="residency case",
    severity=Severity.CRITICAL,
)
"""The control; its subject is a `ResidencyCase`."""


@hookimpl
def companyos_controls() -> Sequence[Control]:
    """The controls of this room."""
    return (LLM_RESIDENCY,)
