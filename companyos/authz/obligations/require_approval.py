"""`require_approval`: nothing happens without an approval ticket, verified where there is somebody to verify it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.authz._text import is_visible
from companyos.authz.interface import ObligationError, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from companyos.decision import Obligation

__all__ = ("RequireApproval",)

TICKET = "approval_ticket"
"""The key of the ticket, in an obligation's properties and in the context."""


class RequireApproval:
    """Passes when `verify` confirms the ticket that the decision rests on.

    The ticket is the obligation's property `approval_ticket`, or where a policy passes none on, the context's. Without
    `verify` nobody can say whether a ticket holds: one that a policy saw and passed on is then let through, and its
    entry says so; one that only the context names is refused.
    """

    obligation = "require_approval"
    phase = Phase.BEFORE
    types = ("custom",)

    def __init__(self, verify: Callable[[str, Mapping[str, Any]], bool] | None = None) -> None:
        """`verify` is given the ticket and the context; only True passes."""
        self._verify = verify

    @property
    def fallback(self) -> bool:
        """Whether a plugin's handler takes this one's place: so it is while nobody verifies."""
        return self._verify is None

    def discharge(self, obligation: Obligation, value: Any, context: Mapping[str, Any]) -> Any:
        """Let the value pass if the ticket holds.

        Raises:
            ObligationError: there is no ticket, it cannot be read, it is not the decision's, nobody can verify it, or
                it does not hold.
        """
        judged, stated = obligation.properties.get(TICKET), context.get(TICKET)
        ticket = _readable(stated if judged is None else judged)
        if stated is not None and stated != ticket:
            raise ObligationError("the approval ticket is not the one that was decided on", got=stated, expected=ticket)
        if self._verify is not None:
            if self._verify(ticket, context) is not True:
                raise ObligationError("the approval ticket does not hold", got=ticket)
        elif judged is None:
            raise ObligationError(
                "an approval ticket cannot be verified here", hint="register RequireApproval(verify=...)"
            )
        else:
            context.get("notes", []).append("the ticket was not verified: no verifier is registered")
        return value


def _readable(ticket: object) -> str:
    if not isinstance(ticket, str) or not ticket.strip() or not is_visible(ticket):
        raise ObligationError(
            "an approval ticket is required",
            expected="printable text",
            hint="state environment.approval_ticket in the request",
        )
    return ticket
