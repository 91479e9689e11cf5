"""Create the tables of states: sessions, state_audit, state_hash_index, state_fabric."""  # noqa: INP001 - Alembic loads it by its path

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

__all__ = ("downgrade", "upgrade")

revision = "001_create_sessions_tables"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("payload", sa.Text),
        sa.Column("payload_hash", sa.Text),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "state_audit",
        *_place_in_the_feed(),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "state_hash_index",
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text, primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_state_hash_index_hash", "state_hash_index", ["hash"])
    op.create_table(
        "state_fabric",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("version_floor", sa.BigInteger, nullable=False),
        sa.Column("identity", sa.Text, nullable=False),
    )
    fabric = sa.table("state_fabric", sa.column("id"), sa.column("version_floor"), sa.column("identity"))
    op.bulk_insert(fabric, [{"id": 1, "version_floor": 0, "identity": secrets.token_hex(16)}])


def downgrade() -> None:
    """Drop the tables with all that is in them."""
    for table in ("state_fabric", "state_hash_index", "state_audit", "sessions"):
        op.drop_table(table)


def _place_in_the_feed() -> list[sa.Column[int] | sa.PrimaryKeyConstraint]:
    # Ids of PostgreSQL are not in the order of commits; transaction ids, compared with the oldest one still running,
    # tell what a reader may have missed. SQLite has one writer at a time, so there the id itself will do.
    if op.get_bind().dialect.name != "postgresql":
        return [sa.Column("id", sa.Integer, primary_key=True)]
    transaction = sa.text("pg_current_xact_id()::text::bigint")
    return [
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("position", sa.BigInteger, server_default=transaction, nullable=False),
        sa.PrimaryKeyConstraint("position", "id"),
    ]
