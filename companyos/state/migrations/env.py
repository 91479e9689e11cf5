"""What Alembic runs: the migrations on the connection that it was given, in its transaction."""  # noqa: INP001 - Alembic loads it by its path

from __future__ import annotations

from alembic import context

from companyos.state.migration import VERSION_TABLE

_connection = context.config.attributes["connection"]
if _connection.dialect.name == "postgresql":
    # Two processes may open the same empty database at once; the lock goes with the transaction.
    _connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4843270218)")
context.configure(connection=_connection, version_table=VERSION_TABLE)
context.run_migrations()
