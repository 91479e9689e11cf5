"""The front door: one message to every configured channel, and a ledger entry on what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.errors import ConfigError, printable
from companyos.ports import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from companyos.ports import Channel, LedgerPort, Message

__all__ = ("Notifier",)

MAX_DETAIL = 200
"""Characters of a delivery's detail."""


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
        """Deliver to every channel and return what became of it on each, in order.

        The ledger learns which channels failed and the class of the error; its text, which may hold a webhook's
        token, is in the returned details only.
        """
        attempts = [_deliver(channel, message) for channel in self._channels]
        if self._ledger is not None:
            self._ledger.append(
                "companyos.notify.published",
                {
                    "topic": message.topic,
                    "correlation_id": message.correlation_id,
                    "deliveries": [_record(delivery, failure) for delivery, failure in attempts],
                },
            )
        return tuple(delivery for delivery, _ in attempts)


def _deliver(channel: Channel, message: Message) -> tuple[Delivery, BaseException | None]:
    try:
        detail = channel.deliver(message)
        return Delivery(channel.name, delivered=True, detail=_short(detail)), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a channel raises is a failed delivery, and is reported as one
        return Delivery(channel.name, delivered=False, detail=_short(f"{type(error).__name__}: {error}")), error


def _record(delivery: Delivery, failure: BaseException | None) -> dict[str, str | bool]:
    # An error's text, or a place, may hold a webhook's token, and the ledger forgets nothing.
    record: dict[str, str | bool] = {"channel": delivery.channel, "delivered": delivery.delivered}
    return record if failure is None else record | {"error": type(failure).__name__}


def _short(text: object) -> str:
    line = printable(text) if isinstance(text, str) else ""
    return line if len(line) <= MAX_DETAIL else f"{line[:MAX_DETAIL]}…"
