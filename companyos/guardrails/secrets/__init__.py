"""G02: hard-coded secrets. See `docs/guardrails.md#g02`."""

from companyos.guardrails.secrets.control import Trial, secrets_control
from companyos.guardrails.secrets.engines import EngineError, Gitleaks, OwnDetectors, SecretEngine

__all__ = ("EngineError", "Gitleaks", "OwnDetectors", "SecretEngine", "Trial", "secrets_control")
