"""How this room's built-ins register themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from companyos.controls import Control
    from companyos.ports import DecisionEngine, ObligationHandler

__all__ = ("companyos_controls", "companyos_engines", "companyos_obligation_handlers", "companyos_projections")


@hookimpl
def companyos_engines(settings: Mapping[str, Any]) -> Sequence[DecisionEngine]:
    """The embedded Rego engine over `authz.policies`; it reads them on first use."""
    from companyos.authz.engines.rego import RegoEngine

    return [RegoEngine(settings.get("policies", ()), stage=settings.get("stage", "prod"))]


@hookimpl
def companyos_obligation_handlers() -> Sequence[ObligationHandler]:
    """Masking, step-up, logging and approval; sessions and messages are nobody's until somebody says how."""
    from companyos.authz.obligations import LogEvent, MaskFields, RequireApproval, RequireMfa, StepUp

    return [LogEvent(), MaskFields(), RequireApproval(), RequireMfa(), StepUp()]


@hookimpl
def companyos_controls() -> Sequence[Control]:
    """The proofs of policies, of obligations, and of the verification and promotion of bundles."""
    from companyos.authz.specimens import obligations_control, playbook_control
    from companyos.authz.specimens.bundles import bundle_control
    from companyos.authz.specimens.promotion import promotion_control

    return [obligations_control(), playbook_control(), bundle_control(), promotion_control()]


@hookimpl
def companyos_projections() -> Sequence[type]:
    """Which bundle is in force in which stage."""
    from companyos.authz.bundles.promotions import BundlesInForce

    return [BundlesInForce]
