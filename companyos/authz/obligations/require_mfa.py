"""`require_mfa`: nothing happens until more than one factor is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.authz.derived import is_multi_factor
from companyos.authz.interface import Phase, StepUpRequiredError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from companyos.decision import Obligation

__all__ = ("RequireMfa",)


class RequireMfa:
    """Passes when the context says that the subject stepped up, or when `challenge` confirms it now."""

    obligation = "require_mfa"
    phase = Phase.BEFORE
    types = ("step-up", "custom")

    def __init__(self, challenge: Callable[[Mapping[str, Any]], bool] | None = None) -> None:
        """`challenge` is given the context and asks the subject for a further factor; only True passes."""
        self._challenge = challenge

    @property
    def fallback(self) -> bool:
        """Whether a plugin's handler takes this one's place: so it is while nobody can be challenged."""
        return self._challenge is None

    def discharge(self, obligation: Obligation, value: Any, context: Mapping[str, Any]) -> Any:  # noqa: ARG002 - the protocol's
        """Let the value pass if `context["auth_strength"]` is multi-factor or the challenge succeeds.

        Raises:
            StepUpRequiredError: neither is so.
        """
        if is_multi_factor(context.get("auth_strength")):
            return value
        if self._challenge is not None and self._challenge(context) is True:
            return value
        raise StepUpRequiredError(
            "more than one factor of authentication is required", got=context.get("auth_strength")
        )
