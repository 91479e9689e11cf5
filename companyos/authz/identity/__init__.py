"""Who is who: subjects, attributes, roles and bindings, in SQL, every change of them an entry of the ledger.

Start with `IdentityStore.open(url, ledger)`, then `put_subject()` and `resolve()`.
"""

from typing import TYPE_CHECKING

from companyos._lazy import attach

if TYPE_CHECKING:
    from companyos.authz.identity.errors import (
        IdentityBehindError,
        IdentityConflictError,
        IdentityDamagedError,
        IdentityInvalidError,
        IdentitySchemaError,
        IdentityUnavailableError,
        UnknownSubjectError,
    )
    from companyos.authz.identity.files import dump_directory, load_directory
    from companyos.authz.identity.plan import Step
    from companyos.authz.identity.records import Attribute, Binding, Bundle, Directory, Role, Subject
    from companyos.authz.identity.store import IdentityStore

__all__ = (
    "Attribute",
    "Binding",
    "Bundle",
    "Directory",
    "IdentityBehindError",
    "IdentityConflictError",
    "IdentityDamagedError",
    "IdentityInvalidError",
    "IdentitySchemaError",
    "IdentityStore",
    "IdentityUnavailableError",
    "Role",
    "Step",
    "Subject",
    "UnknownSubjectError",
    "dump_directory",
    "load_directory",
)

_HOMES = {
    "errors": (
        "IdentityBehindError",
        "IdentityConflictError",
        "IdentityDamagedError",
        "IdentityInvalidError",
        "IdentitySchemaError",
        "IdentityUnavailableError",
        "UnknownSubjectError",
    ),
    "files": ("dump_directory", "load_directory"),
    "plan": ("Step",),
    "records": ("Attribute", "Binding", "Bundle", "Directory", "Role", "Subject"),
    "store": ("IdentityStore",),
}

__getattr__, __dir__ = attach(__name__, _HOMES)
