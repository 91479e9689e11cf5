"""Errors of release markers."""

from __future__ import annotations

from companyos.errors import UserError

__all__ = ("MarkerError",)


class MarkerError(UserError, ValueError):
    """A release marker cannot be made as asked, or there is none of that id."""

    code = "observability.marker"
