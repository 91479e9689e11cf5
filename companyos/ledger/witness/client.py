"""Asking a witness for its cosignature, and what its answer says about the log: https://c2sp.org/tlog-witness.

A witness proves only what it signs. Its refusals are not signed: who sits between us and the witness can raise a false
alarm, and cannot make a rewritten log pass.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos._http import BoundsError, Server, UnansweredError, UnusableURLError
from companyos.ledger.checkpoint import Checkpoint, Consistency
from companyos.ledger.errors import CheckpointInvalidError, RolledBackError, SplitViewError
from companyos.ledger.witness.errors import WitnessRefusedError, WitnessUnavailableError
from companyos.signing import Note, SignatureInvalidError, UntrustedError

if TYPE_CHECKING:
    from datetime import datetime

    from companyos.signing.cosignature import CosignatureVerifier

__all__ = ("Cosigned", "Witness", "check_with", "merged", "size_of")

Prove = Callable[[int, int], Sequence[bytes]]
"""The hashes that prove the log of the first size a prefix of that of the second."""

_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")
_MAX_ANSWER_BYTES = 64 * 1024
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint that a witness cosigned just now."""

    checkpoint: Checkpoint
    """What it cosigned."""
    note: bytes
    """The checkpoint as a note with the cosignature in it: an anchor, to be kept elsewhere."""
    known_size: int
    """How far the witness knew the log before, as the connection tells: what came later is only consistent with it."""
    at: datetime
    """When the witness says that it signed."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness at a URL."""

    url: str
    """Submission prefix, `http` or `https`."""
    verifier: CosignatureVerifier
    """The key with which it cosigns."""
    timeout_seconds: float = 10.0
    """How long one request may take, all in all."""
    tolerance_seconds: float = 300.0
    """How far its clock and ours may be apart; an older cosignature could be a recorded one."""

    def cosign(self, note: bytes, prove: Prove, *, old_size: int = 0) -> Cosigned:
        """The witness's cosignature of a log's signed checkpoint; it remembers the checkpoint from then on.

        A log it has never seen it takes as it is. `old_size` is where we believe that it is; it tells, if not.

        Raises:
            WitnessUnavailableError: no answer, or none in the protocol.
            WitnessRefusedError: it does not know the log, or does not trust the key that signed.
            RolledBackError: it has cosigned a longer log.
            SplitViewError: it has cosigned another history of the log.
            CheckpointInvalidError: the note is not a checkpoint.
        """
        return self._cosign(note, prove, old_size, first_sight=True)

    def _cosign(self, note: bytes, prove: Prove, old_size: int, *, first_sight: bool) -> Cosigned:
        try:
            parsed = Note.parse(note)
        except SignatureInvalidError as error:
            raise CheckpointInvalidError(f"checkpoint: {error.what}", got=error.got) from error
        checkpoint = Checkpoint.from_text(parsed.text)
        for _ in range(_ATTEMPTS):
            path = tuple(prove(old_size, checkpoint.size)) if 0 < old_size < checkpoint.size else ()
            status, answer = self._ask(Consistency(old_size, path, note).to_text().encode())
            if status == 200:
                return self._cosigned(parsed, checkpoint, answer, old_size)
            known = self._refused(checkpoint, status, answer, old_size)
            if known == 0 and not first_sight:
                raise WitnessRefusedError(
                    "the witness has cosigned nothing of this log yet", hint="have it cosign a checkpoint you trust"
                )
            old_size = known
        raise WitnessUnavailableError("the witness changes its mind about the size of the log", got=old_size)

    def _refused(self, checkpoint: Checkpoint, status: int, answer: bytes, old_size: int) -> int:
        """The size to try again with; every other refusal is an error."""
        match = _SIZE.fullmatch(answer) if status == 409 else None
        known = int(match[1]) if match else None
        if known is not None and known > checkpoint.size:
            raise RolledBackError(
                "the witness has cosigned a longer log", index=checkpoint.size, got=checkpoint.size, expected=known
            )
        if known is not None and known != old_size:
            return known
        if old_size and (status == 422 or (status == 409 and old_size == checkpoint.size)):
            raise SplitViewError(
                "the witness has cosigned another history of the log",
                got=f"root {checkpoint.root.hex()} at {checkpoint.size}",
                expected=f"a continuation of what it cosigned at {old_size}",
            )
        if status == 404:
            raise WitnessRefusedError("the witness does not know the log", got=checkpoint.origin)
        if status == 403:
            raise WitnessRefusedError("the witness does not trust the key that signed", got=checkpoint.origin)
        raise WitnessUnavailableError("the witness answered outside of the protocol", got=f"{status} {answer[:80]!r}")

    def _cosigned(self, parsed: Note, checkpoint: Checkpoint, answer: bytes, known_size: int) -> Cosigned:
        try:
            given = _signature_lines(parsed.text, answer)
            given.verify([self.verifier])
            ours = [line for line in given.signatures if line[:2] == (self.verifier.name, self.verifier.hint)]
            at = max(self.verifier.time(line[2]) for line in ours)
        except (SignatureInvalidError, UntrustedError) as error:
            raise WitnessUnavailableError(
                f"no cosignature by {self.verifier.name}: {error.what}", got=error.got, expected=error.expected
            ) from error
        away = abs(at.timestamp() - time.time())
        if away > self.tolerance_seconds:
            raise WitnessUnavailableError(
                "the cosignature is not of now", got=at.isoformat(), expected=f"within {self.tolerance_seconds:g} s"
            )
        kept = tuple(line for line in parsed.signatures if line[:2] != (self.verifier.name, self.verifier.hint))
        return Cosigned(checkpoint, Note(parsed.text, kept + tuple(ours)).to_bytes(), known_size, at)

    def _ask(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to `add-checkpoint`; no redirects, no proxies."""
        server = Server(self.url, self.timeout_seconds, _MAX_ANSWER_BYTES)
        try:
            return server.exchange("POST", "/add-checkpoint", body, {"Content-Type": "text/plain; charset=utf-8"})
        except UnusableURLError as error:
            raise WitnessUnavailableError("not the URL of a witness", got=self.url, expected="https://…") from error
        except UnansweredError as error:
            raise WitnessUnavailableError(
                f"no answer from the witness {self.url}", got=repr(error.__cause__)
            ) from error
        except BoundsError as error:
            raise WitnessUnavailableError(
                "the witness's answer is too long or too slow", expected=str(error)
            ) from error


def check_with(witness: Witness, note: bytes, prove: Prove) -> Cosigned:
    """Hold a log's signed checkpoint against what the witness remembers; what it cosigns becomes what it remembers.

    A witness that has cosigned nothing of the log yet vouches for nothing, and is not made to begin with this.

    Raises:
        WitnessUnavailableError: no answer, or none in the protocol.
        WitnessRefusedError: it does not know the log or its key, or has cosigned nothing of it yet.
        RolledBackError: it has cosigned a longer log.
        SplitViewError: it has cosigned another history of the log.
        CheckpointInvalidError: the note is not a checkpoint.
    """
    try:
        size = Checkpoint.from_text(Note.parse(note).text).size
    except SignatureInvalidError as error:
        raise CheckpointInvalidError(f"checkpoint: {error.what}", got=error.got) from error
    if size == 0:
        raise WitnessRefusedError("nothing in an empty log can be vouched for")
    return witness._cosign(note, prove, size, first_sight=False)  # noqa: SLF001 - the two belong together


def merged(note: bytes, earlier: bytes | None) -> bytes:
    """A cosigned note with the signatures that an earlier note of the same checkpoint has besides."""
    if earlier is None:
        return note
    ours, theirs = Note.parse(note), Note.parse(earlier)
    if ours.text != theirs.text:
        return note
    signers = {line[:2] for line in ours.signatures}
    return Note(
        ours.text, (*ours.signatures, *(line for line in theirs.signatures if line[:2] not in signers))
    ).to_bytes()


def size_of(note: bytes | None) -> int:
    """The size in a cosigned note, whoever signed it, as a guess where a witness is; 0 for none."""
    return 0 if note is None else Checkpoint.from_text(Note.parse(note).text).size


def _signature_lines(text: str, answer: bytes) -> Note:
    given = Note.parse(f"{text}\n".encode() + answer)
    if given.text != text:
        raise SignatureInvalidError("the answer is more than signature lines", got=answer[:80])
    return given
