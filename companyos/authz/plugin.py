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

__all__ = ("companyos_controls", "companyos_engines", "companyos_obligation_handlers")


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
    """Masking, step-up, logging and approval."""
    from companyos.authz.obligations import LogEvent, MaskFields, RequireApproval, RequireMfa

    return [LogEvent(), MaskFields(), RequireApproval(), RequireMfa()]


@hookimpl
def companyos_controls() -> Sequence[Control]:
    """The proof of the built-in policies."""
    from companyos.authz.specimens import playbook_control

    return [playbook_control()]
