"""Why a server is not there."""

from __future__ import annotations

__all__ = ("NotAvailableError",)


class NotAvailableError(Exception):
    """A server is not to be had on this machine; the text says why and what would help."""
