"""`require_approval`: nothing happens until an approval is verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.authz.interface import ObligationError, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from companyos.decision import Obligation

__all__ = ("RequireApproval",)


class RequireApproval:
    """Passes when `verify` confirms the context's `approval_ticket`; without a verifier nothing passes."""

    obligation = "require_approval"
    phase = Phase.BEFORE

    def __init__(self, verify: Callable[[str, Mapping[str, Any]], bool] | None = None) -> None:
        """`verify` is given the ticket and the context; only True passes."""
        self._verify = verify

    def discharge(self, obligation: Obligation, value: Any, context: Mapping[str, Any]) -> Any:  # noqa: ARG002 - the protocol's
        """Let the value pass if the ticket is verified.

        Raises:
            ObligationError: there is no ticket, nobody to verify it, or it does not hold.
        """
        ticket = context.get("approval_ticket")
        if not isinstance(ticket, str) or not ticket.strip():
            raise ObligationError("an approval ticket is required", hint="pass approval_ticket in the context")
        if self._verify is None:
            raise ObligationError(
                "an approval ticket cannot be verified here", hint="register RequireApproval(verify=...)"
            )
        if self._verify(ticket, context) is not True:
            raise ObligationError("the approval ticket does not hold", got=ticket)
        return value
