"""How this room registers its controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.controls import Control

__all__ = ("companyos_controls",)


@hookimpl
def companyos_controls() -> Sequence[Control]:
    """The proofs of alerts, objectives, the audit trail, the fields of log lines, and what is kept out of signals."""
    from companyos.observability.specimens.alerts import alerts_control
    from companyos.observability.specimens.audit import audit_control
    from companyos.observability.specimens.fields import fields_control
    from companyos.observability.specimens.objectives import objectives_control
    from companyos.observability.specimens.redaction import redaction_control

    return [alerts_control(), audit_control(), fields_control(), objectives_control(), redaction_control()]
