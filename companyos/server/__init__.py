"""The policy decision point as a server: OpenID AuthZEN over HTTP, with the company's policies, ledger and plugins.

Start it with `companyos serve --pdp`, or in code with `serve(company)`; `build_app` gives the bare ASGI application.
"""

from typing import TYPE_CHECKING

from companyos._lazy import attach

if TYPE_CHECKING:
    from companyos.server.apikeys import ApiKeyRecord, ApiKeys, add_key, list_keys, load_keys, new_key, revoke_keys
    from companyos.server.app import Limits, build_app
    from companyos.server.authenticate import Authenticator
    from companyos.server.interface import (
        AuthenticationError,
        Caller,
        HttpRefusedError,
        KeysUnavailableError,
        ServerConfigError,
    )
    from companyos.server.jwks import IssuerKeys
    from companyos.server.pdp import Generation, NegotiatedEngine, Pdp
    from companyos.server.policies import ConfiguredPolicies
    from companyos.server.promoted import PromotedPolicies
    from companyos.server.reload import Reloader, Status
    from companyos.server.run import serve
    from companyos.server.tokens import TokenVerifier

__all__ = (
    "ApiKeyRecord",
    "ApiKeys",
    "AuthenticationError",
    "Authenticator",
    "Caller",
    "ConfiguredPolicies",
    "Generation",
    "HttpRefusedError",
    "IssuerKeys",
    "KeysUnavailableError",
    "Limits",
    "NegotiatedEngine",
    "Pdp",
    "PromotedPolicies",
    "Reloader",
    "ServerConfigError",
    "Status",
    "TokenVerifier",
    "add_key",
    "build_app",
    "list_keys",
    "load_keys",
    "new_key",
    "revoke_keys",
    "serve",
)

_HOMES = {
    "apikeys": ("ApiKeyRecord", "ApiKeys", "add_key", "list_keys", "load_keys", "new_key", "revoke_keys"),
    "app": ("Limits", "build_app"),
    "authenticate": ("Authenticator",),
    "interface": (
        "AuthenticationError",
        "Caller",
        "HttpRefusedError",
        "KeysUnavailableError",
        "ServerConfigError",
    ),
    "jwks": ("IssuerKeys",),
    "pdp": ("Generation", "NegotiatedEngine", "Pdp"),
    "policies": ("ConfiguredPolicies",),
    "promoted": ("PromotedPolicies",),
    "reload": ("Reloader", "Status"),
    "run": ("serve",),
    "tokens": ("TokenVerifier",),
}

__getattr__, __dir__ = attach(__name__, _HOMES)
