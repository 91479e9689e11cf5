"""The front door: one message to every configured channel, kept until each of them has it."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from companyos.errors import ConfigError
from companyos.ledger.outbox import Draft, Result
from companyos.notify import messages
from companyos.notify.attempt import Attempt, attempt
from companyos.notify.receipts import bring, receipt
from companyos.notify.retry import RetryPolicy
from companyos.notify.status import status_of
from companyos.ports import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from companyos.ledger.outbox import Item, Outbox
    from companyos.notify.status import DeliveryStatus
    from companyos.ports import Channel, LedgerPort, Message, TextNet

__all__ = ("Notifier",)

LEASE_SECONDS = 180.0
"""How long what is tried at once belongs to who published it; half of it is for the channels that come first."""


class Notifier:
    """Publishes messages on channels; a channel that fails is reported and stops none of the others.

    With an `outbox` a message is kept before anything is sent, tried once by the caller (unless `at_once` is False),
    and afterwards by workers. Without one it is tried once, and that is all. `net` masks secrets; a channel that leaves
    the company is not used without one. `correlate` gives the correlation id of the current scope.

    Raises:
        ConfigError: a channel leads outside and there is no net, or two have one name.
    """

    def __init__(
        self,
        channels: Iterable[Channel],
        *,
        ledger: LedgerPort | None = None,
        outbox: Outbox | None = None,
        net: TextNet | None = None,
        correlate: Callable[[], str | None] | None = None,
        retry: RetryPolicy | None = None,
        at_once: bool = True,
    ) -> None:
        self.channels: dict[str, Channel] = {}
        """The channels by name."""
        for channel in channels:
            if channel.name in self.channels:
                raise ConfigError("two notification channels have one name", got=channel.name)
            if net is None and getattr(channel, "outside", True):
                raise ConfigError(
                    f"the channel {channel.name!r} leaves the company, and nothing would mask secrets",
                    hint="give net=companyos.observability.Redactor(), or a channel with `outside = False`",
                )
            self.channels[channel.name] = channel
        self.outbox = outbox
        """Where messages wait, if there is one."""
        self.retry = retry or RetryPolicy()
        """When to try again."""
        self._ledger, self._net, self._correlate, self._at_once = ledger, net, correlate, at_once

    @classmethod
    def choose(
        cls,
        names: Iterable[str],
        known: Mapping[str, Channel],
        *,
        ledger: LedgerPort | None = None,
        outbox: Outbox | None = None,
        net: TextNet | None = None,
        correlate: Callable[[], str | None] | None = None,
        retry: RetryPolicy | None = None,
        at_once: bool = True,
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
        return cls(chosen, ledger=ledger, outbox=outbox, net=net, correlate=correlate, retry=retry, at_once=at_once)

    def publish(self, message: Message, *, connection: object | None = None) -> tuple[Delivery, ...]:
        """Deliver to every channel and return what became of it on each, in order.

        With `connection`, an open transaction in the outbox's own database, the message exists if and only if that
        commits, and workers deliver it. The ledger learns which channels failed and the class of the error; its text,
        which may hold a webhook's token, is in the returned details only.

        Raises:
            NotifyMessageError: the message cannot be told.
            OutboxConflictError: its id is taken by another message.
            OutboxForeignError: `connection` leads elsewhere.
            ConfigError: `connection` without an outbox.
        """
        return self.publish_batch((message,), connection=connection)[0]

    def publish_batch(
        self, batch: Iterable[Message], *, connection: object | None = None
    ) -> list[tuple[Delivery, ...]]:
        """Publish several messages: kept all together or none of them, then as `publish`."""
        prepared = [messages.prepare(one, net=self._net, correlate=self._correlate) for one in batch]
        if self.outbox is None:
            if connection is not None:
                raise ConfigError("a message can only be written in a transaction where there is an outbox")
            return [self._tell(one.message) for one in prepared]
        drafts = []
        for one in prepared:
            body, meta = messages.written(one)
            drafts += [Draft(one.message.id, name, body, meta) for name in self.channels]
        now = self._at_once and connection is None
        items = self.outbox.add(drafts, connection=connection, lease_seconds=LEASE_SECONDS if now else None)
        tried = self._try(self.outbox, items)
        return [
            tuple(self._delivery(one.message.id, name, tried, now=now) for name in self.channels) for one in prepared
        ]

    def get_delivery_status(self, message_id: str) -> DeliveryStatus:
        """Where a message stands on each channel.

        Raises:
            NotifyUnknownError: the outbox holds no such message.
            ConfigError: there is no outbox.
        """
        if self.outbox is None:
            raise ConfigError("there is no outbox, so nothing is kept about messages")
        return status_of(self.outbox, message_id)

    def close(self) -> None:
        """Close the outbox."""
        if self.outbox is not None:
            self.outbox.close()

    def _try(self, outbox: Outbox, items: Sequence[Item]) -> dict[tuple[str, str], Attempt]:
        tried = {}
        rng = random.Random()  # noqa: S311 - jitter
        until = time.monotonic() + LEASE_SECONDS / 2
        for item in items:
            if time.monotonic() > until:
                outbox.finish([Result(item, "waiting", given_back=True)])
                continue
            made = attempt(self.channels[item.lane], messages.read(item.id, item.body, item.meta, item.created))
            tried[item.id, item.lane] = made
            outbox.finish([self.retry.result(item, made, rng)], receipt=receipt)
        if items:
            bring(outbox, self._ledger)
        return tried

    def _delivery(self, name: str, channel: str, tried: Mapping[tuple[str, str], Attempt], *, now: bool) -> Delivery:
        made = tried.get((name, channel))
        if made is not None:
            queued = not made.delivered and not made.permanent and self.retry.attempts > 1
            return Delivery(channel, made.delivered, made.detail, name, queued)
        if now and self.outbox is not None:  # known before: it is as it is
            state = next((one.state for one in self.outbox.find(name) if one.lane == channel), "waiting")
            return Delivery(channel, state == "delivered", state, name, state == "waiting")
        return Delivery(channel, delivered=False, detail="queued", message_id=name, queued=True)

    def _tell(self, message: Message) -> tuple[Delivery, ...]:
        attempts = {name: attempt(channel, message) for name, channel in self.channels.items()}
        if self._ledger is not None:
            self._ledger.append(
                "companyos.notify.published",
                {
                    "topic": message.topic,
                    "correlation_id": message.correlation_id,
                    "deliveries": [_record(name, made) for name, made in attempts.items()],
                },
            )
        return tuple(Delivery(name, made.delivered, made.detail, message.id) for name, made in attempts.items())


def _record(channel: str, made: Attempt) -> dict[str, str | bool]:
    # An error's text, or a place, may hold a webhook's token, and the ledger forgets nothing.
    record: dict[str, str | bool] = {"channel": channel, "delivered": made.delivered}
    return record if made.delivered else record | {"error": made.error}
