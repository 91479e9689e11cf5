"""How this room registers its control."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.controls import Control

__all__ = ("companyos_controls",)


@hookimpl
def companyos_controls() -> Sequence[Control]:
    """The proof of the decision point's authentication."""
    from companyos.server.specimens import CONTROL

    return [CONTROL]
