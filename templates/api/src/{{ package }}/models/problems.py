"""Errors as problem details (RFC 9457)."""

from __future__ import annotations

from pydantic import BaseModel, Field

__all__ = ("Problem",)


class Problem(BaseModel):
    """What went wrong, in `application/problem+json`."""

    type: str = Field(description="A URI reference that names the kind of problem.")
    title: str = Field(description="The kind of problem, for a person.")
    status: int = Field(description="The HTTP status.")
    detail: str | None = Field(None, description="What happened this time.")
    instance: str | None = Field(None, description="The path that was asked for.")
    trace_id: str | None = Field(None, description="Finds the log lines and spans of this request.")
    reason: str | None = Field(None, description="The policy that refused.")
    audit_id: str | None = Field(None, description="Finds the refusal in the ledger.")
    obligations: list[str] | None = Field(None, description="What has to be done first, for example `require_mfa`.")
    errors: list[str] | None = Field(None, description="Which fields are wrong, and how.")
