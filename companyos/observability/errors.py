"""Errors of this room."""

from __future__ import annotations

from companyos.errors import ConfigError, UserError

__all__ = ("ClassificationError", "MetricError", "SetupError")


class SetupError(ConfigError):
    """`setup()` was called with something that cannot be used."""

    code = "observability.setup"


class MetricError(UserError, ValueError):
    """A metric cannot be recorded as asked: its name, its kind or its value is wrong."""

    code = "observability.metric"


class ClassificationError(UserError, TypeError):
    """A typed event is declared wrongly: a field without a class, a treatment that its class does not allow."""

    code = "observability.classification"
