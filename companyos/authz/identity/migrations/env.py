"""What Alembic runs: the migrations on the connection that it was given, in its transaction."""  # noqa: INP001 - Alembic loads it by its path

from __future__ import annotations

from alembic import context

from companyos.authz.identity.migration import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
