"""The spine: an append-only Merkle log with proofs, in which everything that matters leaves an entry."""

from __future__ import annotations

from companyos.ledger.checkpoint import Checkpoint, Proof
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
from companyos.ledger.projection import Projection
from companyos.ledger.verification import Verification

__all__ = (
    "Checkpoint",
    "CheckpointInvalidError",
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
    "Proof",
    "ProofInvalidError",
    "RolledBackError",
    "SplitViewError",
    "StoreUnreadableError",
    "TailDroppedError",
    "TreeAlteredError",
    "Verification",
)
