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
    """The proofs of the decision point: who may ask, and whose word counts about whom they ask."""
    from companyos.server.specimens import CONTROL
    from companyos.server.subject_specimens import CONTROL as SUBJECTS

    return [CONTROL, SUBJECTS]
