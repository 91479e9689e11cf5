"""Where a log is kept."""

from __future__ import annotations

from companyos.ledger.stores.interface import Batch, Deposit, Payload, Refusal, Row, Store, TakenError, Tile

__all__ = ("Batch", "Deposit", "Payload", "Refusal", "Row", "Store", "TakenError", "Tile")
