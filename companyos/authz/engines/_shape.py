"""What an engine must have answered for it to be an opinion: policies, and remote engines, are other people's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from companyos.authz.interface import EngineError
from companyos.authz.profile import CUSTOM, OBLIGATION_TYPES
from companyos.decision import Obligation
from companyos.ports import Opinion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ("DEFAULT_DENY", "combined", "obligation", "opinion")

DEFAULT_DENY = "policy.default_deny"
"""The reason for what no policy allows."""


def opinion(decision: Any, *, version: str | None = None) -> Opinion:
    """What the fixed combination (`decision.rego`) answered: `allow`, `reasons` and `obligations`.

    Raises:
        EngineError: it has another shape.
    """
    try:
        allow = decision["allow"]
        if not isinstance(allow, bool):
            raise TypeError(f"allow is {allow!r}")  # noqa: TRY301 - one place turns all of them into one error
        reasons = [_reason(entry) for entry in decision["reasons"]]
        obligations = [obligation(entry) for entry in decision["obligations"]]
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise EngineError(
            "a policy added something without the agreed shape",
            got=f"{type(error).__name__}: {error}",
            expected="deny and allow hold objects with id and message, obligation those with id, type and properties",
        ) from error
    return combined(reasons, obligations, allow=allow, version=version)


def combined(
    reasons: Sequence[tuple[str, str]],
    obligations: Iterable[Obligation],
    *,
    allow: bool,
    version: str | None = None,
) -> Opinion:
    """One opinion out of the reasons (id and message) that decided; without any, nobody allows it."""
    if not reasons:
        return Opinion(False, DEFAULT_DENY, "no policy allows this", tuple(obligations), version)
    first = min(identity for identity, _ in reasons)
    messages = "; ".join(dict.fromkeys(message for _, message in sorted(reasons) if message))
    return Opinion(allow, first, messages, tuple(obligations), version)


def obligation(entry: Any) -> Obligation:
    """The obligation in a JSON object with `id`, and optionally `type` and `properties`.

    Raises:
        ValueError, TypeError, KeyError: it is something else.
    """
    if not isinstance(entry, Mapping):
        raise TypeError(f"an obligation is {type(entry).__name__}")
    kind = entry.get("type", CUSTOM)
    properties = entry.get("properties", {})
    if not isinstance(entry["id"], str) or not entry["id"]:
        raise ValueError(f"an obligation has the id {entry['id']!r}")
    if kind not in OBLIGATION_TYPES or not isinstance(properties, Mapping):
        raise ValueError(f"obligation {entry['id']!r} of type {kind!r}")
    return Obligation(entry["id"], kind, dict(properties))


def _reason(entry: Any) -> tuple[str, str]:
    if not isinstance(entry, Mapping):
        raise TypeError(f"a reason is {type(entry).__name__}")
    identity, message = entry["id"], entry.get("message", "")
    if not isinstance(identity, str) or not identity or not isinstance(message, str):
        raise ValueError(f"a reason has the id {identity!r} and the message {message!r}")
    return identity, message
