"""How this room's built-ins register themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from companyos.controls import Control
    from companyos.ports import DecisionEngine, ObligationHandler

__all__ = ("companyos_controls", "companyos_engines", "companyos_obligation_handlers")


@hookimpl
def companyos_engines(settings: Mapping[str, Any]) -> Sequence[DecisionEngine]:
    """The embedded Rego engine over `authz.policies`; it reads them on first use."""
    from companyos.authz.engines.rego import RegoEngine

    return [RegoEngine(settings.get("policies", ()), stage=settings.get("stage", "prod"))]


@hookimpl
def companyos_obligation_handlers() -> Sequence[ObligationHandler]:
    """Masking, step-up, logging and approval."""
    from companyos.authz.obligations import LogEvent, MaskFields, RequireApproval, RequireMfa

    return [LogEvent(), MaskFields(), RequireApproval(), RequireMfa()]


@hookimpl
def companyos_controls() -> Sequence[Control]:
    """The proof of the built-in policies."""
    from companyos.authz.specimens import playbook_control

    return [playbook_control()]
