"""`require_mfa`: nothing happens until more than one factor is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.authz.derived import MULTI_FACTOR_ACR, is_multi_factor
from companyos.authz.interface import Phase, StepUpRequiredError
from companyos.authz.obligations.step_up import StepUp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from companyos.decision import Obligation

__all__ = ("RequireMfa",)

_ANY_TWO = (MULTI_FACTOR_ACR, "mfa", "multi-factor")
"""The classes that any two factors reach; `phrh` or `aal3` say more."""


class RequireMfa:
    """Passes when the context says that the subject stepped up, or when `challenge` confirms it now.

    An obligation that demands a class of its own (`acr_value`) beyond more than one factor, or methods (`amr_values`),
    as that of another make's decision point may, is judged as `StepUp` judges it.
    """

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

    def discharge(self, obligation: Obligation, value: Any, context: Mapping[str, Any]) -> Any:
        """Let the value pass if the context's `auth_strength` or `acr` is multi-factor, or the challenge succeeds.

        Raises:
            StepUpRequiredError: neither is so.
            ObligationError: the obligation demands something that cannot be read.
        """
        if _demands_more(obligation.properties):
            return StepUp().discharge(obligation, value, context)
        if any(is_multi_factor(context.get(key)) for key in ("auth_strength", "acr")):
            return value
        if self._challenge is not None and self._challenge(context) is True:
            return value
        raise StepUpRequiredError(
            "more than one factor of authentication is required", got=context.get("auth_strength")
        )


def _demands_more(properties: Mapping[str, Any]) -> bool:
    return "amr_values" in properties or properties.get("acr_value", MULTI_FACTOR_ACR) not in _ANY_TWO
