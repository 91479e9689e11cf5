"""Data subjects: a pseudonym and a key each, in a store of their own, and how they are erased from it."""

from companyos.ledger.people.keystore import People
from companyos.ledger.people.tables import Erasure

__all__ = ("Erasure", "People")
