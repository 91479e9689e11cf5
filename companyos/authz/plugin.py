"""How this room's built-ins register themselves."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from companyos.errors import ConfigError
from companyos.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from companyos.authz.engines._remote import RemoteSettings
    from companyos.controls import Control
    from companyos.ports import DecisionEngine, ObligationHandler

__all__ = ("companyos_controls", "companyos_engines", "companyos_obligation_handlers", "companyos_projections")


@hookimpl
def companyos_engines(settings: Mapping[str, Any]) -> Sequence[DecisionEngine]:
    """The embedded engines over `authz.policies`, which they read on first use; the remote one at `authz.remote`."""
    from companyos.authz.engines.cedar import CedarEngine
    from companyos.authz.engines.rego import RegoEngine

    policies, stage = settings.get("policies", ()), settings.get("stage", "prod")
    embedded: list[DecisionEngine] = [RegoEngine(policies, stage=stage), CedarEngine(policies, stage=stage)]
    return [*embedded, *_remote(settings.get("engine"), settings.get("remote"))]


def _remote(chosen: object, settings: Mapping[str, Any] | None) -> Sequence[DecisionEngine]:
    if chosen not in {"opa", "authzen"}:
        return []
    if settings is None:
        raise ConfigError(
            f"authz.engine is {chosen}, and authz.remote does not say where it is", hint="set authz.remote.url"
        )
    from companyos.authz.engines.authzen import EVALUATION, AuthzenEngine
    from companyos.authz.engines.opa import DECISION, OpaEngine

    remote, path, policy_digest = _remote_settings(settings), settings.get("decision"), settings.get("policy_digest")
    if chosen == "opa":
        return [OpaEngine(remote, decision=path or DECISION, policy_digest=policy_digest)]
    return [AuthzenEngine(remote, path=path or EVALUATION, policy_digest=policy_digest)]


def _remote_settings(settings: Mapping[str, Any]) -> RemoteSettings:
    from companyos.authz.engines._remote import RemoteSettings

    known = {field.name for field in fields(RemoteSettings)} & settings.keys()
    return RemoteSettings(**{name: settings[name] for name in known})


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
