"""Where a message stands on each channel, and the log of deliveries."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from companyos.notify.errors import NotifyUnknownError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from companyos.ledger.outbox import Outbox, Record

__all__ = ("ChannelStatus", "DeliveryStatus", "delivery_log", "status_of", "to_csv")

COLUMNS = ("timestamp", "destination", "correlation_id", "status", "latency_ms")
Stage = Literal["queued", "sending", "retrying", "delivered", "dead", "dropped"]


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """Where a message stands on one channel."""

    channel: str
    """Name of the channel."""
    stage: Stage
    """`queued` before the first attempt, `retrying` after a failed one."""
    attempts: int
    """How many were begun."""
    note: str
    """Why the last one failed, if it did."""
    next_attempt: datetime | None
    """When it is tried next, or taken over if its worker is gone; None once it is final."""
    finished: datetime | None
    """When it was delivered, given up or dropped."""


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """Where a message stands."""

    id: str
    """The message."""
    topic: str
    """What it is about."""
    correlation_id: str
    """What it belongs to."""
    redacted: bool
    """Whether something in it was masked."""
    published: datetime
    """When."""
    channels: tuple[ChannelStatus, ...]
    """Where it stands on each, by name."""

    @property
    def delivered(self) -> bool:
        """Whether every channel has taken it."""
        return all(one.stage == "delivered" for one in self.channels)

    def to_dict(self) -> dict[str, Any]:
        """The status as a JSON object."""
        return {
            "id": self.id,
            "topic": self.topic,
            "correlation_id": self.correlation_id,
            "redacted": self.redacted,
            "published": self.published.isoformat(),
            "delivered": self.delivered,
            "channels": [
                {
                    "channel": one.channel,
                    "stage": one.stage,
                    "attempts": one.attempts,
                    "note": one.note,
                    "next_attempt": one.next_attempt and one.next_attempt.isoformat(),
                    "finished": one.finished and one.finished.isoformat(),
                }
                for one in self.channels
            ],
        }


def status_of(outbox: Outbox, name: str) -> DeliveryStatus:
    """Where the message of that id stands.

    Raises:
        NotifyUnknownError: there is none.
    """
    records = outbox.find(name)
    if not records:
        raise NotifyUnknownError(f"no message {name} in the outbox", hint="see `companyos notify log`")
    meta = json.loads(records[0].meta)
    return DeliveryStatus(
        name,
        json.loads(records[0].body)["topic"],
        meta["correlation_id"],
        meta["redacted"],
        _time(records[0].created),
        tuple(_channel(record) for record in records),
    )


def delivery_log(records: Iterable[Record]) -> list[dict[str, str]]:
    """One row a final delivery: when it ended, where, for what, how, and milliseconds since it was published."""
    return [
        {
            "timestamp": _time(record.finished).isoformat(timespec="milliseconds"),
            "destination": record.lane,
            "correlation_id": json.loads(record.meta)["correlation_id"],
            "status": record.state,
            "latency_ms": f"{(record.finished - record.created) * 1000:.1f}",
        }
        for record in records
        if record.finished is not None
    ]


def to_csv(rows: Iterable[dict[str, str]]) -> str:
    """The rows of a delivery log as CSV (RFC 4180, line ends by LF)."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _channel(record: Record) -> ChannelStatus:
    final = record.state != "waiting"
    return ChannelStatus(
        record.lane,
        _stage(record),
        record.attempts,
        record.note,
        None if final else _time(record.due),
        None if record.finished is None else _time(record.finished),
    )


def _stage(record: Record) -> Stage:
    if record.state != "waiting":
        return record.state
    return "sending" if record.held else "retrying" if record.attempts else "queued"


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
