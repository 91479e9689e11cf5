"""How this room registers its control."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.controls import Control
from companyos.flags.checks import check_tree
from companyos.flags.definition import CONTROL, RULES
from companyos.flags.specimens import SPECIMENS
from companyos.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("FLAG_EXPIRY", "companyos_controls")

FLAG_EXPIRY = Control(
    id=CONTROL,
    title="Feature flags that nobody owns or that outlive their date",
    check=check_tree,
    rules=RULES,
    specimens=SPECIMENS,
    docs="flags.md",
    check_without=check_tree,
)


@hookimpl
def companyos_controls() -> Sequence[Control]:
    """The control of this room."""
    return [FLAG_EXPIRY]
