"""C2SP signed notes with Ed25519 keys: text, a blank line, and signature lines.

Source: https://c2sp.org/signed-note (v1.0.0).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.signing.errors import KeyUnusableError, SignatureInvalidError, UntrustedError
from companyos.signing.keys import PublicKey, b64decode_strict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from companyos.signing.interface import Signer

__all__ = ("Note", "NoteVerifier", "sign_note")

MAX_SIGNATURES = 100
"""As in the Go implementation; the specification demands at least 16."""
MAX_BYTES = 1_000_000
_ED25519 = b"\x01"
_DASH = "\u2014 "


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """A key that may sign notes, under its name."""

    name: str
    """Key name: no spaces, no plus sign."""
    key: PublicKey
    """An Ed25519 key."""

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise KeyUnusableError("not a name for a note key", got=repr(self.name), expected="no spaces, no plus sign")

    @property
    def hint(self) -> bytes:
        """The four bytes that, with the name, tell which key signed."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.key.raw).digest()[:4]

    @property
    def vkey(self) -> str:
        """The verifier key as text: `name+hash+base64`, as other implementations read it."""
        return f"{self.name}+{self.hint.hex()}+{base64.b64encode(_ED25519 + self.key.raw).decode()}"

    @classmethod
    def from_vkey(cls, text: str) -> NoteVerifier:
        """Read a verifier key.

        Raises:
            KeyUnusableError: not a verifier key, another algorithm, or its hash does not match.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            name, hint, encoded = text.strip().split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
            if raw[:1] != _ED25519:
                raise KeyUnusableError("verifier key of an unsupported kind", got=raw[:1].hex(), expected="01: Ed25519")
            verifier = cls(name, PublicKey(Ed25519PublicKey.from_public_bytes(raw[1:])))
        except (ValueError, binascii.Error) as error:
            if isinstance(error, KeyUnusableError):
                raise
            raise KeyUnusableError("not a verifier key", got=text, expected="name+hash+base64") from error
        if verifier.hint.hex() != hint:
            raise KeyUnusableError("verifier key does not match its hash", got=hint, expected=verifier.hint.hex())
        return verifier


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note; its text may be believed only as returned by `verify`."""

    text: str
    """The text, ending in a newline."""
    signatures: tuple[tuple[str, bytes, bytes], ...]
    """Key name, key hash (4 bytes) and raw signature of each line."""

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Read a note.

        Raises:
            SignatureInvalidError: it is malformed.
        """
        if len(data) > MAX_BYTES:
            raise SignatureInvalidError("note is too large", got=len(data), expected=f"at most {MAX_BYTES} bytes")
        try:
            content = data.decode()
        except UnicodeDecodeError as error:
            raise SignatureInvalidError("note is not UTF-8", got=error) from error
        text, blank, tail = content.rpartition("\n\n")
        lines = tail.split("\n")
        if not blank or not text or lines.pop() or any(ord(c) < 0x20 and c != "\n" for c in content):
            raise SignatureInvalidError("not a signed note", expected="text, a blank line, signature lines")
        if not 0 < len(lines) <= MAX_SIGNATURES:
            raise SignatureInvalidError("wrong number of signatures in a note", got=len(lines))
        return cls(f"{text}\n", tuple(_signature(line) for line in lines))

    def verify(self, verifiers: Iterable[NoteVerifier]) -> tuple[NoteVerifier, ...]:
        """The known keys that signed, at least one.

        Raises:
            SignatureInvalidError: the signature of a known key does not hold.
            UntrustedError: no known key signed.
        """
        known = {(verifier.name, verifier.hint): verifier for verifier in verifiers}
        held: dict[tuple[str, bytes], NoteVerifier] = {}
        for name, hint, raw in self.signatures:
            verifier = known.get((name, hint))
            if verifier is not None:
                verifier.key.verify(raw, self.text.encode())
                held[name, hint] = verifier
        if not held:
            raise UntrustedError(
                "note is not signed by a known key",
                got=", ".join(f"{name}+{hint.hex()}" for name, hint, _ in self.signatures),
                expected=", ".join(f"{name}+{hint.hex()}" for name, hint in known) or "no key is trusted",
            )
        return tuple(held.values())


def sign_note(text: str, name: str, *signers: Signer) -> bytes:
    """`text`, which must end in a newline, as a note signed under the key name `name` by every one of `signers`.

    Raises:
        SignatureInvalidError: the text cannot be a note.
        KeyUnusableError: a key is not Ed25519, or the name is not one.
    """
    lines = "".join(f"{_DASH}{name} {_encoded(name, text, signer)}\n" for signer in signers)
    note = f"{text}\n{lines}".encode()
    if not text.endswith("\n") or Note.parse(note).text != text:
        raise SignatureInvalidError("text cannot be a note", got=repr(text), expected="lines that end in a newline")
    return note


def _encoded(name: str, text: str, signer: Signer) -> str:
    verifier = NoteVerifier(name, signer.public)
    return base64.b64encode(verifier.hint + signer.sign(text.encode())).decode()


def _is_name(name: str) -> bool:
    return bool(name) and not any(character.isspace() or character == "+" for character in name)


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, separator, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not separator or not _is_name(name):
        raise SignatureInvalidError("malformed signature line in a note", got=repr(line))
    raw = b64decode_strict(encoded)
    if len(raw) < 5:
        raise SignatureInvalidError("signature in a note is too short", got=len(raw), expected="5 bytes or more")
    return name, raw[:4], raw[4:]
