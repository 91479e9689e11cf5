"""Signed states of a log, and proofs that lead to them, in the formats of C2SP.

Checkpoints (https://c2sp.org/tlog-checkpoint), proofs of inclusion (https://c2sp.org/tlog-proof), and proofs of
consistency as a witness takes them (https://c2sp.org/tlog-witness).
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.ledger.errors import CheckpointInvalidError, ProofInvalidError
from companyos.ledger.merkle import leaf_hash, root_from_path, verify_consistency
from companyos.signing import Note, SignatureInvalidError, UntrustedError, sign_note
from companyos.signing.keys import b64decode_strict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from companyos.signing import NoteVerifier, Signer

__all__ = ("Checkpoint", "Consistency", "Proof")

_HEADER = "c2sp.org/tlog-proof@v1"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_MAX_PATH = 63
_TOO_LARGE = 1 << 63


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log at one size."""

    origin: str
    """Which log."""
    size: int
    """How many entries."""
    root: bytes
    """RFC 6962 root over them, 32 bytes."""

    def sign(self, *signers: Signer) -> bytes:
        """The checkpoint as a signed note, the name of every key being the origin."""
        return sign_note(self.text, self.origin, *signers)

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def from_text(cls, text: str) -> Checkpoint:
        """The checkpoint in the text of a note, whoever signed it; extension lines, which are opaque, are left out.

        Raises:
            CheckpointInvalidError: it is malformed.
        """
        lines = text.split("\n")
        if len(lines) < 4 or not all(lines[:-1]) or lines[-1] or not _NUMBER.fullmatch(lines[1]):
            raise CheckpointInvalidError("not a checkpoint", got=text, expected="origin, size, root")
        if int(lines[1]) >= _TOO_LARGE:
            raise CheckpointInvalidError("checkpoint of an impossible size", got=lines[1], expected="below 2^63")
        try:
            return cls(lines[0], int(lines[1]), _hash(lines[2]))
        except ProofInvalidError as error:
            raise CheckpointInvalidError(f"checkpoint: {error.what}", got=error.got) from error

    @classmethod
    def verify(cls, note: bytes, verifiers: Iterable[NoteVerifier], *, origin: str | None = None) -> Checkpoint:
        """The checkpoint in a note that the log's own key signed; signatures of others, witnesses' too, are ignored.

        The key bears the name of the log; for a log whose key has another name, `origin` says which log is meant.

        Raises:
            CheckpointInvalidError: malformed, signed by nobody known, or a signature does not hold.
        """
        known = tuple(verifiers)
        try:
            parsed = Note.parse(note)
            names = {verifier.name for verifier in parsed.verify(known)}
        except (SignatureInvalidError, UntrustedError) as error:
            raise CheckpointInvalidError(
                f"checkpoint: {error.what}", got=error.got, expected=error.expected, hint=_renamed(note, known)
            ) from error
        checkpoint = cls.from_text(parsed.text)
        expected = names if origin is None else {origin}
        if checkpoint.origin not in expected:
            raise CheckpointInvalidError(
                "checkpoint of another log", got=checkpoint.origin, expected=", ".join(expected)
            )
        return checkpoint


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that an entry is in a log, to be checked offline with the log's public key alone."""

    index: int
    """The entry's index."""
    path: tuple[bytes, ...]
    """Sibling hashes from the leaf upwards."""
    checkpoint: bytes
    """The signed checkpoint, as a note."""

    def to_text(self) -> str:
        """The proof in the `.tlog-proof` format."""
        lines = [_HEADER, f"index {self.index}", *(base64.b64encode(node).decode() for node in self.path)]
        return "\n".join(lines) + "\n\n" + self.checkpoint.decode()

    @classmethod
    def from_text(cls, text: str) -> Proof:
        """Read a `.tlog-proof`; extra data, which nothing authenticates, is refused.

        Raises:
            ProofInvalidError: it is malformed.
        """
        head, blank, note = text.partition("\n\n")
        header, _, rest = head.partition("\n")
        index, *path = rest.split("\n")
        word, _, number = index.partition(" ")
        if header != _HEADER or not blank or word != "index" or not _NUMBER.fullmatch(number):
            raise ProofInvalidError("not a proof of inclusion", got=head, expected=f"{_HEADER}, index, hashes")
        # What is no text stays none: a note that is not UTF-8 is refused by who verifies it.
        return cls(int(number), tuple(_hash(line) for line in path), note.encode("utf-8", "surrogatepass"))

    def verify(self, entry: bytes, verifiers: Iterable[NoteVerifier], *, origin: str | None = None) -> Checkpoint:
        """The checkpoint that vouches for `entry` (its canonical bytes); `origin` as for `Checkpoint.verify`.

        Raises:
            ProofInvalidError: the proof does not lead to the signed root.
            CheckpointInvalidError: the checkpoint is not signed by the log's key.
        """
        checkpoint = Checkpoint.verify(self.checkpoint, verifiers, origin=origin)
        root = root_from_path(self.index, checkpoint.size, leaf_hash(entry), self.path)
        if root != checkpoint.root:
            raise ProofInvalidError(
                f"entry {self.index} is not in the log", got=root.hex(), expected=checkpoint.root.hex()
            )
        return checkpoint


@dataclass(frozen=True, slots=True)
class Consistency:
    """A proof that a log only grew since it had `old_size` entries; as text, the request of tlog-witness."""

    old_size: int
    """Size of the log at the earlier checkpoint."""
    path: tuple[bytes, ...]
    """Hashes in the order of RFC 6962, section 2.1.2; none if either size is 0 or they are equal."""
    checkpoint: bytes
    """The newer, signed checkpoint, as a note."""

    def to_text(self) -> str:
        """The proof as the body of `add-checkpoint`."""
        lines = [f"old {self.old_size}", *(base64.b64encode(node).decode() for node in self.path)]
        return "\n".join(lines) + "\n\n" + self.checkpoint.decode()

    @classmethod
    def from_text(cls, text: str) -> Consistency:
        """Read the body of `add-checkpoint`.

        Raises:
            ProofInvalidError: it is malformed.
        """
        head, blank, note = text.partition("\n\n")
        old, *path = head.split("\n")
        word, _, number = old.partition(" ")
        if not blank or word != "old" or not _NUMBER.fullmatch(number) or len(path) > _MAX_PATH:
            raise ProofInvalidError(
                "not a proof of consistency", got=head, expected="old, at most 63 hashes, checkpoint"
            )
        return cls(int(number), tuple(_hash(line) for line in path), note.encode())

    def verify(self, old: Checkpoint, verifiers: Iterable[NoteVerifier], *, origin: str | None = None) -> Checkpoint:
        """The newer checkpoint, of which `old` is an earlier state; `origin` as for `Checkpoint.verify`.

        Raises:
            ProofInvalidError: the proof is of another pair of states, or does not lead from one to the other.
            CheckpointInvalidError: the newer checkpoint is not signed by the log's key.
        """
        checkpoint = Checkpoint.verify(self.checkpoint, verifiers, origin=origin)
        if (old.origin, old.size) != (checkpoint.origin, self.old_size):
            raise ProofInvalidError(
                "proof of consistency with another checkpoint",
                got=f"{checkpoint.origin} at {self.old_size}",
                expected=f"{old.origin} at {old.size}",
            )
        verify_consistency(old.size, old.root, checkpoint.size, checkpoint.root, self.path)
        return checkpoint


def _hash(text: str) -> bytes:
    try:
        value = b64decode_strict(text)
    except SignatureInvalidError as error:
        raise ProofInvalidError("not a hash in Base64", got=repr(text)) from error
    if len(value) != 32:
        raise ProofInvalidError("hash of the wrong length", got=len(value), expected="32 bytes")
    return value


def _renamed(note: bytes, verifiers: Iterable[NoteVerifier]) -> str | None:
    """The next step where a log says that it has another name than the one it was opened under."""
    origin, _, _ = note.partition(b"\n")
    if origin in {verifier.name.encode() for verifier in verifiers}:
        return None
    name = origin.decode(errors="replace")[:100]
    return f"it is of the log {name}; if that is the log that you mean, ledger.origin in companyos.yaml is to say so"
