"""What can be wrong with an append or with a log, each kind by its own name."""

from __future__ import annotations

from companyos.errors import IntegrityError, RefusedError, UnverifiableError, UserError

__all__ = (
    "CheckpointInvalidError",
    "ClockBackwardsError",
    "EntryAlteredError",
    "EntryInvalidError",
    "EntryMissingError",
    "EntryRefusedError",
    "ErasedError",
    "IdReusedError",
    "LedgerDamagedError",
    "NotPlacedError",
    "PayloadTooLargeError",
    "PersonUnknownError",
    "ProofInvalidError",
    "RolledBackError",
    "SplitViewError",
    "StoreBusyError",
    "StoreFullError",
    "StoreTamperedError",
    "StoreUnreadableError",
    "TailDroppedError",
    "TreeAlteredError",
)


class EntryInvalidError(UserError, ValueError):
    """What was to be appended cannot be an entry."""

    code = "ledger.entry_invalid"


class PayloadTooLargeError(EntryInvalidError):
    """A payload is beyond the limit for detached payloads."""

    code = "ledger.payload_too_large"


class EntryRefusedError(RefusedError):
    """A validator refused the entry; nothing was written."""

    code = "ledger.entry_refused"


class IdReusedError(IntegrityError):
    """An id is taken by an entry with other content."""

    code = "ledger.id_reused"


class ErasedError(UnverifiableError):
    """A personal value cannot be read: the key of its data subject is gone, or not at hand."""

    code = "ledger.erased"


class StoreUnreadableError(UnverifiableError):
    """The store of the log cannot be opened, read or written."""

    code = "ledger.store_unreadable"


class StoreBusyError(StoreUnreadableError):
    """Another writer is at work and did not end in time; nothing was written."""

    code = "ledger.store_busy"


class StoreFullError(StoreUnreadableError):
    """The store could not be written for lack of space, or a limit; nothing was written."""

    code = "ledger.store_full"


class PersonUnknownError(UserError):
    """Nothing is kept about the person who was to be erased."""

    code = "ledger.person_unknown"


class NotPlacedError(UnverifiableError):
    """An entry has no place in the log yet, because the transaction that it is part of is not committed."""

    code = "ledger.not_placed"


class ClockBackwardsError(UnverifiableError):
    """The clock shows a time well before the newest entry's; nothing was written."""

    code = "ledger.clock_backwards"


class LedgerDamagedError(IntegrityError):
    """The log is not what was written; the base of every kind of damage."""

    code = "ledger.damaged"

    def __init__(
        self,
        what: str,
        *,
        index: int | None = None,
        got: object = None,
        expected: object = None,
        hint: str | None = None,
    ) -> None:
        self.index = index
        """The first index known to be bad, if one is."""
        place = "" if index is None else f" (first bad index {index})"
        super().__init__(f"{what}{place}", got=got, expected=expected, hint=hint)


class EntryAlteredError(LedgerDamagedError):
    """An entry's bytes are not those that were logged."""

    code = "ledger.entry_altered"


class EntryMissingError(LedgerDamagedError):
    """There is a hole in the log, or an entry out of its place."""

    code = "ledger.entry_missing"


class TreeAlteredError(LedgerDamagedError):
    """The entries do not give the root that was signed."""

    code = "ledger.tree_altered"


class TailDroppedError(LedgerDamagedError):
    """The log is shorter than a checkpoint of it that is at hand."""

    code = "ledger.tail_dropped"


class CheckpointInvalidError(LedgerDamagedError):
    """A checkpoint is malformed, or not signed by the log's key."""

    code = "ledger.checkpoint_invalid"


class RolledBackError(LedgerDamagedError):
    """The log is shorter than an anchor kept outside of it."""

    code = "ledger.rolled_back"


class SplitViewError(LedgerDamagedError):
    """The log and an anchor kept outside of it show different histories."""

    code = "ledger.split_view"


class StoreTamperedError(LedgerDamagedError):
    """Files of the store were removed or replaced while it was open; nothing was written."""

    code = "ledger.store_tampered"


class ProofInvalidError(IntegrityError):
    """A proof does not lead from the entry to the signed root."""

    code = "ledger.proof_invalid"
