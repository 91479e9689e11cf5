"""The tables: made and migrated with Alembic, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from companyos._extras import require
from companyos.authz.identity.errors import IdentitySchemaError

__all__ = ("HEAD", "REVISIONS", "VERSION_TABLE", "check_revision", "migrate", "revision_of")

REVISIONS = ("001_create_identity_tables",)
"""All revisions that this code knows, oldest first."""
HEAD = REVISIONS[-1]
VERSION_TABLE = "identity_alembic_version"
"""Apart from the version table of others who keep their tables in the same database."""
_ONE_AT_A_TIME = threading.Lock()  # Alembic keeps what it works on in module globals


def revision_of(connection: Any) -> str | None:
    """The revision of the tables that a connection sees, None where there are none."""
    sa = require("sqlalchemy", extra="identity")
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.exec_driver_sql(f"SELECT max(version_num) FROM {VERSION_TABLE}").scalar()  # noqa: S608 - constant
    return found


def check_revision(revision: str | None, place: str) -> None:
    """Fail unless this code knows the revision.

    Raises:
        IdentitySchemaError: it was written by a newer companyos.
    """
    if revision is not None and revision not in REVISIONS:
        raise IdentitySchemaError(
            f"the identity tables in {place} were made by a newer companyos",
            got=revision,
            expected=f"at most {HEAD}",
            hint="pip install --upgrade companyos",
        )


def migrate(connection: Any, verb: str = "upgrade", revision: str = "head") -> None:
    """Bring the tables up (`upgrade`) or back (`downgrade`) to a revision, within the connection's transaction.

    Back to `base` drops them with all that is in them.

    Raises:
        MissingExtraError: Alembic is not installed.
        IdentitySchemaError: the migration failed; nothing was changed then.
    """
    command = require("alembic.command", extra="identity")
    sa = require("sqlalchemy", extra="identity")
    configuration = require("alembic.config", extra="identity").Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    configuration.set_main_option("path_separator", "os")
    configuration.attributes["connection"] = connection
    try:
        with _ONE_AT_A_TIME:
            getattr(command, verb)(configuration, revision)
    except sa.exc.SQLAlchemyError as error:
        raise IdentitySchemaError(
            "the identity tables cannot be migrated", got=getattr(error, "orig", error)
        ) from error
