"""The keys of a log: the one that signs its head, and the retired ones whose checkpoints are still good anchors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from companyos.ledger.errors import StoreUnreadableError
from companyos.signing import KeyUnusableError, Note, NoteVerifier, PrivateKey, retired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.ledger.checkpoint import Checkpoint
    from companyos.signing import PublicKey

__all__ = ("Keyring",)


class Keyring:
    """Follows the key of a log at its URI, so that a process notices when another one rotated it.

    Raises:
        KeyUnusableError: the key cannot be used, or cannot sign checkpoints.
    """

    def __init__(
        self,
        origin: str,
        *,
        uri: str | None = None,
        keys: Sequence[PublicKey] = (),
        past: Sequence[PublicKey] = (),
    ) -> None:
        self.origin = origin
        self.uri = uri
        self._signer: PrivateKey | None = None
        self._hint = b""
        self._current = tuple(NoteVerifier(origin, key) for key in keys)
        self._past = tuple(NoteVerifier(origin, key) for key in past)
        self._stamp: tuple[int, int] | None = None
        self.refresh()
        if not self._current:
            raise KeyUnusableError("no public key to verify the log with", hint="pass the log's public key")
        for verifier in self.anchors:
            _ = verifier.hint  # a key of another kind is refused here, and not at the first append

    @classmethod
    def open(cls, origin: str, uri: str, *, create: bool) -> Keyring:
        """The keyring of the log whose key is at `uri`, made if `create` and it is missing."""
        if create:
            PrivateKey.load_or_create(uri)
        return cls(origin, uri=uri)

    @property
    def signer(self) -> PrivateKey:
        """The key that signs the head now.

        Raises:
            StoreUnreadableError: only public keys are at hand.
        """
        if self._signer is None:
            raise StoreUnreadableError("this ledger is open for reading only", hint="open it with Ledger.open")
        return self._signer

    def sign_head(self, head: Checkpoint) -> bytes:
        """The head as a signed note; the same as `head.sign(signer)`, without checking on every append what is known.

        Raises:
            StoreUnreadableError: only public keys are at hand.
        """
        text = head.text
        return Note(text, ((self.origin, self._hint, self.signer.sign(text.encode())),)).to_bytes()

    @property
    def current(self) -> tuple[NoteVerifier, ...]:
        """Whose signature on the head counts: never that of a retired key, which may have been stolen."""
        return self._current

    @property
    def anchors(self) -> tuple[NoteVerifier, ...]:
        """Whose checkpoints count as anchors; one by a retired key cannot vouch for entries, only contradict them."""
        return (*self._current, *self._past)

    def refresh(self) -> bool:
        """Read the key again if its file was replaced; tell whether it was."""
        if self.uri is None or (stamp := _stamp(self.uri)) == self._stamp is not None:
            return False
        self._signer = PrivateKey.load(self.uri)
        verifier = NoteVerifier(self.origin, self._signer.public)
        self._current, self._hint = (verifier,), verifier.hint
        self._past = tuple(NoteVerifier(self.origin, key) for key in retired(self.uri))
        self._stamp = stamp
        return True


def _stamp(uri: str) -> tuple[int, int] | None:
    scheme, _, rest = uri.partition(":")
    if scheme != "file":
        return (0, 0)
    try:
        found = os.stat(rest)  # noqa: PTH116 - before every append and proof, and several times faster
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
