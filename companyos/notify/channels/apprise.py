"""Slack, e-mail and some hundred more services, by Apprise: one service URL a channel."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any

from companyos._extras import require
from companyos.errors import ConfigError
from companyos.notify.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from companyos.ports import Message

__all__ = ("AppriseChannel",)

_LOGGERS = (logging.getLogger("apprise"), logging.getLogger("urllib3.connectionpool"))
_lock = threading.Lock()
_sending: list[int] = []


class AppriseChannel:
    """Sends each message to one service; `url` reads its URL, which holds its credentials, for every attempt.

    No service behind it knows an idempotency key: a message whose worker died between sending and writing that down is
    sent again. Apprise makes its own connections; the addresses are not looked at as those of webhooks are.
    """

    outside = True
    honours_key = False

    def __init__(self, name: str, url: Callable[[], str], *, timeout_seconds: float = 20.0) -> None:
        self.name = name
        self._url, self._timeout = url, timeout_seconds

    def deliver(self, message: Message) -> str:
        """Send the message.

        Raises:
            ServiceError: the service did not take it.
            ConfigError: the URL cannot be read, or Apprise does not know it.
            MissingExtraError: Apprise is not installed.
        """
        apprise = require("apprise", extra="notify-apprise")
        # What Apprise and its HTTP client log may show the URL.
        with _quiet():
            service = apprise.Apprise()
            if not service.add(self._url()) or len(service) != 1:
                raise ConfigError(
                    f"the secret of the channel {self.name} is not the URL of one service that Apprise knows"
                )
            result: Any = service.notify(body=_body(message), title=message.topic, timeout=self._timeout)
        if not result:
            status = getattr(getattr(result, "status", None), "value", "failure")
            raise ServiceError(f"the service of {self.name} did not take the message ({status})")
        return self.name


def _body(message: Message) -> str:
    lines = [f"{key}: {value}" for key, value in message.properties.items()]
    return "\n".join((message.text, *lines, f"correlation: {message.correlation_id}", f"id: {message.id}"))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what they log to themselves while one of us sends; the count is for those who send at the same time."""
    with _lock:
        _sending.append(1)
        for logger in _LOGGERS:
            logger.addFilter(_nothing)
    try:
        yield
    finally:
        with _lock:
            _sending.pop()
            for logger in () if _sending else _LOGGERS:
                logger.removeFilter(_nothing)


def _nothing(_record: logging.LogRecord) -> bool:
    return False
