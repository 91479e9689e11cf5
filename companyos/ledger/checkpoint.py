"""C2SP checkpoints (https://c2sp.org/tlog-checkpoint) and proofs of inclusion (https://c2sp.org/tlog-proof)."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.ledger.errors import CheckpointInvalidError, ProofInvalidError
from companyos.ledger.merkle import leaf_hash, root_from_path
from companyos.signing import Note, SignatureInvalidError, UntrustedError, sign_note
from companyos.signing.keys import b64decode_strict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from companyos.signing import NoteVerifier, Signer

__all__ = ("Checkpoint", "Proof")

_HEADER = "c2sp.org/tlog-proof@v1"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


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
        text = f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"
        return sign_note(text, self.origin, *signers)

    @classmethod
    def verify(cls, note: bytes, verifiers: Iterable[NoteVerifier]) -> Checkpoint:
        """The checkpoint in a note that the log's own key signed.

        Raises:
            CheckpointInvalidError: malformed, signed by nobody known, or a signature does not hold.
        """
        try:
            parsed = Note.parse(note)
            names = {verifier.name for verifier in parsed.verify(verifiers)}
        except (SignatureInvalidError, UntrustedError) as error:
            raise CheckpointInvalidError(f"checkpoint: {error.what}", got=error.got, expected=error.expected) from error
        lines = parsed.text.split("\n")[:-1]
        # Extension lines are optional in the format; we never write any, so any line more is foreign.
        if len(lines) != 3 or lines[0] not in names or not _NUMBER.fullmatch(lines[1]):
            raise CheckpointInvalidError("not a checkpoint of this log", got=parsed.text, expected=", ".join(names))
        try:
            return cls(lines[0], int(lines[1]), _hash(lines[2]))
        except ProofInvalidError as error:
            raise CheckpointInvalidError(f"checkpoint: {error.what}", got=error.got) from error


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
        return cls(int(number), tuple(_hash(line) for line in path), note.encode())

    def verify(self, entry: bytes, verifiers: Iterable[NoteVerifier]) -> Checkpoint:
        """The checkpoint that vouches for `entry` (its canonical bytes).

        Raises:
            ProofInvalidError: the proof does not lead to the signed root.
            CheckpointInvalidError: the checkpoint is not signed by the log's key.
        """
        checkpoint = Checkpoint.verify(self.checkpoint, verifiers)
        root = root_from_path(self.index, checkpoint.size, leaf_hash(entry), self.path)
        if root != checkpoint.root:
            raise ProofInvalidError(
                f"entry {self.index} is not in the log", got=root.hex(), expected=checkpoint.root.hex()
            )
        return checkpoint


def _hash(text: str) -> bytes:
    try:
        value = b64decode_strict(text)
    except SignatureInvalidError as error:
        raise ProofInvalidError("not a hash in Base64", got=repr(text)) from error
    if len(value) != 32:
        raise ProofInvalidError("hash of the wrong length", got=len(value), expected="32 bytes")
    return value
