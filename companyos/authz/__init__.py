"""Who may do what: authorization decisions by policy, on the ledger, with obligations that are really carried out.

Start with `Authorizer(RegoEngine(), ledger, handlers=...)` and its `authorize()`, then `with_obligations()`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from companyos.authz.authorizer import Authorizer, evaluate
    from companyos.authz.enforcement import with_obligations, with_obligations_async
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
    "EngineError",
    "LogEvent",
    "MaskFields",
    "ObligationError",
    "Phase",
    "PolicyError",
    "RegoEngine",
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

_HOME = {
    "AccessDeniedError": "interface",
    "AccessUndeterminedError": "interface",
    "Authorizer": "authorizer",
    "EngineError": "interface",
    "LogEvent": "obligations",
    "MaskFields": "obligations",
    "ObligationError": "interface",
    "Phase": "interface",
    "PolicyError": "interface",
    "RegoEngine": "engines.rego",
    "RequestError": "interface",
    "RequireApproval": "obligations",
    "RequireMfa": "obligations",
    "build_request": "request",
    "evaluate": "authorizer",
    "mask": "obligations",
    "playbook_control": "specimens",
    "request_from_dict": "request",
    "with_obligations": "enforcement",
    "with_obligations_async": "enforcement",
}


def __getattr__(name: str) -> object:
    """Load a public name from the module that owns it, on first use (PEP 562)."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
