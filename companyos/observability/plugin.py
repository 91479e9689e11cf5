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
    """The proofs of the audit trail, of log lines, and of what is kept out of them."""
    from companyos.observability.specimens.audit import audit_control

    return [audit_control()]
