"""What companyos gives this service, opened together and closed together."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from companyos import Company, flags, observability

from .settings import ROOT

if TYPE_CHECKING:
    from companyos.authz import Authorizer
    from companyos.ledger import Ledger
    from openfeature.client import OpenFeatureClient

    from .settings import Settings

__all__ = ("Platform",)


@dataclass(frozen=True, slots=True)
class Platform:
    """The parts of companyos that a request meets."""

    company: Company
    """Settings and rooms, as `companyos.yaml` describes them."""
    signals: observability.Observability
    """Traces, logs and metrics."""
    features: OpenFeatureClient
    """Feature flags."""
    _closing: ExitStack

    @classmethod
    def open(cls, settings: Settings, *, version: str) -> Self:
        """Open everything; what was opened is closed again if something cannot be."""
        with ExitStack() as stack:
            company = stack.enter_context(Company.open(ROOT))
            chosen = company.settings.observability
            exporting = chosen.exporter != "none"
            signals = stack.enter_context(
                observability.setup(
                    service=company.settings.company.name,
                    version=version,
                    environment=settings.app_env,
                    # Where companyos.yaml exports nothing, the OTEL_* variables say what is exported, and where to.
                    exporter=chosen.exporter if exporting else None,
                    otlp_endpoint=chosen.otlp_endpoint if exporting else None,
                    log_level=chosen.log_level,
                    redact=chosen.redact,
                    revision=settings.known_revision,
                )
            )
            features = flags.client(company.root / company.settings.flags.file)
            return cls(company, signals, features, stack.pop_all())

    @property
    def authorizer(self) -> Authorizer:
        """Who may do what."""
        return self.company.authorizer

    @property
    def ledger(self) -> Ledger:
        """The one log."""
        return self.company.ledger

    def close(self) -> None:
        """Close what was opened, last first."""
        self._closing.close()
