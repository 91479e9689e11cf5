"""Reading a log, proving what is in it, verifying it: what needs no more than its public key."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Self

from companyos.canonical import NotCanonicalError
from companyos.ledger import entry as entries
from companyos.ledger.checkpoint import Checkpoint, Consistency, Proof
from companyos.ledger.errors import CheckpointInvalidError, EntryAlteredError, EntryMissingError
from companyos.ledger.merkle import consistency_proof
from companyos.ledger.tree import Nodes, Tree
from companyos.ledger.verification import Anchor, Verification, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from companyos.ledger.keyring import Keyring
    from companyos.ledger.projection import Projection
    from companyos.ledger.stores.interface import Row, Store
    from companyos.ledger.witness import Witness
    from companyos.ports import Entry
    from companyos.signing import NoteVerifier

__all__ = ("Reader",)

_PAGE = 2048


class Reader:
    """A log as anyone sees it who has its store and its public key."""

    def __init__(self, store: Store, keys: Keyring) -> None:
        self._store = store
        self._keys = keys
        self._tree = Tree()
        self._tree_lock = threading.Lock()
        self._verified_head: tuple[bytes, Checkpoint] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the store."""
        self._store.close()

    @property
    def origin(self) -> str:
        """The log's identity, first line of its checkpoints."""
        return self._keys.origin

    @property
    def verifier(self) -> NoteVerifier:
        """The log's public key under its name."""
        return self._keys.current[0]

    def __len__(self) -> int:
        head = self.head()
        return 0 if head is None else head.size

    def read(self, start: int = 0, end: int | None = None) -> Iterator[Entry]:
        """Entries in order from `start` up to `end` (exclusive), personal values still encrypted.

        Without `end`, up to where the log ends now: what is appended while reading is not read.

        Raises:
            EntryAlteredError: an entry cannot be read at all; use `verify` to check those that can.
            EntryMissingError: one is not there, or the database does not find it.
        """
        place, size = max(start, 0), self._store.size()
        last = size if end is None else min(end, size)
        for row in self._store.rows(place, last):
            if row.index != place:
                break
            yield self._decode(row)
            place += 1
        if place < last:
            raise EntryMissingError("an entry is missing", index=place)

    def of_source(self, source: str) -> Iterator[Entry]:
        """The entries of one source, in order, found without reading the others.

        They are found by a column beside the entries, which nothing signs: an entry that is not among them may be in
        the log all the same, if somebody wrote to the database.

        Raises:
            EntryAlteredError: one of them cannot be read.
        """
        return (self._decode(row) for row in self._store.of_source(source))

    def raw(self, index: int) -> bytes:
        """The canonical bytes of one entry.

        Raises:
            EntryMissingError: there is none.
        """
        found = self._store.raw(index)
        if found is None:
            raise EntryMissingError(f"no entry {index} in the log", index=index)
        return found

    def head(self) -> Checkpoint | None:
        """The newest checkpoint, its signature verified; None for an empty log."""
        note = self._store.head()
        try:
            return None if note is None else self._verified(note)
        except CheckpointInvalidError:
            # Signed by a key that was replaced since it was read, perhaps: then there is a newer one.
            newer = self._store.head()
            if newer is None or newer == note:
                raise
            return self._verified(newer)

    def checkpoint(self) -> bytes:
        """The newest checkpoint as a signed note, to be kept elsewhere as an anchor.

        Raises:
            EntryMissingError: the log is empty.
        """
        note = self._store.head()
        if note is None:
            raise EntryMissingError("the log is empty: there is no checkpoint yet")
        return note

    def prove(self, index: int, *, checkpoint: bytes | None = None) -> Proof:
        """A proof that entry `index` is in the log, for anyone who has the public key.

        It leads to `checkpoint`, a note of this log (default: the newest), so that many proofs can share one.

        Raises:
            EntryMissingError: there is no such entry at that size.
        """
        note = self.checkpoint() if checkpoint is None else checkpoint
        size = self._verified(note).size
        if not 0 <= index < size:
            raise EntryMissingError(f"no entry {index} in the log", got=index, expected=f"less than {size}")
        with self._nodes(size) as nodes:
            return Proof(index, nodes.path(index, size), note)

    def prove_consistency(self, old_size: int, *, checkpoint: bytes | None = None) -> Consistency:
        """A proof that the log only grew since it had `old_size` entries, up to `checkpoint` (default: the newest).

        Raises:
            EntryMissingError: the log at that checkpoint was shorter.
        """
        note = self.checkpoint() if checkpoint is None else checkpoint
        size = self._verified(note).size
        if not 0 <= old_size <= size:
            raise EntryMissingError("the log was never so long", got=old_size, expected=f"at most {size}")
        return Consistency(old_size, self._consistency(old_size, size), note)

    def cosigned(self) -> bytes | None:
        """The newest checkpoint that witnesses cosigned, as a note with their cosignatures; None if there is none."""
        return self._store.cosigned()

    def export(self, directory: Path, *, progress: Callable[[int], None] | None = None) -> Checkpoint:
        """Make `directory` the static form of the log (C2SP tlog-tiles), or bring it up to date.

        Detached payloads are not in it; personal values are, encrypted as they are in the log.

        Raises:
            LedgerDamagedError: the entries do not give the signed root, or `directory` holds another history.
            StoreUnreadableError: it cannot be written.
        """
        from companyos.ledger import tilelog

        note = self.checkpoint()
        size = self._verified(note).size
        pages = (self._store.raws(at, min(at + _PAGE, size)) for at in range(0, size, _PAGE))
        raws = chain.from_iterable(pages)
        return tilelog.write(directory, raws, note, self._keys.current, progress=progress)

    def verify(
        self,
        *,
        against: bytes | None = None,
        witness: Witness | None = None,
        deep: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Verification:
        """Check every entry, the tree and the signature; `against` is an anchor, a checkpoint kept elsewhere.

        A `witness` that has cosigned an earlier state of the log is an anchor, too: it is asked to cosign this one.
        `deep` also checks that each entry is in canonical form and agrees with the columns beside it, by which repeated
        appends are recognised. `progress` is told how many entries are done.

        Raises:
            LedgerDamagedError: each kind of damage by its own class, with the first bad index.
            StoreUnreadableError: the store could not be read.
        """
        self._keys.refresh()
        anchors = [] if against is None else [Anchor.of(Checkpoint.verify(against, self._keys.anchors))]
        if witness is not None:
            from companyos.ledger.witness import check_with

            seen = check_with(witness, self.checkpoint(), self._consistency)
            anchors.append(Anchor(seen.checkpoint, seen.known_size))
        try:
            return verify(self._store, self._keys.current, anchors=anchors, deep=deep, progress=progress)
        except CheckpointInvalidError:
            if not self._keys.refresh():
                raise
            return verify(self._store, self._keys.current, anchors=anchors, deep=deep, progress=progress)

    def replay(self, projection: Projection, *, until: int | None = None) -> int:
        """Bring a projection up to date, each entry applied exactly once, in order; return its new position."""
        return projection.follow(self.read, until=until)

    def _consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        with self._nodes(new) as nodes:
            return tuple(consistency_proof(old, new, nodes))

    @contextmanager
    def _nodes(self, size: int) -> Iterator[Nodes]:
        """Nodes of the tree, which has at least `size` entries; for one thread at a time."""
        with self._tree_lock:
            if self._tree.size < size:
                self._tree = self._tree.catch_up(self._store, size)
            yield Nodes(self._store, self._tree)

    def _verified(self, note: bytes) -> Checkpoint:
        """A checkpoint of this log, by its key of now; the key may have been rotated since we last looked."""
        keys = self._keys
        changed = keys.refresh()
        if self._verified_head is not None and self._verified_head[0] == note and not changed:
            return self._verified_head[1]
        try:
            found = Checkpoint.verify(note, keys.current)
        except CheckpointInvalidError:
            if not keys.refresh():
                raise
            found = Checkpoint.verify(note, keys.current)
        self._verified_head = note, found
        return found

    def _decode(self, row: Row) -> Entry:
        try:
            commit = entries.dataref(row.raw) if row.raw.startswith(entries.DETACHED) else None
            kept = None if commit is None else self._store.payload(commit)
            return entries.decode(row.index, row.raw, None if kept is None else kept[1])
        except NotCanonicalError as error:
            raise EntryAlteredError("an entry cannot be read", index=row.index, got=error.got) from error
