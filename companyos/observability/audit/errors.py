"""Errors of the audit trail."""

from __future__ import annotations

from companyos.errors import UnverifiableError

__all__ = ("AuditFailedError",)


class AuditFailedError(UnverifiableError):
    """An audit record could not be written, so that what it was about must not happen."""

    code = "observability.audit_failed"
