"""The transactional outbox: what is to be done elsewhere is written down in the same transaction as its cause.

Start here: `open_outbox("sqlite:///notify.db", "notify")`.
"""

from companyos.ledger.outbox.errors import (
    OutboxConflictError,
    OutboxForeignError,
    OutboxUnavailableError,
    OutboxUnknownError,
)
from companyos.ledger.outbox.interface import Draft, Item, Outbox, Record, Result, State
from companyos.ledger.outbox.opening import open_outbox

__all__ = (
    "Draft",
    "Item",
    "Outbox",
    "OutboxConflictError",
    "OutboxForeignError",
    "OutboxUnavailableError",
    "OutboxUnknownError",
    "Record",
    "Result",
    "State",
    "open_outbox",
)
