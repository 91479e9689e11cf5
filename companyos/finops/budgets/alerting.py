"""Alerts that reach somebody: each told once by every channel of the policy, and what became of it on the ledger.

An alert is first an entry, then a message. So whoever is killed in between leaves an alert that was not told, which
`AlertDesk.resend` finds; a channel that failed is told again in the same way. What was delivered is not told twice, in
whatever process; only a process killed between the delivery and its entry makes a second message.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from companyos.canonical import sha256_hex
from companyos.finops.budgets.reservation import moment
from companyos.ports import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from companyos.decision import Finding
    from companyos.finops.budgets.journal import Journal
    from companyos.ports import Delivery

__all__ = ("AlertDesk", "Publisher", "Route", "Told")

TOPIC = "budget.alert"
_GRACE_SECONDS = 60
"""An alert this young may be on its way, by whoever raised it."""
_STALE_SECONDS = 7 * 24 * 3600
"""What nobody could be told in so long is no news any more; it stays on the ledger."""
_log = logging.getLogger("companyos.finops.budgets")


class Publisher(Protocol):
    """What brings a message to people: `companyos.notify.Notifier` does."""

    def publish(self, message: Message) -> Sequence[Delivery]:
        """Deliver it, and say what became of it on each channel."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """One line of `alerts.channels`, with what delivers there."""

    type: str
    """The kind of channel, as the policy names it."""
    destination: str
    """Where on that channel: a room, an address; messages carry it as the property `destination`."""
    publisher: Publisher | None
    """What delivers; None if the company has no channel of that kind, which is a failure to be told of."""

    @property
    def name(self) -> str:
        """How the ledger calls it: the destination, which may be an address or hold a token, only as a digest."""
        return f"{self.type}:{sha256_hex(self.destination.encode())[:12]}"


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one alert on one route."""

    alert: str
    """Id of the alert: the key of the level, and what was crossed."""
    text: str
    """What was to be told."""
    route: str
    """The route's type and destination."""
    delivered: bool
    """Whether the channel took it."""
    detail: str = ""
    """Why not, for the caller alone: it may hold what does not belong on a ledger."""

    def to_dict(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return {
            "alert": self.alert,
            "text": self.text,
            "route": self.route,
            "delivered": self.delivered,
            "detail": self.detail,
        }


class AlertDesk:
    """Records alerts of one budget and brings them to its routes.

    `fallback` hears, with a note, what a route could not deliver. `on_alert` is called for each new alert.
    """

    def __init__(
        self,
        journal: Journal,
        routes: Sequence[Route] = (),
        *,
        fallback: Publisher | None = None,
        on_alert: Callable[[Finding], None] | None = None,
    ) -> None:
        self._journal, self._routes, self._fallback, self._on_alert = journal, tuple(routes), fallback, on_alert
        self._known: set[str] = set()

    def is_new(self, name: str) -> bool:
        """Whether this process has not yet raised it; another one may have."""
        return name not in self._known

    def raise_alert(self, finding: Finding, name: str, key: str, now: float) -> list[Told]:
        """Put an alert on the ledger and tell it; nothing if it is there already, from whatever process."""
        # The moment makes it differ from what another process told of the same: only the first one is heard.
        data = finding.to_dict() | {"key": key, "told_at": moment(now).isoformat()}
        told = self._journal.record("alert", data, id=name)
        self._known.add(name)
        if told is None:
            return []
        if self._on_alert is not None:
            self._on_alert(finding)
        return [self._tell(route, name, data) for route in self._routes]

    def resend(self, now: float) -> list[Told]:
        """Tell again what has not reached every route within the last days; what was delivered is left alone."""
        alerts, delivered = self._journal.alerts()
        self._known.update(alerts)
        return [
            self._tell(route, name, data, again=True)
            for name, data in alerts.items()
            if _GRACE_SECONDS <= now - datetime.fromisoformat(data["told_at"]).timestamp() <= _STALE_SECONDS
            for route in self._routes
            if (name, route.name) not in delivered
        ]

    def _tell(self, route: Route, name: str, data: Mapping[str, Any], *, again: bool = False) -> Told:
        text = data["message"]
        properties = {"destination": route.destination, "key": data["key"], "severity": data["severity"]}
        why = _published(route.publisher, Message(TOPIC, text, name, properties))
        entry = {"alert": name, "route": route.name, "delivered": why is None}
        self._journal.record("alert_delivery", entry, id=f"{name}:{route.name}:delivered" if why is None else None)
        if why is not None:
            # Not why: the text of a channel's error may hold a webhook's token.
            _log.error("a budget alert could not be told by %s: %s", route.type, text)
            if not again:
                note = f"{text} (could not be told by {route.type}, where it should have gone)"
                _published(self._fallback, Message(TOPIC, note, name, {key: data[key] for key in ("key", "severity")}))
        return Told(name, text, f"{route.type} {route.destination}", why is None, why or "")


def _published(publisher: Publisher | None, message: Message) -> str | None:
    """Publish; why it failed, or None."""
    if publisher is None:
        return "the company has no channel of that kind"
    try:
        deliveries = publisher.publish(message)
    except Exception as error:  # noqa: BLE001 - an alert that cannot be told must not undo what was spent
        return f"{type(error).__name__}: {error}"
    # What waits in an outbox is no longer ours to tell: its workers try until it is delivered, or dead and reported.
    failed = [one.detail or one.channel for one in deliveries if not (one.delivered or one.queued)]
    if not deliveries:
        return "no channel took it"
    return "; ".join(failed) or None
