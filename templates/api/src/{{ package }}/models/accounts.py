"""People who use the service."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, Field

__all__ = ("Account", "Caller", "Login", "Profile", "Token")


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who can log in."""

    id: str
    """Stable id."""
    email: str
    """What they log in with."""
    org_id: str
    """The organisation they belong to."""
    clearance: str
    """What they may see: `low`, `medium` or `high`."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An account, and how it proved itself in this session."""

    account: Account
    """Who."""
    auth_strength: str
    """`pwd`, or `mfa` when a second factor was given."""


class Login(BaseModel):
    """Credentials."""

    email: str = Field(min_length=3, max_length=254)
    password: str = Field(min_length=1, max_length=1024)
    code: str | None = Field(None, pattern=r"^\d{6}$", description="Second factor (RFC 6238).")


class Token(BaseModel):
    """A session token."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the name of the scheme
    expires_in: int = Field(description="Seconds until it expires.")


class Profile(BaseModel):
    """Who one is."""

    id: str
    email: str
    org_id: str
    clearance: str
    auth_strength: str
