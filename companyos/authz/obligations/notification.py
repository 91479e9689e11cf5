"""`notification`, the profile's type: somebody is told, before anything else happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.authz._text import is_visible
from companyos.authz.interface import ObligationError, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from companyos.decision import Obligation

__all__ = ("Notification",)

_LIMIT = 10_000


class Notification:
    """Sends the obligation's `body` to its `to`, by a function of yours and to destinations of yours only.

    What a decision point sends is not to be trusted with a mail relay: a destination that is not among `destinations`
    is refused. There is no such handler by default, for nobody here knows whom to tell.
    """

    obligation = "notification"
    phase = Phase.BEFORE
    types = ("notification",)

    def __init__(self, send: Callable[[str, str, str], bool], *, destinations: Collection[str]) -> None:
        """`send` is given destination, topic (may be empty) and body, and answers True once it is on its way."""
        self._send = send
        self._destinations = frozenset(destinations)

    def discharge(self, obligation: Obligation, value: Any, context: Mapping[str, Any]) -> Any:  # noqa: ARG002 - the protocol's
        """Send the message; the value passes unchanged.

        Raises:
            ObligationError: destination or body are missing, too long or not text, the destination is not allowed, or
                `send` did not answer True.
        """
        to, body, topic = (obligation.properties.get(key, "") for key in ("to", "body", "topic"))
        for name, text in (("to", to), ("body", body)):
            if not isinstance(text, str) or not text.strip() or len(text) > _LIMIT:
                raise ObligationError(f"notification has no {name}", expected=f"a text of at most {_LIMIT} characters")
        if not isinstance(topic, str) or len(topic) > _LIMIT or not is_visible(topic):
            raise ObligationError("notification has a topic that is not a line of text")
        if to not in self._destinations:
            raise ObligationError("notification goes where nothing may be sent", hint="add it to destinations")
        if self._send(to, topic, body) is not True:
            raise ObligationError("the notification was not sent", hint="answer True once it is on its way")
        return value
