"""G01: mocks, stubs and placeholders in production code. See `docs/guardrails.md#g01`."""

from companyos.guardrails.placeholders.control import placeholders_control

__all__ = ("placeholders_control",)
