"""The rules of G02: kinds of secrets, whichever engine finds them."""

from __future__ import annotations

from companyos.decision import Severity
from companyos.guardrails.interface import Rule

__all__ = ("RULES",)

_ROTATE = "revoke it at its provider, then read the new one from the environment or a secret store"


def _rule(name: str, what: str, severity: Severity = Severity.CRITICAL) -> Rule:
    return Rule(f"G02.{name}", f"{what} stands in the source", _ROTATE, severity)


RULES: dict[str, Rule] = {
    rule.id: rule
    for rule in (
        _rule("assigned-secret", "a literal password, token or key", Severity.HIGH),
        _rule("aws-key", "an AWS access key"),
        _rule("connection-string", "a connection string with its password"),
        _rule("git-host-token", "a GitHub or GitLab token"),
        _rule("google-key", "a Google API key or client secret"),
        _rule("json-web-token", "a signed JSON Web Token", Severity.HIGH),
        _rule("model-provider-key", "a key of a model provider"),
        _rule("package-registry-token", "a token of a package registry"),
        _rule("private-key", "a private key"),
        _rule("slack-token", "a Slack token or webhook"),
        _rule("stripe-key", "a Stripe secret key"),
        _rule("url-credentials", "a URL with user and password"),
    )
}
"""Every rule of G02 by id."""
