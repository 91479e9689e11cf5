"""The tables, as SQLAlchemy sees them; the migrations make them, and a test compares the two."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.authz.identity.records import SCOPES, STAGES, STATUSES, TYPES, instant, moment

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ("Tables", "one_of", "owned", "tables", "time_type")


@dataclass(frozen=True, slots=True)
class Tables:
    """Every table of an identity store."""

    metadata: Any
    """What holds them all."""
    subjects: Any
    """Who."""
    attributes: Any
    """What is known about subjects, workspaces and organisations."""
    roles: Any
    """Which roles there are."""
    bindings: Any
    """`role_bindings`: who has which."""
    bundles: Any
    """`policy_bundles`: which versions of policies have come how far."""
    store: Any
    """`identity_store`, one row: which log the store reflects, and how much of it."""
    rejected: Any
    """`identity_rejected`: entries of the log that could not be what they say, and were passed over."""


def one_of(column: str, values: tuple[str, ...]) -> str:
    """SQL: a column holds one of these words."""
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


def owned() -> str:
    """SQL: an attribute's scope says whose id is set, and no other one is."""
    ids = {"subject": "subject_id", "workspace": "workspace_id", "org": "org_id"}
    return " OR ".join(
        f"(scope = '{scope}' AND "
        + " AND ".join(f"{column} IS {'NOT ' if owner == scope else ''}NULL" for owner, column in ids.items())
        + ")"
        for scope in SCOPES
    )


@cache
def time_type() -> Any:
    """A column type for aware times: PostgreSQL's own, and text that sorts like time where there is none."""
    sa = require("sqlalchemy", extra="identity")

    class Time(sa.types.TypeDecorator):  # type: ignore[misc, name-defined] # sqlalchemy is optional, its classes unknown
        impl = sa.Text
        cache_ok = True

        def load_dialect_impl(self, dialect: Any) -> Any:
            native = dialect.name == "postgresql"
            return dialect.type_descriptor(sa.DateTime(timezone=True) if native else sa.Text())

        def process_bind_param(self, value: datetime | None, dialect: Any) -> Any:
            return value if value is None or dialect.name == "postgresql" else moment(value)

        def process_result_value(self, value: Any, dialect: Any) -> datetime | None:  # noqa: ARG002 - SQLAlchemy calls it so
            return None if value is None else instant("a stored time", value)

    return Time


@cache
def tables() -> Tables:
    """The tables.

    Raises:
        MissingExtraError: SQLAlchemy is not installed.
    """
    sa = require("sqlalchemy", extra="identity")
    metadata = sa.MetaData()
    parts = (_subjects, _attributes, _roles, _bindings, _bundles, _store, _rejected)
    return Tables(metadata, *(part(sa, metadata) for part in parts))


def _subjects(sa: Any, metadata: Any) -> Any:
    return sa.Table(
        "subjects",
        metadata,
        _text(sa, "id", key=True),
        _text(sa, "type"),
        _text(sa, "org_id", null=True),
        _text(sa, "workspace_id", null=True),
        _text(sa, "status"),
        sa.Column("created_at", time_type(), nullable=False),
        _text(sa, "skeleton"),
        _text(sa, "pseudonym"),
        sa.CheckConstraint(one_of("type", TYPES), name="subjects_type"),
        sa.CheckConstraint(one_of("status", STATUSES), name="subjects_status"),
        sa.Index("ix_subjects_skeleton", "skeleton"),
        sa.Index("ix_subjects_pseudonym", "pseudonym"),
    )


def _attributes(sa: Any, metadata: Any) -> Any:
    return sa.Table(
        "attributes",
        metadata,
        _text(sa, "id", key=True),
        _text(sa, "name"),
        _text(sa, "value"),
        _text(sa, "scope"),
        _text(sa, "subject_id", sa.ForeignKey("subjects.id", ondelete="CASCADE"), null=True),
        _text(sa, "org_id", null=True),
        _text(sa, "workspace_id", null=True),
        _text(sa, "source"),
        sa.Column("ttl", sa.BigInteger),
        sa.Column("expires_at", time_type()),
        sa.Column("entry_index", sa.BigInteger, nullable=False),
        sa.CheckConstraint(owned(), name="attributes_owner"),
        sa.CheckConstraint("ttl > 0", name="attributes_ttl"),
        sa.UniqueConstraint("subject_id", "name", "source", name="attributes_of_subject"),
        sa.UniqueConstraint("org_id", "name", "source", name="attributes_of_org"),
        sa.UniqueConstraint("workspace_id", "name", "source", name="attributes_of_workspace"),
    )


def _roles(sa: Any, metadata: Any) -> Any:
    return sa.Table(
        "roles",
        metadata,
        _text(sa, "id", key=True),
        _text(sa, "name"),
        _text(sa, "org_id", null=True),
        _text(sa, "description"),
        _text(sa, "skeleton"),
        sa.UniqueConstraint("org_id", "name", name="roles_name"),
        sa.Index("roles_name_of_all", "name", unique=True, **_where(sa, "org_id IS NULL")),
        sa.Index("ix_roles_skeleton", "skeleton"),
    )


def _bindings(sa: Any, metadata: Any) -> Any:
    return sa.Table(
        "role_bindings",
        metadata,
        _text(sa, "id", key=True),
        _text(sa, "subject_id", sa.ForeignKey("subjects.id", ondelete="CASCADE")),
        _text(sa, "role_id", sa.ForeignKey("roles.id", ondelete="RESTRICT")),
        _text(sa, "workspace_id", null=True),
        sa.Column("expires_at", time_type()),
        sa.UniqueConstraint("subject_id", "role_id", "workspace_id", name="role_bindings_once"),
        sa.Index(
            "role_bindings_everywhere", "subject_id", "role_id", unique=True, **_where(sa, "workspace_id IS NULL")
        ),
        sa.Index("ix_role_bindings_role_id", "role_id"),
    )


def _bundles(sa: Any, metadata: Any) -> Any:
    return sa.Table(
        "policy_bundles",
        metadata,
        _text(sa, "bundle_id", key=True),
        _text(sa, "version", key=True),
        _text(sa, "stage", key=True),
        _text(sa, "checksum"),
        _text(sa, "created_by", null=True),
        _text(sa, "pseudonym", null=True),
        sa.CheckConstraint(one_of("stage", STAGES), name="policy_bundles_stage"),
        sa.Index("ix_policy_bundles_pseudonym", "pseudonym"),
    )


def _store(sa: Any, metadata: Any) -> Any:
    return sa.Table(
        "identity_store",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        _text(sa, "origin", null=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("last_index", sa.BigInteger),
        _text(sa, "last_leaf", null=True),
        sa.CheckConstraint("id = 1", name="identity_store_one_row"),
    )


def _rejected(sa: Any, metadata: Any) -> Any:
    return sa.Table(
        "identity_rejected",
        metadata,
        sa.Column("entry_index", sa.BigInteger, primary_key=True, autoincrement=False),
        _text(sa, "why"),
    )


def _text(sa: Any, name: str, *more: Any, null: bool = False, key: bool = False) -> Any:
    return sa.Column(name, sa.Text, *more, nullable=null, primary_key=key)


def _where(sa: Any, condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
