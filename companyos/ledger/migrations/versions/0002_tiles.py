"""Schema 2: the tree in tiles; payloads have a class that says how long they are kept; deposits can be refused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from companyos.ledger.migrations.columns import BYTES, NUMBER, SECONDS, SMALL, TEXT
from companyos.ledger.migrations.growing import grow

__all__ = ("upgrade",)

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables of now, fill them from those of before, and drop these."""
    for table in ("detached", "head"):
        op.rename_table(table, f"{table}_before")
    _create()
    op.execute("INSERT INTO head SELECT one, note FROM head_before")
    op.execute("INSERT INTO detached SELECT hash, salt, payload, '', 0 FROM detached_before")
    for table in ("detached_before", "head_before", "node"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "sqlite":
        op.create_table("inbox_file", sa.Column("path", TEXT, primary_key=True), sqlite_with_rowid=False)
    else:
        _create_on_a_server()
    grow(op.get_bind())


def _create() -> None:
    op.create_table(
        "tile",
        sa.Column("level", SMALL, primary_key=True, autoincrement=False),
        sa.Column("idx", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("hashes", BYTES, nullable=False),
    )
    op.create_table(
        "detached",
        sa.Column("hash", BYTES, primary_key=True),
        sa.Column("salt", BYTES, nullable=False),
        sa.Column("payload", BYTES, nullable=False),
        sa.Column("retention", TEXT, nullable=False),
        sa.Column("kept_since", SECONDS, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("detached_by_retention", "detached", ["retention", "kept_since"])
    op.create_table(
        "head",
        sa.Column("one", SMALL, sa.CheckConstraint("one IN (1, 2)"), primary_key=True, autoincrement=False),
        sa.Column("note", BYTES, nullable=False),
        postgresql_with={"fillfactor": 10},
    )
    op.create_table(
        "refusal",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("source", TEXT, primary_key=True),
        sa.Column("digest", BYTES, primary_key=True),
        sa.Column("reason", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("source", "id", "digest"),
    )


def _create_on_a_server() -> None:
    op.execute("ALTER TABLE tile ALTER COLUMN hashes SET STORAGE EXTERNAL")
    # The row is the lock of who writes, so it is there before there is a checkpoint.
    op.execute("INSERT INTO head SELECT 1, '' WHERE NOT EXISTS (SELECT FROM head)")
    op.create_table(
        "inbox",
        sa.Column("seq", NUMBER, sa.Identity(always=True), primary_key=True),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        *(sa.Column(name, BYTES, nullable=False) for name in ("raw", "leaf", "sameness")),
        *(sa.Column(name, BYTES) for name in ("digest", "salt", "payload")),
        sa.Column("retention", TEXT),
        sa.Column("kept_since", SECONDS),
    )
