"""`step-up`, the profile's type: nothing happens until the subject is authenticated as strongly as is demanded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.authz._text import is_visible
from companyos.authz.interface import ObligationError, Phase, StepUpRequiredError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from companyos.decision import Obligation

__all__ = ("StepUp",)


class StepUp:
    """Passes when the context's `acr` is the obligation's `acr_value`, with all of its `amr_values` among `amr`.

    Which class is stronger than another is known to nobody but the authentication service: `satisfies(acr, demanded)`
    says so where equality is not enough.
    """

    obligation = "step-up"
    phase = Phase.BEFORE
    types = ("step-up",)

    def __init__(self, satisfies: Callable[[str, str], bool] | None = None) -> None:
        """`satisfies` is given the context's class and the one that is demanded; only True passes."""
        self._satisfies = satisfies

    @property
    def fallback(self) -> bool:
        """Whether a plugin's handler takes this one's place: so it is while nobody compares classes."""
        return self._satisfies is None

    def discharge(self, obligation: Obligation, value: Any, context: Mapping[str, Any]) -> Any:
        """Let the value pass if the subject has stepped up.

        Raises:
            StepUpRequiredError: it has not.
            ObligationError: the obligation names no `acr_value`, or its `amr_values` are not texts.
        """
        demanded = obligation.properties.get("acr_value")
        methods = obligation.properties.get("amr_values", [])
        if not isinstance(demanded, str) or not demanded.strip() or not is_visible(demanded):
            raise ObligationError("step-up names no acr_value", got=repr(demanded), expected="a text")
        if not isinstance(methods, list | tuple) or not all(isinstance(item, str) for item in methods):
            raise ObligationError("step-up has amr_values that are not texts", got=repr(methods))
        if self._reached(context.get("acr"), demanded) and _used(context.get("amr"), methods):
            return value
        raise StepUpRequiredError(
            "a stronger authentication is required", got=context.get("acr"), acr_values=(demanded,)
        )

    def _reached(self, acr: object, demanded: str) -> bool:
        if not isinstance(acr, str):
            return False
        return acr == demanded or (self._satisfies is not None and self._satisfies(acr, demanded) is True)


def _used(amr: object, methods: Sequence[str]) -> bool:
    used = amr if isinstance(amr, list | tuple | set | frozenset) else ()
    return all(method in used for method in methods)
