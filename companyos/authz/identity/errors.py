"""What can be wrong with an identity, or with the store that keeps it, each kind by its own name."""

from __future__ import annotations

from companyos.errors import IntegrityError, RefusedError, UnverifiableError, UserError

__all__ = (
    "IdentityBehindError",
    "IdentityConflictError",
    "IdentityDamagedError",
    "IdentityInvalidError",
    "IdentitySchemaError",
    "IdentityUnavailableError",
    "UnknownSubjectError",
)


class IdentityInvalidError(UserError, ValueError):
    """A subject, attribute, role or binding is not one: a wrong field, value or id."""

    code = "identity.invalid"


class IdentityConflictError(UserError):
    """A change does not fit what is there, such as an id that looks like another; nothing was done."""

    code = "identity.conflict"
    exit_status = 1


class UnknownSubjectError(RefusedError):
    """There is no subject of this id; never to be read as a subject without attributes."""

    code = "identity.subject_unknown"


class IdentityUnavailableError(UnverifiableError):
    """The identity store does not answer; a change that was refused with it may or may not have been made."""

    code = "identity.unavailable"


class IdentityBehindError(IdentityUnavailableError):
    """The identity store does not reflect its ledger: it lost state, or it belongs to another log."""

    code = "identity.behind"


class IdentitySchemaError(UnverifiableError):
    """The tables are of a newer version, or cannot be migrated here."""

    code = "identity.schema"


class IdentityDamagedError(IntegrityError):
    """The identity store holds something else than what the ledger says."""

    code = "identity.damaged"
