"""How the controls of this room register themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.controls import Control

__all__ = ("companyos_controls",)


@hookimpl
def companyos_controls() -> Sequence[Control]:
    """The controls over source trees, G01, G02 and G03, and the one over what notifications say."""
    from companyos.guardrails.packages import packages_control
    from companyos.guardrails.placeholders import placeholders_control
    from companyos.guardrails.redacted import redaction_control
    from companyos.guardrails.secrets import secrets_control

    return (placeholders_control(), secrets_control(), packages_control(), redaction_control())
