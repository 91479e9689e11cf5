"""Errors of this room."""

from __future__ import annotations

from companyos.errors import ConfigError, UnverifiableError, UserError

__all__ = ("AuditFailedError", "MarkerError", "MetricError", "SetupError")


class SetupError(ConfigError):
    """`setup()` was called with something that cannot be used."""

    code = "observability.setup"


class MetricError(UserError, ValueError):
    """A metric cannot be recorded as asked: its name, its kind or its value is wrong."""

    code = "observability.metric"


class AuditFailedError(UnverifiableError):
    """An audit record could not be written, so that what it was about must not happen."""

    code = "observability.audit_failed"


class MarkerError(UserError, ValueError):
    """A release marker cannot be made as asked, or there is none of that id."""

    code = "observability.marker"
