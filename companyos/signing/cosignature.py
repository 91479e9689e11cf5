"""C2SP cosignatures: what a witness says of a checkpoint, with the time at which it said so.

Source: https://c2sp.org/tlog-cosignature (v1.1.0). Ed25519 works wherever notes do. ML-DSA-44 is there for a cosigner
that chooses it and needs a `cryptography` library that has it; only whole trees are cosigned, no subtrees.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from companyos.signing.errors import KeyUnusableError, SignatureInvalidError
from companyos.signing.keys import b64decode_strict
from companyos.signing.note import NoteVerifier, read_vkey

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.signing.interface import Signer

__all__ = ("CosignatureVerifier", "Cosigner")

Kind = Literal["ed25519", "ml-dsa-44"]

_TYPES: dict[Kind, int] = {"ed25519": 4, "ml-dsa-44": 6}
_KEY_BYTES: dict[Kind, int] = {"ed25519": 32, "ml-dsa-44": 1312}
_SIGNATURE_BYTES: dict[Kind, int] = {"ed25519": 64, "ml-dsa-44": 2420}
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class CosignatureVerifier:
    """The public key of a cosigner, under its name."""

    name: str
    """Key name: no spaces, no plus sign."""
    raw: bytes
    """The public key: 32 bytes of Ed25519 (RFC 8032) or 1312 of ML-DSA-44 (FIPS 204)."""
    kind: Kind = "ed25519"
    """Which of the two."""

    def __post_init__(self) -> None:
        if not self.name or any(character.isspace() or character == "+" for character in self.name):
            raise KeyUnusableError("not a name for a cosigner", got=repr(self.name), expected="no spaces, no plus sign")
        self._public()

    @property
    def hint(self) -> bytes:
        """The four bytes that, with the name, tell which key signed."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._typed).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as text: `name+hash+base64`, as other implementations read it."""
        return f"{self.name}+{self.hint.hex()}+{base64.b64encode(self._typed).decode()}"

    @classmethod
    def from_vkey(cls, text: str) -> CosignatureVerifier:
        """Read the key of a cosigner.

        Raises:
            KeyUnusableError: not a verifier key, not one of a cosigner, or its hash does not match.
        """
        name, hint, raw = read_vkey(text)
        kind = next((kind for kind, number in _TYPES.items() if raw[:1] == bytes([number])), None)
        if kind is None:
            raise KeyUnusableError(
                "not the key of a cosigner", got=raw[:1].hex(), expected="04: Ed25519, 06: ML-DSA-44"
            )
        verifier = cls(name, raw[1:], kind)
        if verifier.hint.hex() != hint:
            raise KeyUnusableError("verifier key does not match its hash", got=hint, expected=verifier.hint.hex())
        return verifier

    def check(self, signature: bytes, text: bytes) -> None:
        """Return if the cosignature (8 bytes of time, then the signature) holds over the checkpoint `text`.

        Raises:
            SignatureInvalidError: it does not.
        """
        stamp = self._stamp(signature)
        message = _message(self.kind, self.name, text.decode(), stamp)
        try:
            self._public().verify(signature[8:], message)
        except InvalidSignature as error:
            raise SignatureInvalidError(f"cosignature by {self.name}+{self.hint.hex()} does not hold") from error

    def time(self, signature: bytes) -> datetime:
        """When the cosigner says that it signed; to be believed only after `check`.

        Raises:
            SignatureInvalidError: it has another length, or a time that no calendar has.
        """
        try:
            return datetime.fromtimestamp(self._stamp(signature), UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise SignatureInvalidError("cosignature with an impossible time", got=error) from error

    @property
    def _typed(self) -> bytes:
        return bytes([_TYPES[self.kind]]) + self.raw

    def _stamp(self, signature: bytes) -> int:
        expected = 8 + _SIGNATURE_BYTES[self.kind]
        stamp = int.from_bytes(signature[:8], "big")
        if len(signature) != expected or stamp >= 1 << 63:
            raise SignatureInvalidError("malformed cosignature", got=len(signature), expected=f"{expected} bytes")
        return stamp

    def _public(self) -> Any:
        if len(self.raw) != _KEY_BYTES[self.kind]:
            raise KeyUnusableError("key of the wrong length", got=len(self.raw), expected=_KEY_BYTES[self.kind])
        try:
            if self.kind == "ed25519":
                return Ed25519PublicKey.from_public_bytes(self.raw)
            return _ml_dsa().MLDSA44PublicKey.from_public_bytes(self.raw)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyUnusableError("not a public key", got=error, expected=self.kind) from error


@dataclass(frozen=True, slots=True)
class Cosigner:
    """Cosigns checkpoints with one private key, which its representation never shows."""

    verifier: CosignatureVerifier
    """The public half."""
    sign: Callable[[bytes], bytes]
    """The raw signature over a message."""

    @classmethod
    def ed25519(cls, name: str, signer: Signer) -> Cosigner:
        """A cosigner with an Ed25519 key, which must be no other cosigner's and no log's: the name is not signed.

        Raises:
            KeyUnusableError: the key is not Ed25519, or the name is not one.
        """
        return cls(CosignatureVerifier(name, NoteVerifier(name, signer.public).key.raw), signer.sign)

    @classmethod
    def ml_dsa_44(cls, name: str, seed: bytes) -> Cosigner:
        """A cosigner with the ML-DSA-44 key of a 32-byte secret seed (FIPS 204).

        Raises:
            KeyUnusableError: not a seed, or the `cryptography` library here has no ML-DSA.
        """
        try:
            private = _ml_dsa().MLDSA44PrivateKey.from_seed_bytes(seed)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyUnusableError("not a seed of an ML-DSA-44 key", got=len(seed), expected="32 bytes") from error
        return cls(CosignatureVerifier(name, private.public_key().public_bytes_raw(), "ml-dsa-44"), private.sign)

    def cosign(self, text: str, at: int | None = None) -> tuple[str, bytes, bytes]:
        """The cosignature of a checkpoint's `text`, as in `Note.signatures`, made now or `at` a POSIX time in seconds.

        Raises:
            SignatureInvalidError: the text is not a checkpoint.
        """
        stamp = int(time.time()) if at is None else at
        message = _message(self.verifier.kind, self.verifier.name, text, stamp)
        return self.verifier.name, self.verifier.hint, struct.pack(">Q", stamp) + self.sign(message)


def _message(kind: Kind, name: str, text: str, stamp: int) -> bytes:
    lines = text.split("\n")
    if len(lines) < 4 or not all(lines[:-1]) or lines[-1] or not _SIZE.fullmatch(lines[1]):
        raise SignatureInvalidError("only checkpoints are cosigned", got=text, expected="origin, size, root")
    if kind == "ed25519":
        return f"cosignature/v1\ntime {stamp}\n{text}".encode()
    return _subtree(name, stamp, lines[0], (0, int(lines[1])), b64decode_strict(lines[2]))


def _subtree(name: str, stamp: int, log: str, leaves: tuple[int, int], root: bytes) -> bytes:
    cosigner, origin = name.encode(), log.encode()
    if len(cosigner) > 255 or len(origin) > 255 or len(root) != 32:
        raise SignatureInvalidError("checkpoint does not fit an ML-DSA-44 cosignature", got=log)
    head = bytes([len(cosigner)]) + cosigner + struct.pack(">Q", stamp) + bytes([len(origin)]) + origin
    return b"subtree/v1\n\0" + head + struct.pack(">QQ", *leaves) + root


def _ml_dsa() -> Any:
    try:
        return import_module("cryptography.hazmat.primitives.asymmetric.mldsa")
    except ImportError as error:
        raise KeyUnusableError(
            "no ML-DSA in the cryptography library here", hint="pip install -U cryptography"
        ) from error
