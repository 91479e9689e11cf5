"""What can be wrong with a state, or with the stores that keep it, each kind by its own name."""

from __future__ import annotations

from companyos.errors import IntegrityError, UnverifiableError, UserError

__all__ = (
    "CacheUnreachableError",
    "StateConflictError",
    "StateDamagedError",
    "StateInvalidError",
    "StatePayloadTooLargeError",
    "StateSchemaError",
    "StateUnavailableError",
)


class StateInvalidError(UserError, ValueError):
    """What was to be kept cannot be a state: no JSON, or a session id that cannot be a key."""

    code = "state.invalid"


class StatePayloadTooLargeError(StateInvalidError):
    """A payload is beyond the limit."""

    code = "state.payload_too_large"


class StateConflictError(UserError):
    """The state has another version than the one that the caller expected; nothing was written."""

    code = "state.conflict"
    exit_status = 1


class StateDamagedError(IntegrityError):
    """The database holds a payload that is not the one that was saved."""

    code = "state.damaged"


class StateUnavailableError(UnverifiableError):
    """The database does not answer; a write that was refused with it may or may not have been made."""

    code = "state.unavailable"


class StateSchemaError(UnverifiableError):
    """The tables are missing, of a newer version, or cannot be migrated here."""

    code = "state.schema"


class CacheUnreachableError(UnverifiableError):
    """The cache does not answer as a cache does; the repository goes on without it and never lets this out."""

    code = "state.cache_unreachable"
