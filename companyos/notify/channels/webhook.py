"""Messages to an HTTP endpoint: signed, as CloudEvents, with one key for all attempts."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from companyos.notify.errors import (
    WebhookHandshakeError,
    WebhookRedirectError,
    WebhookRefusedError,
    WebhookStatusError,
)
from companyos.notify.webhooks.cloudevents import request
from companyos.notify.webhooks.signatures import sign

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from companyos.notify.webhooks.client import Answer, Client
    from companyos.notify.webhooks.cloudevents import Mode
    from companyos.ports import Message

__all__ = ("WebhookChannel",)

LATER = frozenset({408, 409, 425, 429})
"""Of the 4xx, those after which another attempt makes sense."""
MOST_RETRY_AFTER_SECONDS = 86_400.0


class WebhookChannel:
    """Posts each message to one URL, by Standard Webhooks and the HTTP binding of CloudEvents 1.0.

    `secrets` gives the signing secrets, read for every attempt: several while one is being replaced. With `origin`
    the receiver is asked first, once, whether it wants events from there (CloudEvents HTTP webhooks, section 4).
    """

    outside = True
    honours_key = True

    def __init__(
        self,
        name: str,
        client: Client,
        secrets: Callable[[], Sequence[str]],
        *,
        mode: Mode = "structured",
        source: str = "companyos",
        origin: str | None = None,
    ) -> None:
        self.name = name
        self._client, self._secrets, self._mode, self._source = client, secrets, mode, source
        self._origin, self._agreed = origin, origin is None
        self._lock = threading.Lock()

    def deliver(self, message: Message) -> str:
        """Post the message.

        Raises:
            DeliveryError: it was not taken; which kind says why.
            ConfigError: a secret cannot be read.
        """
        self._agree()
        body, headers = request(message, self._source, self._mode)
        now = int(time.time())
        headers |= {
            "webhook-id": message.id,
            "webhook-timestamp": str(now),
            "webhook-signature": sign(message.id, now, body, self._secrets()),
        }
        if self._origin is not None:
            headers["origin"] = self._origin
        answer = self._client.send("POST", body, headers)
        _judge(self._client.host, answer)
        return f"{self._client.host} ({answer.status})"

    def _agree(self) -> None:
        with self._lock:
            if self._agreed or self._origin is None:
                return
            answer = self._client.send("OPTIONS", b"", {"webhook-request-origin": self._origin})
            allowed = [one.strip() for one in answer.headers.get("webhook-allowed-origin", "").split(",")]
            if answer.status >= 300 or not {"*", self._origin} & set(allowed):
                raise WebhookHandshakeError(
                    f"{self._client.host} does not take events from {self._origin}",
                    hint="have the receiver answer OPTIONS with WebHook-Allowed-Origin, or set no origin",
                )
            self._agreed = True


def _judge(host: str, answer: Answer) -> None:
    status = answer.status
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise WebhookRedirectError(f"{host} redirects ({status})", hint="configure the URL that it redirects to")
    if 400 <= status < 500 and status not in LATER:
        raise WebhookRefusedError(f"{host} refused the message ({status})")
    raise WebhookStatusError(
        f"{host} answered {status}", retry_after_seconds=_retry_after(answer.headers.get("retry-after", ""))
    )


def _retry_after(text: str) -> float | None:
    """Seconds, or until a date (RFC 9110, section 10.2.3); None for anything else."""
    if text.isascii() and text.isdigit() and len(text) < 12:
        return min(float(text), MOST_RETRY_AFTER_SECONDS)
    try:
        when = parsedate_to_datetime(text)
        if when.tzinfo is None:
            return None
        return min(max(0.0, (when - datetime.now(UTC)).total_seconds()), MOST_RETRY_AFTER_SECONDS)
    except (TypeError, ValueError, OverflowError):
        return None
