"""How the ledger's own projections register themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.hookspecs import hookimpl
from companyos.ledger.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("companyos_projections",)


@hookimpl
def companyos_projections() -> Sequence[type]:
    """What a log is made of."""
    return (Streams,)
