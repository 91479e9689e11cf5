"""DSSE envelopes (secure-systems-lab/dsse v1.0): a payload with its type and signatures over both.

Source: https://github.com/secure-systems-lab/dsse/blob/master/envelope.md and protocol.md.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.canonical import canonical_bytes
from companyos.signing.errors import SignatureInvalidError, UntrustedError
from companyos.signing.keys import b64decode_strict, low_s

if TYPE_CHECKING:
    from collections.abc import Iterable

    from companyos.signing.interface import Signer, Verifier

__all__ = ("INTOTO_PAYLOAD", "Envelope", "pae")

INTOTO_PAYLOAD = "application/vnd.in-toto+json"
"""Payload type of in-toto statements."""


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: what is really signed."""
    kind = payload_type.encode()
    return b" ".join((b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload))


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload, its type, and signatures by key id."""

    payload_type: str
    """Media type of the payload."""
    payload: bytes
    """The bytes that were signed together with the type."""
    signatures: tuple[tuple[str, bytes], ...] = ()
    """Key id and raw signature, one a signer."""

    @classmethod
    def sign(cls, payload_type: str, payload: bytes, signers: Iterable[Signer]) -> Envelope:
        """Sign a payload with every one of `signers`."""
        message = pae(payload_type, payload)
        signatures = tuple((signer.public.key_id, signer.sign(message)) for signer in signers)
        return cls(payload_type, payload, signatures)

    @classmethod
    def from_bytes(cls, data: bytes) -> Envelope:
        """Read an envelope in the spelling that `to_bytes` gives it, and no other.

        An envelope has many spellings (white space, key order, alternative Base64); accepting only one means that no
        bit of a stored envelope can change unseen.

        Raises:
            SignatureInvalidError: it is not an envelope, or not in canonical spelling.
        """
        try:
            value = json.loads(data)
            envelope = cls(
                _text(value["payloadType"]),
                b64decode_strict(value["payload"]),
                tuple((_text(item["keyid"]), b64decode_strict(item["sig"])) for item in value["signatures"]),
            )
            canonical = envelope.to_bytes()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SignatureInvalidError("not a DSSE envelope", got=f"{type(error).__name__}: {error}") from error
        if canonical != data:
            raise SignatureInvalidError("DSSE envelope is not in canonical spelling", expected="RFC 8785 JSON")
        return envelope

    def to_bytes(self) -> bytes:
        """The envelope as canonical JSON."""
        signatures = [{"keyid": key_id, "sig": base64.b64encode(raw).decode()} for key_id, raw in self.signatures]
        payload = base64.b64encode(self.payload).decode()
        return canonical_bytes({"payload": payload, "payloadType": self.payload_type, "signatures": signatures})

    def verify(self, verifiers: Iterable[Verifier], *, payload_type: str, threshold: int = 1) -> bytes:
        """The payload, if at least `threshold` different trusted keys signed it as `payload_type`.

        Signatures by unknown keys are ignored; a signature that claims a known key and does not hold condemns the
        whole envelope.

        Raises:
            SignatureInvalidError: a known key's signature does not hold, or the payload is of another type.
            UntrustedError: fewer than `threshold` of the keys signed.
        """
        if self.payload_type != payload_type:
            raise SignatureInvalidError("payload is of another type", got=self.payload_type, expected=payload_type)
        known = {verifier.key_id: verifier for verifier in verifiers}
        message = pae(self.payload_type, self.payload)
        held = set()
        for key_id, signature in self.signatures:
            if key_id in known:
                known[key_id].verify(signature, message)
                held.add(key_id)
        if len(held) < max(threshold, 1):
            raise UntrustedError(
                "not signed by enough trusted keys",
                got=", ".join(key_id[:16] for key_id, _ in self.signatures) or "no signature",
                expected=f"{threshold} of: {', '.join(key_id[:16] for key_id in sorted(known)) or 'no trusted key'}",
            )
        return self.payload

    def require_only(self, verifiers: Iterable[Verifier]) -> None:
        """Return if every signature names one of the keys, each key once, and no ECDSA signature is high-S.

        DSSE lets anybody add signatures by unknown keys, and of an ECDSA signature anybody can make a second one; a
        stored envelope that nobody may change unseen has neither. This does not replace `verify`.

        Raises:
            SignatureInvalidError: there is such a signature.
        """
        known = {verifier.key_id for verifier in verifiers}
        for number, (key_id, signature) in enumerate(self.signatures):
            if key_id not in known:
                raise SignatureInvalidError("envelope has a signature by an unknown key", got=repr(key_id[:64]))
            if key_id in {other for other, _ in self.signatures[:number]}:
                raise SignatureInvalidError("envelope has two signatures by one key", got=key_id[:16])
            if low_s(signature) != signature:
                raise SignatureInvalidError("ECDSA signature is not in canonical spelling", expected="low-S")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where text belongs")
    return value
