"""Who may do what: authorization decisions by policy, on the ledger, with obligations that are really carried out.

Start with `Authorizer(RegoEngine(), ledger, handlers=...)` and its `authorize()`, then `with_obligations()`.
"""

from typing import TYPE_CHECKING

from companyos._lazy import attach

if TYPE_CHECKING:
    from companyos.authz.authorizer import Authorizer, evaluate
    from companyos.authz.dependency import require, undeclared
    from companyos.authz.enforcement import with_obligations, with_obligations_async
    from companyos.authz.engines._remote import RemoteSettings
    from companyos.authz.engines.cedar import CedarEngine
    from companyos.authz.engines.opa import OpaEngine
    from companyos.authz.engines.rego import RegoEngine
    from companyos.authz.interface import (
        AccessDeniedError,
        AccessUndeterminedError,
        AsyncObligationHandler,
        AuditError,
        EngineError,
        ObligationError,
        Phase,
        PolicyError,
        RequestError,
        StaleDecisionError,
        StepUpRequiredError,
    )
    from companyos.authz.middleware import AccessMiddleware, Caller
    from companyos.authz.obligations import (
        JsonLines,
        JsonText,
        LogEvent,
        MaskFields,
        MaskStreamError,
        Notification,
        RequireApproval,
        RequireMfa,
        SessionTermination,
        StepUp,
        mask,
        mask_json,
        mask_lines,
    )
    from companyos.authz.request import build_request, request_from_dict
    from companyos.authz.routes import Route
    from companyos.authz.specimens import obligations_control, playbook_control
    from companyos.authz.uses import Uses

__all__ = (
    "AccessDeniedError",
    "AccessMiddleware",
    "AccessUndeterminedError",
    "AsyncObligationHandler",
    "AuditError",
    "Authorizer",
    "Caller",
    "CedarEngine",
    "EngineError",
    "JsonLines",
    "JsonText",
    "LogEvent",
    "MaskFields",
    "MaskStreamError",
    "Notification",
    "ObligationError",
    "OpaEngine",
    "Phase",
    "PolicyError",
    "RegoEngine",
    "RemoteSettings",
    "RequestError",
    "RequireApproval",
    "RequireMfa",
    "Route",
    "SessionTermination",
    "StaleDecisionError",
    "StepUp",
    "StepUpRequiredError",
    "Uses",
    "build_request",
    "evaluate",
    "mask",
    "mask_json",
    "mask_lines",
    "obligations_control",
    "playbook_control",
    "request_from_dict",
    "require",
    "undeclared",
    "with_obligations",
    "with_obligations_async",
)

_HOMES = {
    "authorizer": ("Authorizer", "evaluate"),
    "dependency": ("require", "undeclared"),
    "enforcement": ("with_obligations", "with_obligations_async"),
    "engines._remote": ("RemoteSettings",),
    "engines.cedar": ("CedarEngine",),
    "engines.opa": ("OpaEngine",),
    "engines.rego": ("RegoEngine",),
    "interface": (
        "AccessDeniedError",
        "AccessUndeterminedError",
        "AsyncObligationHandler",
        "AuditError",
        "EngineError",
        "ObligationError",
        "Phase",
        "PolicyError",
        "RequestError",
        "StaleDecisionError",
        "StepUpRequiredError",
    ),
    "middleware": ("AccessMiddleware", "Caller"),
    "obligations": (
        "JsonLines",
        "JsonText",
        "LogEvent",
        "MaskFields",
        "MaskStreamError",
        "Notification",
        "RequireApproval",
        "RequireMfa",
        "SessionTermination",
        "StepUp",
        "mask",
        "mask_json",
        "mask_lines",
    ),
    "request": ("build_request", "request_from_dict"),
    "routes": ("Route",),
    "specimens": ("obligations_control", "playbook_control"),
    "uses": ("Uses",),
}

__getattr__, __dir__ = attach(__name__, _HOMES)
