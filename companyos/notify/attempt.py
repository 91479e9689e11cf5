"""One attempt on one channel, whatever the channel does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.errors import printable
from companyos.notify.errors import DeliveryError

if TYPE_CHECKING:
    from companyos.ports import Channel, Message

__all__ = ("Attempt", "attempt")

MAX_DETAIL = 200
"""Characters of a delivery's detail."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of it."""

    delivered: bool
    """Whether the channel took the message."""
    detail: str
    """What the channel said, for the caller alone: it may hold a webhook's token."""
    note: str = ""
    """Why it failed, without secrets."""
    error: str = ""
    """Class of the error."""
    permanent: bool = False
    """Whether another attempt is pointless."""
    retry_after_seconds: float | None = None
    """How long the receiver asked to be left alone."""


def attempt(channel: Channel, message: Message) -> Attempt:
    """Try once; whatever a channel raises is a failed delivery, except an interrupt."""
    try:
        return Attempt(True, _short(channel.deliver(message)))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a channel raises is a failed delivery
        kind = type(error).__name__
        return Attempt(
            False,
            _short(f"{kind}: {error}"),
            # The text of any other error may hold a token, and neither store nor ledger is a place for one.
            _short(f"{error.code}: {error.what}") if isinstance(error, DeliveryError) else kind,
            kind,
            getattr(error, "permanent", False) is True,
            _seconds(getattr(error, "retry_after_seconds", None)),
        )


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value >= 0 else None


def _short(text: object) -> str:
    line = printable(text) if isinstance(text, str) else ""
    return line if len(line) <= MAX_DETAIL else f"{line[:MAX_DETAIL]}…"
