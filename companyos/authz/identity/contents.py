"""What is in the tables, as a whole."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from companyos.authz.identity.applying import record_of
from companyos.authz.identity.records import Bundle, Directory, moment
from companyos.authz.identity.tables import tables

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("bundles_in", "difference", "directory_in", "rows_in")


def directory_in(connection: Any) -> Directory:
    """Everything about who is who that a connection sees."""
    known = tables()
    parts = {
        "subject": known.subjects,
        "attribute": known.attributes,
        "role": known.roles,
        "binding": known.bindings,
        "bundle": known.bundles,
    }
    return Directory.of(
        record_of(kind, row) for kind, table in parts.items() for row in connection.execute(table.select()).mappings()
    )


def bundles_in(connection: Any) -> tuple[Bundle, ...]:
    """Every version of a bundle, in the order of their keys."""
    rows = connection.execute(tables().bundles.select()).mappings()
    found = [record for record in (record_of("bundle", row) for row in rows) if isinstance(record, Bundle)]
    return tuple(sorted(found, key=lambda bundle: bundle.key))


def rows_in(connection: Any) -> dict[str, list[list[Any]]]:
    """Every row of every table that comes out of the log, as JSON, the same whatever the database is."""
    return {
        table.name: sorted(([_plain(value) for value in row] for row in connection.execute(table.select())), key=str)
        for table in tables().metadata.sorted_tables
        if table is not tables().store
    }


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """The tables whose rows differ."""
    return [name for name in ours if ours[name] != theirs[name]]


def _plain(value: Any) -> Any:
    return moment(value) if isinstance(value, datetime) else value
