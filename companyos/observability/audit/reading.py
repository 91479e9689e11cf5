"""Reading the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.observability.audit.record import TYPE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from companyos.ledger.reading import Reader
    from companyos.ports import Entry

__all__ = ("records",)


def records(log: Reader, since: int = 0, *, types: Collection[str] = (TYPE,)) -> Iterator[Entry]:
    """The entries of the trail from index `since` on, in order, personal values still encrypted.

    `types` may name further types of entry that carry the same fields, such as the decisions of authorization.

    Raises:
        LedgerDamagedError: an entry is missing or cannot be read.
    """
    return (entry for entry in log.read(since) if entry.type in types)
