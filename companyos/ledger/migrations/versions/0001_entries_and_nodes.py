"""Schema 1: entries, every inner node of the tree in a row of its own, detached payloads and the checkpoint."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from companyos.ledger.migrations.columns import BYTES, NUMBER, SMALL, TEXT

__all__ = ("upgrade",)

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "entry",
        sa.Column("idx", NUMBER, sa.CheckConstraint("idx >= 0"), primary_key=True, autoincrement=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("raw", BYTES, nullable=False),
        sa.Column("leaf", BYTES, nullable=False),
        sa.Column("sameness", BYTES, nullable=False),
        sa.UniqueConstraint("source", "id"),
    )
    op.create_table(
        "node",
        sa.Column("level", SMALL, primary_key=True, autoincrement=False),
        sa.Column("idx", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("hash", BYTES, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "detached",
        sa.Column("hash", BYTES, primary_key=True),
        sa.Column("salt", BYTES, nullable=False),
        sa.Column("payload", BYTES, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "head",
        sa.Column("one", SMALL, sa.CheckConstraint("one = 1"), primary_key=True, autoincrement=False),
        sa.Column("note", BYTES, nullable=False),
    )
