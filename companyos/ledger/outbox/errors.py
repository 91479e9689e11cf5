"""What can be wrong with an outbox, each kind under a stable code."""

from __future__ import annotations

from companyos.errors import UnverifiableError, UserError

__all__ = ("OutboxConflictError", "OutboxForeignError", "OutboxUnavailableError", "OutboxUnknownError")


class OutboxConflictError(UserError):
    """The id is taken by an item with another body; nothing was written."""

    code = "outbox.conflict"


class OutboxForeignError(UserError):
    """The caller's transaction is in another database than the outbox, where nobody would look for the item."""

    code = "outbox.foreign"


class OutboxUnknownError(UserError):
    """There is no such item in the state that is needed for this."""

    code = "outbox.unknown"
    exit_status = 1


class OutboxUnavailableError(UnverifiableError):
    """The database of the outbox does not answer; what was to be written may or may not be there."""

    code = "outbox.unavailable"
