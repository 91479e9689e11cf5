"""Documents, as they are stored and as they go in and out."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ("Document", "DocumentList", "DocumentSummary", "NewDocument")


class NewDocument(BaseModel):
    """A document to keep."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(min_length=1, max_length=200)
    body: str = Field(max_length=100_000)
    contains_pii: bool = Field(False, description="Whether it holds personal data.")
    required_clearance: Literal["low", "medium", "high"] = Field(
        "low", description="Below this clearance, title and body are masked."
    )


class Document(NewDocument):
    """A document that is kept."""

    id: str
    owner: str
    org_id: str
    region: str = Field(description="Where it is kept.")
    created_at: datetime


class DocumentSummary(BaseModel):
    """A document in a list."""

    id: str
    title: str
    created_at: datetime
    preview: str | None = Field(None, description="The first characters; behind a feature flag.")


class DocumentList(BaseModel):
    """One page of documents, newest first."""

    items: list[DocumentSummary]
    next: str | None = Field(None, description="Pass it as `after` to get the next page.")
