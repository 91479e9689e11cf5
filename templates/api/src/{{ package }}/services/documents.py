"""Documents in the database; deleting one keeps its row and hides it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..models.documents import Document, NewDocument

if TYPE_CHECKING:
    import sqlite3

    from ..models.accounts import Account
    from .database import Database

__all__ = ("Documents",)


class Documents:
    """The repository of documents. It asks nobody for permission; `Access` does."""

    def __init__(self, database: Database, region: str) -> None:
        self._database = database
        self._region = region

    def draft(self, new: NewDocument, owner: Account) -> Document:
        """A document as it would be stored, so that storing it can be decided on."""
        return Document(
            **new.model_dump(),
            id=uuid.uuid4().hex,
            owner=owner.id,
            org_id=owner.org_id,
            region=self._region,
            created_at=datetime.now(UTC),
        )

    def add(self, document: Document) -> Document:
        """Store a document."""
        values = document.model_dump(mode="json")
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        with self._database.work() as connection:
            # The names are the fields of our own model.
            connection.execute(f"INSERT INTO documents ({names}) VALUES ({marks})", values)  # noqa: S608
        return document

    def get(self, document_id: str) -> Document | None:
        """The document with that id, unless it was deleted."""
        with self._database.work() as connection:
            row = connection.execute(
                "SELECT * FROM documents WHERE id = ? AND deleted_at IS NULL", (document_id,)
            ).fetchone()
        return _document(row) if row else None

    def list(self, owner: str, *, limit: int, after: str | None) -> list[Document]:
        """Documents of an owner, newest first, starting after the one with id `after`."""
        with self._database.work() as connection:
            rows = connection.execute(
                "SELECT * FROM documents WHERE owner = :owner AND deleted_at IS NULL"
                " AND (:after IS NULL OR (created_at, id) <"
                " (SELECT created_at, id FROM documents WHERE id = :after AND owner = :owner))"
                " ORDER BY created_at DESC, id DESC LIMIT :limit",
                {"owner": owner, "after": after, "limit": limit},
            ).fetchall()
        return [_document(row) for row in rows]

    def delete(self, document_id: str) -> bool:
        """Hide a document; false if there is none."""
        with self._database.work() as connection:
            changed = connection.execute(
                "UPDATE documents SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL",
                (datetime.now(UTC).isoformat(), document_id),
            )
        return changed.rowcount == 1


def _document(row: sqlite3.Row) -> Document:
    return Document.model_validate({name: row[name] for name in row.keys() if name != "deleted_at"})  # noqa: SIM118
