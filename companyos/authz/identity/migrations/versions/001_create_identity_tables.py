"""Create the tables: subjects, attributes, roles, role_bindings, policy_bundles, and two of the store's own."""  # noqa: INP001 - Alembic loads it by its path

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

__all__ = ("downgrade", "upgrade")

revision = "001_create_identity_tables"
down_revision = None

# Written out, and not taken from the code: what a revision makes stays as it is when the code goes on.
OWNED = (
    "(scope = 'subject' AND subject_id IS NOT NULL AND workspace_id IS NULL AND org_id IS NULL) OR "
    "(scope = 'workspace' AND subject_id IS NULL AND workspace_id IS NOT NULL AND org_id IS NULL) OR "
    "(scope = 'org' AND subject_id IS NULL AND workspace_id IS NULL AND org_id IS NOT NULL)"
)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "subjects",
        *_texts("id", "type", "org_id?", "workspace_id?", "status"),
        _time("created_at", null=False),
        *_texts("skeleton", "pseudonym"),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint("type IN ('user', 'service')", name="subjects_type"),
        sa.CheckConstraint("status IN ('active', 'suspended', 'deleted')", name="subjects_status"),
    )
    op.create_index("ix_subjects_skeleton", "subjects", ["skeleton"])
    op.create_index("ix_subjects_pseudonym", "subjects", ["pseudonym"])
    op.create_table(
        "attributes",
        *_texts("id", "name", "value", "scope", "subject_id?", "org_id?", "workspace_id?", "source"),
        sa.Column("ttl", sa.BigInteger),
        _time("expires_at"),
        sa.Column("entry_index", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["subject_id"], ["subjects.id"], ondelete="CASCADE"),
        sa.CheckConstraint(OWNED, name="attributes_owner"),
        sa.CheckConstraint("ttl > 0", name="attributes_ttl"),
        sa.UniqueConstraint("subject_id", "name", "source", name="attributes_of_subject"),
        sa.UniqueConstraint("org_id", "name", "source", name="attributes_of_org"),
        sa.UniqueConstraint("workspace_id", "name", "source", name="attributes_of_workspace"),
    )
    _create_roles()
    _create_bundles()
    _create_own()


def downgrade() -> None:
    """Drop the tables with all that is in them."""
    for table in (
        "identity_rejected",
        "identity_store",
        "policy_bundles",
        "role_bindings",
        "roles",
        "attributes",
        "subjects",
    ):
        op.drop_table(table)


def _create_roles() -> None:
    op.create_table(
        "roles",
        *_texts("id", "name", "org_id?", "description", "skeleton"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("org_id", "name", name="roles_name"),
    )
    op.create_index("roles_name_of_all", "roles", ["name"], unique=True, **_where("org_id IS NULL"))
    op.create_index("ix_roles_skeleton", "roles", ["skeleton"])
    op.create_table(
        "role_bindings",
        *_texts("id", "subject_id", "role_id", "workspace_id?"),
        _time("expires_at"),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["subject_id"], ["subjects.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["role_id"], ["roles.id"], ondelete="RESTRICT"),
        sa.UniqueConstraint("subject_id", "role_id", "workspace_id", name="role_bindings_once"),
    )
    everywhere = _where("workspace_id IS NULL")
    op.create_index("role_bindings_everywhere", "role_bindings", ["subject_id", "role_id"], unique=True, **everywhere)
    op.create_index("ix_role_bindings_role_id", "role_bindings", ["role_id"])


def _create_bundles() -> None:
    op.create_table(
        "policy_bundles",
        *_texts("bundle_id", "version", "stage", "checksum", "created_by?", "pseudonym?"),
        sa.PrimaryKeyConstraint("bundle_id", "version", "stage"),
        sa.CheckConstraint("stage IN ('dev', 'staging', 'prod')", name="policy_bundles_stage"),
    )
    op.create_index("ix_policy_bundles_pseudonym", "policy_bundles", ["pseudonym"])


def _create_own() -> None:
    op.create_table(
        "identity_store",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        *_texts("origin?"),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("last_index", sa.BigInteger),
        *_texts("last_leaf?"),
        sa.CheckConstraint("id = 1", name="identity_store_one_row"),
    )
    store = sa.table("identity_store", sa.column("id"), sa.column("position"))
    op.bulk_insert(store, [{"id": 1, "position": 0}])
    op.create_table(
        "identity_rejected",
        sa.Column("entry_index", sa.BigInteger, primary_key=True, autoincrement=False),
        *_texts("why"),
    )


def _texts(*names: str) -> list[sa.Column[str]]:
    """Columns of text; a name with a question mark may hold NULL."""
    return [sa.Column(name.removesuffix("?"), sa.Text, nullable=name.endswith("?")) for name in names]


def _time(name: str, *, null: bool = True) -> sa.Column[Any]:
    native = op.get_bind().dialect.name == "postgresql"
    return sa.Column(name, sa.DateTime(timezone=True) if native else sa.Text, nullable=null)


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
