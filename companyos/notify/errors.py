"""What can go wrong with telling somebody something, each kind under a stable code."""

from __future__ import annotations

from typing import ClassVar

from companyos.errors import IntegrityError, UserError

__all__ = (
    "DeliveryError",
    "NotifyMessageError",
    "NotifyUnknownError",
    "ServiceError",
    "WebhookAddressError",
    "WebhookAnswerError",
    "WebhookHandshakeError",
    "WebhookRedirectError",
    "WebhookRefusedError",
    "WebhookSignatureError",
    "WebhookStatusError",
    "WebhookTimeoutError",
    "WebhookUnreachableError",
)


class NotifyMessageError(UserError, ValueError):
    """A message cannot be told as it is: no topic, no text, too large, or an id that cannot be a key."""

    code = "notify.message"


class NotifyUnknownError(UserError):
    """There is no message of that id in the outbox, or none that is dead."""

    code = "notify.unknown"
    exit_status = 1


class DeliveryError(UserError):
    """One attempt to deliver a message failed; its text holds no secrets, so that it may be kept.

    `retry_after_seconds` is how long the receiver asked to be left alone, if it did.
    """

    code = "notify.delivery"
    exit_status = 1
    permanent: ClassVar[bool] = False
    """Whether another attempt is pointless."""

    def __init__(self, what: str, *, retry_after_seconds: float | None = None, hint: str | None = None) -> None:
        super().__init__(what, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class WebhookAddressError(DeliveryError):
    """The host of a webhook leads into a network that is not public; nothing was sent."""

    code = "notify.webhook_address"
    permanent = True


class WebhookRedirectError(DeliveryError):
    """A webhook answered with a redirect, which is never followed."""

    code = "notify.webhook_redirect"
    permanent = True


class WebhookStatusError(DeliveryError):
    """A webhook answered with a status that is no success."""

    code = "notify.webhook_status"


class WebhookRefusedError(WebhookStatusError):
    """A webhook answered that it will never take this message (4xx)."""

    code = "notify.webhook_refused"
    permanent = True


class WebhookTimeoutError(DeliveryError):
    """A webhook took too long; it may have taken the message."""

    code = "notify.webhook_timeout"


class WebhookUnreachableError(DeliveryError):
    """A webhook was not reached, or its connection broke; it may have taken the message."""

    code = "notify.webhook_unreachable"


class WebhookAnswerError(DeliveryError):
    """A webhook answered with something that is not HTTP, or with more of it than is read."""

    code = "notify.webhook_answer"


class WebhookHandshakeError(DeliveryError):
    """The receiver did not agree to take events from this sender (CloudEvents, abuse protection)."""

    code = "notify.webhook_handshake"


class WebhookSignatureError(IntegrityError):
    """A webhook that came in is not signed as it should be, or too old."""

    code = "notify.webhook_signature"


class ServiceError(DeliveryError):
    """A service behind Apprise did not take the message."""

    code = "notify.service"
