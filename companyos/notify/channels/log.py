"""The channel for when there is no other: the log of the process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from companyos.ports import Message

__all__ = ("LogChannel",)

_log = logging.getLogger("companyos.notify")


class LogChannel:
    """Writes each message as a warning of the logger `companyos.notify`."""

    name = "log"
    outside = False

    def deliver(self, message: Message) -> str:
        """Log the message."""
        _log.warning("%s [%s]: %s", message.topic, message.correlation_id, message.text)
        return "log"
