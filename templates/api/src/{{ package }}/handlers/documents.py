"""Documents: keep, read, list, and hide them. Every step is decided on first."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Response

from ..models.accounts import Caller
from ..models.documents import Document, DocumentList, DocumentSummary, NewDocument
from ..services import Services
from ..services.access import NotAllowedError
from .dependencies import CallerDep, ServicesDep
from .problems import REFUSALS

__all__ = ("router",)

router = APIRouter(prefix="/documents", tags=["documents"], responses=REFUSALS)

DocumentId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
PREVIEW_CHARACTERS = 80


@router.post("", status_code=201)
def create(new: NewDocument, services: ServicesDep, caller: CallerDep, response: Response) -> Document:
    """Keep a document."""
    draft = services.documents.draft(new, caller.account)
    document = services.access.to_document(caller, "write", draft, lambda: services.documents.add(draft))
    response.headers["location"] = f"/documents/{document.id}"
    return document


@router.get("")
def index(
    services: ServicesDep,
    caller: CallerDep,
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
    after: Annotated[str | None, Query(pattern=r"^[0-9a-f]{32}$")] = None,
) -> DocumentList:
    """The caller's documents, newest first; what may not be read is left out."""
    found = services.documents.list(caller.account.id, limit=limit + 1, after=after)
    preview = services.platform.features.get_boolean_value("document-preview", False)
    items = [_summary(services, caller, document, preview) for document in found[:limit]]
    following = found[limit - 1].id if len(found) > limit else None
    return DocumentList(items=[item for item in items if item], next=following)


@router.get("/{document_id}")
def read(document_id: DocumentId, services: ServicesDep, caller: CallerDep) -> Document:
    """One document, masked where the caller's clearance is too low."""
    document = _existing(services, document_id)
    return services.access.to_document(caller, "read", document, lambda: document)


@router.delete("/{document_id}", status_code=204)
def delete(document_id: DocumentId, services: ServicesDep, caller: CallerDep) -> None:
    """Hide a document; needs a second factor. Its row is kept for as long as the records must be."""
    document = _existing(services, document_id)
    services.access.to_document(caller, "delete", document, lambda: {"deleted": services.documents.delete(document.id)})


def _existing(services: Services, document_id: str) -> Document:
    document = services.documents.get(document_id)
    if document is None:
        raise HTTPException(404, "there is no such document")
    return document


def _summary(services: Services, caller: Caller, document: Document, preview: bool) -> DocumentSummary | None:
    try:
        seen = services.access.to_document(caller, "read", document, lambda: document)
    except NotAllowedError:
        return None
    text = seen.body[:PREVIEW_CHARACTERS] if preview else None
    return DocumentSummary(id=seen.id, title=seen.title, created_at=seen.created_at, preview=text)
