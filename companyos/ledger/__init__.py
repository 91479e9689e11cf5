"""The spine: an append-only Merkle log with proofs, in which everything that matters leaves an entry."""

from __future__ import annotations

from companyos.ledger.checkpoint import Checkpoint, Proof
from companyos.ledger.database import Database
from companyos.ledger.errors import (
    CheckpointInvalidError,
    ClockBackwardsError,
    EntryAlteredError,
    EntryInvalidError,
    EntryMissingError,
    EntryRefusedError,
    ErasedError,
    IdReusedError,
    LedgerDamagedError,
    NotPlacedError,
    PayloadTooLargeError,
    PersonUnknownError,
    ProofInvalidError,
    RolledBackError,
    SplitViewError,
    StoreBusyError,
    StoreFullError,
    StoreTamperedError,
    StoreUnreadableError,
    TailDroppedError,
    TreeAlteredError,
)
from companyos.ledger.log import Ledger
from companyos.ledger.preparation import Draft
from companyos.ledger.projection import Projection, ProjectionError, Snapshot
from companyos.ledger.upcast import UpcastError, Upcasters
from companyos.ledger.verification import Verification

__all__ = (
    "Checkpoint",
    "CheckpointInvalidError",
    "ClockBackwardsError",
    "Database",
    "Draft",
    "EntryAlteredError",
    "EntryInvalidError",
    "EntryMissingError",
    "EntryRefusedError",
    "ErasedError",
    "IdReusedError",
    "Ledger",
    "LedgerDamagedError",
    "NotPlacedError",
    "PayloadTooLargeError",
    "PersonUnknownError",
    "Projection",
    "ProjectionError",
    "Proof",
    "ProofInvalidError",
    "RolledBackError",
    "Snapshot",
    "SplitViewError",
    "StoreBusyError",
    "StoreFullError",
    "StoreTamperedError",
    "StoreUnreadableError",
    "TailDroppedError",
    "TreeAlteredError",
    "UpcastError",
    "Upcasters",
    "Verification",
)
