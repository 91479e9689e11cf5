"""C2SP signed notes with Ed25519 keys: text, a blank line, and signature lines.

Source: https://c2sp.org/signed-note (v1.0.0).
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from companyos.signing.errors import KeyUnusableError, SignatureInvalidError, UntrustedError
from companyos.signing.keys import PublicKey, b64decode_strict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from companyos.signing.interface import Signer

__all__ = ("Note", "NoteKey", "NoteVerifier", "read_vkey", "sign_note")

MAX_SIGNATURES = 100
"""As in the Go implementation; the specification demands at least 16."""
MAX_BYTES = 1_000_000
_ED25519 = b"\x01"
_DASH = "\u2014 "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NAME = re.compile(r"[^\s+]+")


class NoteKey(Protocol):
    """A key that may have signed a note, whatever its algorithm."""

    @property
    def name(self) -> str:
        """Key name."""
        ...

    @property
    def hint(self) -> bytes:
        """The four bytes that, with the name, tell which key signed."""
        ...

    def check(self, signature: bytes, text: bytes) -> None:
        """Return if the raw `signature` of a line holds over the note's `text`.

        Raises:
            SignatureInvalidError: it does not.
        """
        ...


Key = TypeVar("Key", bound=NoteKey)


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

        name, hint, raw = read_vkey(text)
        if raw[:1] != _ED25519:
            raise KeyUnusableError("verifier key of an unsupported kind", got=raw[:1].hex(), expected="01: Ed25519")
        try:
            verifier = cls(name, PublicKey(Ed25519PublicKey.from_public_bytes(raw[1:])))
        except ValueError as error:
            raise KeyUnusableError("not a verifier key", got=text, expected="32 bytes of Ed25519") from error
        if verifier.hint.hex() != hint:
            raise KeyUnusableError("verifier key does not match its hash", got=hint, expected=verifier.hint.hex())
        return verifier

    def check(self, signature: bytes, text: bytes) -> None:
        """Return if the raw `signature` of a line holds over the note's `text`.

        Raises:
            SignatureInvalidError: it does not.
        """
        self.key.verify(signature, text)


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
        if not blank or not text or lines.pop() or _CONTROL.search(content):
            raise SignatureInvalidError("not a signed note", expected="text, a blank line, signature lines")
        if not 0 < len(lines) <= MAX_SIGNATURES:
            raise SignatureInvalidError("wrong number of signatures in a note", got=len(lines))
        return cls(f"{text}\n", tuple(_signature(line) for line in lines))

    def to_bytes(self) -> bytes:
        """The note as it is stored and sent."""
        lines = (f"{_DASH}{name} {base64.b64encode(hint + raw).decode()}\n" for name, hint, raw in self.signatures)
        return f"{self.text}\n{''.join(lines)}".encode()

    def verify(self, verifiers: Iterable[Key]) -> tuple[Key, ...]:
        """The known keys that signed, at least one.

        Raises:
            SignatureInvalidError: the signature of a known key does not hold.
            UntrustedError: no known key signed.
        """
        known = {(verifier.name, verifier.hint): verifier for verifier in verifiers}
        held: dict[tuple[str, bytes], Key] = {}
        for name, hint, raw in self.signatures:
            verifier = known.get((name, hint))
            if verifier is not None:
                verifier.check(raw, self.text.encode())
                held[name, hint] = verifier
        if not held:
            raise UntrustedError(
                "note is not signed by a known key",
                got=", ".join(f"{name}+{hint.hex()}" for name, hint, _ in self.signatures),
                expected=", ".join(f"{name}+{hint.hex()}" for name, hint in known) or "no key is trusted",
            )
        return tuple(held.values())


def read_vkey(text: str) -> tuple[str, str, bytes]:
    """Name, hash and key bytes, the first of which is the kind, of a verifier key `name+hash+base64`.

    Raises:
        KeyUnusableError: it has another form.
    """
    try:
        name, hint, encoded = text.strip().split("+", 2)
        return name, hint, base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise KeyUnusableError("not a verifier key", got=text, expected="name+hash+base64") from error


def sign_note(text: str, name: str, *signers: Signer) -> bytes:
    """`text`, which must end in a newline, as a note signed under the key name `name` by every one of `signers`.

    Raises:
        SignatureInvalidError: the text cannot be a note.
        KeyUnusableError: a key is not Ed25519, or the name is not one.
    """
    hints = [NoteVerifier(name, signer.public).hint for signer in signers]
    lines = tuple((name, hint, signer.sign(text.encode())) for hint, signer in zip(hints, signers, strict=True))
    note = Note(text, lines).to_bytes()
    if not text.endswith("\n") or Note.parse(note).text != text:
        raise SignatureInvalidError("text cannot be a note", got=repr(text), expected="lines that end in a newline")
    return note


def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, separator, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not separator or not _is_name(name):
        raise SignatureInvalidError("malformed signature line in a note", got=repr(line))
    raw = b64decode_strict(encoded)
    if len(raw) < 5:
        raise SignatureInvalidError("signature in a note is too short", got=len(raw), expected="5 bytes or more")
    return name, raw[:4], raw[4:]
