"""The tables: made and migrated with Alembic, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from companyos._extras import require
from companyos.state.errors import StateSchemaError

__all__ = ("HEAD", "REVISIONS", "VERSION_TABLE", "check_revision", "downgrade", "upgrade")

REVISIONS = ("001_create_sessions_tables",)
"""All revisions that this code knows, oldest first."""
HEAD = REVISIONS[-1]
VERSION_TABLE = "state_alembic_version"
"""Apart from the version table of others who keep their tables in the same database."""
_ONE_AT_A_TIME = threading.Lock()  # Alembic keeps what it works on in module globals


def check_revision(revision: str | None, place: str) -> None:
    """Fail unless this code knows the revision.

    Raises:
        StateSchemaError: it was written by a newer companyos.
    """
    if revision is not None and revision not in REVISIONS:
        raise StateSchemaError(
            f"the tables of states in {place} were made by a newer companyos",
            got=revision,
            expected=f"at most {HEAD}",
            hint="pip install --upgrade companyos",
        )


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the tables at a database URL up to a revision.

    Raises:
        MissingExtraError: Alembic or SQLAlchemy is not installed.
        StateSchemaError: the migration failed; nothing was changed then.
    """
    _run("upgrade", url, revision)


def downgrade(url: str, revision: str) -> None:
    """Take the tables at a database URL back to a revision; to `base` drops them with all that is in them.

    Raises:
        MissingExtraError: Alembic or SQLAlchemy is not installed.
        StateSchemaError: the migration failed; nothing was changed then.
    """
    _run("downgrade", url, revision)


def _run(verb: str, url: str, revision: str) -> None:
    command = require("alembic.command", extra="state")
    alchemy = require("sqlalchemy", extra="state")
    url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    engine = alchemy.create_engine(url, poolclass=alchemy.pool.NullPool)
    try:
        with _ONE_AT_A_TIME, engine.begin() as connection:
            getattr(command, verb)(_configuration(connection), revision)
    except alchemy.exc.SQLAlchemyError as error:
        raise StateSchemaError("the tables of states cannot be migrated", got=error) from error
    finally:
        engine.dispose()


def _configuration(connection: Any) -> Any:
    configuration = require("alembic.config", extra="state").Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    configuration.set_main_option("path_separator", "os")
    configuration.attributes["connection"] = connection
    return configuration
