"""Who may do what: authorization decisions by policy, on the ledger, with obligations that are really carried out.

Start with `Authorizer(RegoEngine(), ledger, handlers=...)` and its `authorize()`, then `with_obligations()`.
"""

from typing import TYPE_CHECKING

from companyos._lazy import attach

if TYPE_CHECKING:
    from companyos.authz.authorizer import Authorizer, evaluate
    from companyos.authz.enforcement import with_obligations, with_obligations_async
    from companyos.authz.engines._remote import RemoteSettings
    from companyos.authz.engines.cedar import CedarEngine
    from companyos.authz.engines.opa import OpaEngine
    from companyos.authz.engines.rego import RegoEngine
    from companyos.authz.interface import (
        AccessDeniedError,
        AccessUndeterminedError,
        EngineError,
        ObligationError,
        Phase,
        PolicyError,
        RequestError,
    )
    from companyos.authz.obligations import LogEvent, MaskFields, RequireApproval, RequireMfa, mask
    from companyos.authz.request import build_request, request_from_dict
    from companyos.authz.specimens import playbook_control

__all__ = (
    "AccessDeniedError",
    "AccessUndeterminedError",
    "Authorizer",
    "CedarEngine",
    "EngineError",
    "LogEvent",
    "MaskFields",
    "ObligationError",
    "OpaEngine",
    "Phase",
    "PolicyError",
    "RegoEngine",
    "RemoteSettings",
    "RequestError",
    "RequireApproval",
    "RequireMfa",
    "build_request",
    "evaluate",
    "mask",
    "playbook_control",
    "request_from_dict",
    "with_obligations",
    "with_obligations_async",
)

_HOMES = {
    "authorizer": ("Authorizer", "evaluate"),
    "enforcement": ("with_obligations", "with_obligations_async"),
    "engines._remote": ("RemoteSettings",),
    "engines.cedar": ("CedarEngine",),
    "engines.opa": ("OpaEngine",),
    "engines.rego": ("RegoEngine",),
    "interface": (
        "AccessDeniedError",
        "AccessUndeterminedError",
        "EngineError",
        "ObligationError",
        "Phase",
        "PolicyError",
        "RequestError",
    ),
    "obligations": ("LogEvent", "MaskFields", "RequireApproval", "RequireMfa", "mask"),
    "request": ("build_request", "request_from_dict"),
    "specimens": ("playbook_control",),
}

__getattr__, __dir__ = attach(__name__, _HOMES)
