"""Errors of this room."""

from __future__ import annotations

from companyos.errors import UnverifiableError

__all__ = ("FlagFileError",)


class FlagFileError(UnverifiableError):
    """The flag definitions cannot be read, so nothing can be said about any flag."""

    code = "flags.unreadable"
