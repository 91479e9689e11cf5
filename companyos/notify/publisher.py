"""The front door: one message to every configured channel, and a ledger entry on what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.errors import ConfigError
from companyos.ports import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from companyos.ports import Channel, LedgerPort, Message

__all__ = ("Notifier",)


class Notifier:
    """Publishes messages on channels; a channel that fails is reported and stops none of the others."""

    def __init__(self, channels: Iterable[Channel], *, ledger: LedgerPort | None = None) -> None:
        self._channels = tuple(channels)
        self._ledger = ledger

    @classmethod
    def choose(
        cls, names: Iterable[str], known: Mapping[str, Channel], *, ledger: LedgerPort | None = None
    ) -> Notifier:
        """A notifier on the channels called `names`.

        Raises:
            ConfigError: there is no such channel.
        """
        chosen = []
        for name in names:
            if name not in known:
                raise ConfigError(f"no notification channel {name!r}", expected=", ".join(sorted(known)))
            chosen.append(known[name])
        return cls(chosen, ledger=ledger)

    def publish(self, message: Message) -> tuple[Delivery, ...]:
        """Deliver to every channel and return what became of it on each, in order."""
        deliveries = tuple(_deliver(channel, message) for channel in self._channels)
        if self._ledger is not None:
            self._ledger.append(
                "companyos.notify.published",
                {
                    "topic": message.topic,
                    "correlation_id": message.correlation_id,
                    "deliveries": [
                        {"channel": d.channel, "delivered": d.delivered, "detail": d.detail} for d in deliveries
                    ],
                },
            )
        return deliveries


def _deliver(channel: Channel, message: Message) -> Delivery:
    try:
        return Delivery(channel.name, delivered=True, detail=channel.deliver(message))
    except Exception as error:  # noqa: BLE001 - whatever a channel raises is a failed delivery, and is reported as one
        return Delivery(channel.name, delivered=False, detail=f"{type(error).__name__}: {error}")
