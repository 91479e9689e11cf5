"""How the controls of evidence register themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.evidence.specimens import CONTROL
from companyos.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.controls import Control

__all__ = ("companyos_controls",)


@hookimpl
def companyos_controls() -> Sequence[Control]:
    """The evidence pack."""
    return (CONTROL,)
