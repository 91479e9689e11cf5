"""`session_termination`, the profile's type: every session of a subject is ended, before anything else happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.authz._text import is_visible
from companyos.authz.interface import ObligationError, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from companyos.decision import Obligation

__all__ = ("SessionTermination",)


class SessionTermination:
    """Ends the sessions of the obligation's `subject` by a function of yours.

    There is no such handler by default, for nobody here knows your sessions: a decision that demands it is then a deny.
    """

    obligation = "session_termination"
    phase = Phase.BEFORE
    types = ("session_termination",)

    def __init__(self, terminate: Callable[[str, Mapping[str, Any]], bool]) -> None:
        """`terminate` is given the subject and the context, ends all sessions wherever they are, and answers True."""
        self._terminate = terminate

    def discharge(self, obligation: Obligation, value: Any, context: Mapping[str, Any]) -> Any:
        """End the sessions; the value passes unchanged.

        Raises:
            ObligationError: no subject is named, or `terminate` did not answer True.
        """
        subject = obligation.properties.get("subject")
        if not isinstance(subject, str) or not subject.strip() or not is_visible(subject):
            raise ObligationError("session_termination names no subject", expected="a text")
        if self._terminate(subject, context) is not True:
            raise ObligationError("the sessions were not ended", hint="answer True when all of them are")
        return value
