"""Signatures of Standard Webhooks 1.0: `v1` (HMAC-SHA256) and `v1a` (Ed25519) over `id.timestamp.body`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING

from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("matches", "sign")


def sign(message_id: str, timestamp: int, body: bytes, secrets: Iterable[str]) -> str:
    """The header `webhook-signature`: one signature a secret, so that receivers may have the old or the new one.

    A secret is `whsec_` and 24 to 64 bytes in base64, or `whsk_` and an Ed25519 key (32 bytes, or 64 with its public
    half).

    Raises:
        ConfigError: a secret is neither.
    """
    content = _content(message_id, timestamp, body)
    return " ".join(_signature(content, secret) for secret in secrets)


def matches(message_id: str, timestamp: int, body: bytes, header: str, secrets: Iterable[str]) -> bool:
    """Whether one of the signatures in `header` is made by one of the secrets (`whsec_`) or public keys (`whpk_`).

    Raises:
        ConfigError: a secret is neither.
    """
    content = _content(message_id, timestamp, body)
    given = [entry.partition(",") for entry in header.split(" ")[:_MOST_SIGNATURES]]
    keys = list(secrets)
    # All are tried, whichever fits.
    return sum(_fits(content, version, text, key) for version, _, text in given for key in keys) > 0


_MOST_SIGNATURES = 16


def _content(message_id: str, timestamp: int, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode() + body


def _signature(content: bytes, secret: str) -> str:
    if secret.startswith("whsk_"):
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        raw = _decoded(secret, "whsk_", {32, 64})
        made = Ed25519PrivateKey.from_private_bytes(raw[:32]).sign(content)
        return f"v1a,{base64.b64encode(made).decode()}"
    return f"v1,{_hmac(content, secret)}"


def _fits(content: bytes, version: str, text: str, key: str) -> bool:
    if key.startswith("whpk_"):
        return version == "v1a" and _verified(content, text, key)
    return version == "v1" and hmac.compare_digest(text.encode(), _hmac(content, key).encode())


def _verified(content: bytes, text: str, key: str) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public = Ed25519PublicKey.from_public_bytes(_decoded(key, "whpk_", {32}))
    try:
        public.verify(base64.b64decode(text, validate=True), content)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _hmac(content: bytes, secret: str) -> str:
    key = _decoded(secret, "whsec_", set(range(24, 65)))
    return base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def _decoded(secret: str, prefix: str, sizes: set[int]) -> bytes:
    try:
        raw = base64.b64decode(secret.removeprefix(prefix), validate=True) if secret.startswith(prefix) else b""
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) not in sizes:
        raise ConfigError(
            "not a secret of Standard Webhooks", expected="whsec_…, whsk_… or whpk_… (to verify), in base64"
        )
    return raw
