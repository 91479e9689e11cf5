"""The other end: whether a webhook that came in is who it says, and fresh."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.notify.errors import WebhookSignatureError
from companyos.notify.webhooks.signatures import matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ("Incoming", "verify_webhook")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A webhook whose signature holds."""

    id: str
    """Its idempotency key: do what it asks for once for each."""
    timestamp: int
    """When this attempt was sent, in seconds since 1970."""
    body: bytes
    """What was signed."""


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes,
    secrets: Iterable[str],
    *,
    tolerance_seconds: float = 300.0,
    now: float | None = None,
) -> Incoming:
    """The webhook, if one of the secrets (`whsec_…`) or public keys (`whpk_…`) signed it within the tolerance.

    It does not know which ids came before: keep them for as long as the tolerance.

    Raises:
        WebhookSignatureError: a header is missing, no signature fits, or it is too old or too new.
        ConfigError: a secret is none.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    name, stamp, signature = (lower.get(f"webhook-{part}", "") for part in ("id", "timestamp", "signature"))
    if not name or "." in name or not signature or not (stamp.isascii() and stamp.isdigit() and len(stamp) < 16):
        raise WebhookSignatureError(
            "not a signed webhook", expected="the headers webhook-id, webhook-timestamp and webhook-signature"
        )
    if not matches(name, int(stamp), body, signature, secrets):
        raise WebhookSignatureError("no signature of the webhook fits")
    if abs((time.time() if now is None else now) - int(stamp)) > tolerance_seconds:
        raise WebhookSignatureError("the webhook is too old or too new", expected=f"within {tolerance_seconds:g} s")
    return Incoming(name, int(stamp), body)
