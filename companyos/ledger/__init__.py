"""The spine: an append-only Merkle log with proofs, in which everything that matters leaves an entry."""

from __future__ import annotations

from companyos.ledger.checkpoint import Checkpoint, Proof
from companyos.ledger.database import Database
from companyos.ledger.errors import (
    CheckpointInvalidError,
    EntryAlteredError,
    EntryInvalidError,
    EntryMissingError,
    EntryRefusedError,
    ErasedError,
    IdReusedError,
    LedgerDamagedError,
    PayloadTooLargeError,
    ProofInvalidError,
    RolledBackError,
    SplitViewError,
    StoreUnreadableError,
    TailDroppedError,
    TreeAlteredError,
)
from companyos.ledger.log import Ledger
from companyos.ledger.projection import Projection, ProjectionError, Snapshot
from companyos.ledger.upcast import UpcastError, Upcasters
from companyos.ledger.verification import Verification

__all__ = (
    "Checkpoint",
    "CheckpointInvalidError",
    "Database",
    "EntryAlteredError",
    "EntryInvalidError",
    "EntryMissingError",
    "EntryRefusedError",
    "ErasedError",
    "IdReusedError",
    "Ledger",
    "LedgerDamagedError",
    "PayloadTooLargeError",
    "Projection",
    "ProjectionError",
    "Proof",
    "ProofInvalidError",
    "RolledBackError",
    "Snapshot",
    "SplitViewError",
    "StoreUnreadableError",
    "TailDroppedError",
    "TreeAlteredError",
    "UpcastError",
    "Upcasters",
    "Verification",
)
