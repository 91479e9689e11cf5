"""Where a log is kept."""

from __future__ import annotations

from companyos.ledger.stores.interface import Batch, Row, Store
from companyos.ledger.stores.sqlite import SqliteStore

__all__ = ("Batch", "Row", "SqliteStore", "Store")
