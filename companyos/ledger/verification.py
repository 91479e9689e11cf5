"""Checking a log from its first byte: entries, tree, signature, and an anchor kept elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.canonical import NotCanonicalError, parse
from companyos.ledger.checkpoint import Checkpoint
from companyos.ledger.entry import MAX_ENTRY_BYTES, commitment, dataref
from companyos.ledger.errors import (
    EntryAlteredError,
    EntryMissingError,
    RolledBackError,
    SplitViewError,
    TailDroppedError,
    TreeAlteredError,
)
from companyos.ledger.merkle import Frontier, leaf_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from companyos.ledger.stores import Row, Store
    from companyos.signing import NoteVerifier

__all__ = ("Verification", "verify")


@dataclass(frozen=True, slots=True)
class Verification:
    """What a successful verification established."""

    origin: str
    """Which log."""
    size: int
    """How many entries were checked."""
    root: bytes
    """Their root, which the log's key signed."""
    anchor_size: int | None
    """Size of the anchor that agrees; None without one, and then a rollback is not excluded."""
    dropped_payloads: int
    """Detached payloads that are no longer kept; their commitments and proofs stay valid."""

    def to_dict(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return {
            "origin": self.origin,
            "size": self.size,
            "root": self.root.hex(),
            "anchored": self.anchored,
            "anchor_size": self.anchor_size,
            "dropped_payloads": self.dropped_payloads,
        }

    @property
    def anchored(self) -> bool:
        """Whether an anchor agrees; what came after it (`anchor_size`) is only consistent with it."""
        return self.anchor_size is not None

    def __str__(self) -> str:
        tail = (
            f"agrees with the anchor at {self.anchor_size}"
            if self.anchored
            else "consistent with its own checkpoint; rollback not excluded"
        )
        return f"{self.origin}: {self.size} entries, root {self.root.hex()[:16]}…, {tail}"


class _Walk:
    """One pass over the entries, growing the tree anew and comparing it with what is stored."""

    def __init__(self, store: Store, *, deep: bool, progress: Callable[[int], None] | None) -> None:
        self.store = store
        self.deep = deep
        self.progress = progress
        self.frontier = Frontier()
        self.dropped = 0

    def run(self, marks: set[int]) -> dict[int, bytes]:
        """Roots at the sizes in `marks` that the log reaches."""
        roots = {0: self.frontier.root()} if 0 in marks else {}
        for row in self.store.rows(0, self.store.size()):
            self._row(row)
            if self.frontier.size in marks:
                roots[self.frontier.size] = self.frontier.root()
            if self.progress is not None and not self.frontier.size % 4096:
                self.progress(self.frontier.size)
        return roots

    def _row(self, row: Row) -> None:
        index = self.frontier.size
        if row.index != index:
            raise EntryMissingError("an entry is missing", index=index, got=row.index, expected=index)
        leaf = leaf_hash(row.raw)
        if leaf != row.leaf:
            raise EntryAlteredError("an entry's bytes do not match its hash", index=index, got=leaf.hex())
        if self.deep:
            self._deep(row)
        for level, position, node in self.frontier.push(leaf):
            stored = self.store.node(level, position)
            if stored != node:
                start = position << level
                raise EntryAlteredError(
                    f"entries {start} to {index} are not those that were logged", index=start, got=node.hex()
                )

    def _deep(self, row: Row) -> None:
        try:
            value = parse(row.raw)
            agrees = (value["id"], value["source"]) == (row.id, row.source) and len(row.raw) <= MAX_ENTRY_BYTES
            commit = dataref(row.raw)
        except (NotCanonicalError, KeyError, TypeError, ValueError) as error:
            raise EntryAlteredError("an entry is not in canonical form", index=row.index, got=error) from error
        if not agrees:
            raise EntryAlteredError("an entry's index columns contradict it", index=row.index, got=row.id)
        if commit is not None:
            self._payload(row.index, commit)

    def _payload(self, index: int, commit: bytes) -> None:
        kept = self.store.payload(commit)
        if kept is None:
            self.dropped += 1
        elif commitment(*kept) != commit:
            raise EntryAlteredError("a detached payload is not the one committed to", index=index)


def verify(
    store: Store,
    verifiers: Sequence[NoteVerifier],
    *,
    anchor: Checkpoint | None = None,
    deep: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Check a whole log; see `Ledger.verify`."""
    # The head is read first: entries appended while we walk lie beyond it and are not judged by it.
    head = _head(store, verifiers)
    walk = _Walk(store, deep=deep, progress=progress)
    roots = walk.run({head.size} | ({anchor.size} if anchor else set()))
    if head.size not in roots:
        raise TailDroppedError(
            "entries are missing at the end", index=walk.frontier.size, expected=f"{head.size} entries"
        )
    if roots[head.size] != head.root:
        raise TreeAlteredError("the entries do not give the signed root", got=roots[head.size].hex())
    count, first, last = store.extent()
    if count and (first, last) != (0, count - 1):
        raise TreeAlteredError("rows lie outside of the log", index=min(first, 0) or None, got=f"{first} to {last}")
    latest = _head(store, verifiers)
    if walk.frontier.size > latest.size:
        raise TreeAlteredError("entries lie beyond the signed checkpoint", index=latest.size, got=walk.frontier.size)
    if anchor is not None:
        _compare(anchor, roots, walk.frontier.size)
    return Verification(head.origin, head.size, head.root, anchor.size if anchor else None, walk.dropped)


def _head(store: Store, verifiers: Sequence[NoteVerifier]) -> Checkpoint:
    # Looked at before the checkpoint: an entry comes together with one, so that no writer can slip in between.
    rows: Iterator[Row] = store.rows(0, 1)
    first = next(rows, None)
    note = store.head()
    if note is not None:
        return Checkpoint.verify(note, verifiers)
    if first is not None:
        raise TailDroppedError("the log has entries but no checkpoint")
    return Checkpoint(verifiers[0].name, 0, Frontier().root())


def _compare(anchor: Checkpoint, roots: dict[int, bytes], size: int) -> None:
    if anchor.size not in roots:
        raise RolledBackError(
            "the log is shorter than the anchor", index=size, got=f"{size} entries", expected=f"{anchor.size} entries"
        )
    if roots[anchor.size] != anchor.root:
        raise SplitViewError("the log and the anchor show different histories", got=roots[anchor.size].hex())
