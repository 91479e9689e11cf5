"""Tombstones: the entries that say that a person was erased, so that no restored key store brings one back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.canonical import NotCanonicalError
from companyos.ledger import entry as entries
from companyos.ledger.errors import EntryAlteredError, EntryMissingError, ProofInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from companyos.ledger.reading import Reader
    from companyos.ledger.stores.interface import Row

__all__ = ("ERASED", "erasures_source", "pseudonym_of", "tombstone_id", "tombstones")

ERASED = "companyos.ledger.person_erased"
"""Type of a tombstone."""


def erasures_source(origin: str) -> str:
    """The source of a log's tombstones, by which they are found without reading the log."""
    return f"{origin}/erasures"


def tombstone_id(pseudonym: str) -> str:
    """The id of a person's tombstone: there is one, however often the erasure is begun."""
    return f"erased-{pseudonym}"


def pseudonym_of(tombstone: str) -> str:
    """Whose tombstone has this id."""
    return tombstone.removeprefix("erased-")


def tombstones(log: Reader, rows: Iterable[Row]) -> Iterator[str]:
    """The pseudonyms in tombstones, each shown to be under the signed tree before it is believed.

    A key that is destroyed does not come back: somebody who can write the database must not have one destroyed.

    Raises:
        EntryAlteredError: a tombstone is not one that was logged.
    """
    for row in rows:
        try:
            log.prove(row.index).verify(row.raw, [log.verifier])
            value = entries.decode(row.index, row.raw)
        except (NotCanonicalError, ProofInvalidError, EntryMissingError) as error:
            raise EntryAlteredError("a tombstone is not one that was logged", index=row.index) from error
        name = value.subject
        if (value.source, value.type) == (erasures_source(log.origin), ERASED) and value.id == tombstone_id(name or ""):
            yield pseudonym_of(value.id)
