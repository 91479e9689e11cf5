"""Telling people: messages that are kept until every channel has them, and a record of what was delivered.

Start here: `Notifier(channels, outbox=open_outbox("sqlite:///notify.db", "notify"), net=Redactor()).publish(...)`.
"""

from __future__ import annotations

from companyos.ledger.outbox import open_outbox
from companyos.notify.channels import AppriseChannel, JsonLinesChannel, LogChannel, WebhookChannel
from companyos.notify.errors import (
    DeliveryError,
    NotifyMessageError,
    NotifyUnknownError,
    ServiceError,
    WebhookAddressError,
    WebhookAnswerError,
    WebhookHandshakeError,
    WebhookRedirectError,
    WebhookRefusedError,
    WebhookSignatureError,
    WebhookStatusError,
    WebhookTimeoutError,
    WebhookUnreachableError,
)
from companyos.notify.publisher import Notifier
from companyos.notify.retry import RetryPolicy
from companyos.notify.status import ChannelStatus, DeliveryStatus, delivery_log, to_csv
from companyos.notify.webhooks import AddressRule, Client, Incoming, sign, verify_webhook
from companyos.notify.worker import Tally, Worker
from companyos.ports import Channel, Delivery, Message

__all__ = (
    "AddressRule",
    "AppriseChannel",
    "Channel",
    "ChannelStatus",
    "Client",
    "Delivery",
    "DeliveryError",
    "DeliveryStatus",
    "Incoming",
    "JsonLinesChannel",
    "LogChannel",
    "Message",
    "Notifier",
    "NotifyMessageError",
    "NotifyUnknownError",
    "RetryPolicy",
    "ServiceError",
    "Tally",
    "WebhookAddressError",
    "WebhookAnswerError",
    "WebhookChannel",
    "WebhookHandshakeError",
    "WebhookRedirectError",
    "WebhookRefusedError",
    "WebhookSignatureError",
    "WebhookStatusError",
    "WebhookTimeoutError",
    "WebhookUnreachableError",
    "Worker",
    "delivery_log",
    "open_outbox",
    "sign",
    "to_csv",
    "verify_webhook",
)
