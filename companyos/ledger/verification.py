"""Checking a log from its first byte: entries, tree, signature, and an anchor kept elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.canonical import NotCanonicalError, parse
from companyos.ledger.checkpoint import Checkpoint
from companyos.ledger.entry import DETACHED, MAX_ENTRY_BYTES, commitment, dataref, names_of
from companyos.ledger.errors import (
    EntryAlteredError,
    EntryMissingError,
    RolledBackError,
    SplitViewError,
    TailDroppedError,
    TreeAlteredError,
)
from companyos.ledger.merkle import EMPTY_ROOT, leaf_hash, leaf_hashes
from companyos.ledger.tree import HASH, NODES, WIDTH, Builder, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from companyos.ledger.stores.interface import Row, Store, Tile
    from companyos.signing import NoteVerifier

__all__ = ("Anchor", "Verification", "verify")

_PAGE = 4 * WIDTH
_DEEP_PAGE = WIDTH
# The first byte in which an entry whose payload is detached differs from one with `data` inside.
_DETACHED = DETACHED[6:7]


@dataclass(frozen=True, slots=True)
class Anchor:
    """A state of the log that somebody else remembers."""

    checkpoint: Checkpoint
    """What the log has to agree with."""
    vouched: int
    """How many entries it vouches for; what came later is only consistent with it."""

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Anchor:
        """A checkpoint that was kept elsewhere."""
        return cls(checkpoint, checkpoint.size)


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
    deep: bool = False
    """Whether the canonical form of each entry and the columns beside it were checked as well."""

    def to_dict(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return {
            "origin": self.origin,
            "size": self.size,
            "root": self.root.hex(),
            "anchored": self.anchored,
            "anchor_size": self.anchor_size,
            "dropped_payloads": self.dropped_payloads,
            "deep": self.deep,
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
        self.tree = Tree()
        self.dropped = 0

    def run(self, marks: set[int]) -> dict[int, bytes]:
        """Roots at the sizes in `marks` that the log reaches."""
        roots = {0: EMPTY_ROOT} if 0 in marks else {}
        end, size = self.store.size(), _DEEP_PAGE if self.deep else _PAGE
        for mark in sorted({mark for mark in marks if 0 < mark < end} | {end}):
            while self.tree.size < mark:
                self._page(self.tree.size, min(self.tree.size + size, mark))
                if self.progress is not None:
                    self.progress(self.tree.size)
            if mark in marks and mark:
                roots[mark] = self.tree.root()
        return roots

    def _page(self, start: int, end: int) -> None:
        if self.deep:
            raws, leaves = self._deeply(start, end)
        else:
            raws = self.store.raws(start, end)
            leaves = leaf_hashes(raws)
        if len(raws) != end - start:
            raise EntryMissingError("an entry is missing", index=self.store.first_missing(start))
        for tile in self.tree.extend(leaves):
            if len(tile.hashes) == NODES * HASH:
                self._tile(tile)
        for index, raw in enumerate(raws, start):
            if raw[6:7] == _DETACHED:
                self._payload(index, raw)

    def _deeply(self, start: int, end: int) -> tuple[list[bytes], list[bytes]]:
        """The bytes and the leaf hashes of a page, with its columns compared, and its canonical form checked."""
        whole = _whole(self.store.columns(start, end), end - start)
        if whole is not None:
            return whole
        page = list(self.store.rows(start, end))
        for index, row in enumerate(page, start):
            if row.index != index:
                break
            self._row(row, leaf_hash(row.raw))
        raws = [row.raw for row in page]
        return raws, leaf_hashes(raws)

    def _row(self, row: Row, leaf: bytes) -> None:
        if leaf != row.leaf:
            raise EntryAlteredError("an entry's bytes do not match its hash", index=row.index, got=leaf.hex())
        try:
            value = parse(row.raw)
            agrees = value["id"] == row.id and value["source"] == row.source and len(row.raw) <= MAX_ENTRY_BYTES
        except (NotCanonicalError, KeyError, TypeError, ValueError) as error:
            raise EntryAlteredError("an entry is not in canonical form", index=row.index, got=error) from error
        if not agrees:
            raise EntryAlteredError("an entry's index columns contradict it", index=row.index, got=row.id)

    def _payload(self, index: int, raw: bytes) -> None:
        try:
            commit = dataref(raw)
        except NotCanonicalError as error:
            raise EntryAlteredError("an entry cannot be read", index=index, got=error.got) from error
        if commit is None:
            return
        kept = self.store.payload(commit)
        if kept is None:
            self.dropped += 1
        elif commitment(*kept) != commit:
            raise EntryAlteredError("a detached payload is not the one committed to", index=index)

    def _tile(self, tile: Tile) -> None:
        stored = self.store.tile(tile.level, tile.index)
        if stored == tile.hashes:
            return
        start = tile.index * WIDTH << 8 * tile.level
        if stored is None:
            raise TreeAlteredError(f"tile {tile.level}/{tile.index} of the tree is missing", index=start)
        if tile.level == 0 and self._vouched(tile.index, stored):
            place = _first_difference(tile.hashes[: WIDTH * HASH], stored) or 0
            raise EntryAlteredError("an entry is not the one that was logged", index=start + place)
        raise TreeAlteredError(
            f"tile {tile.level}/{tile.index} of the tree is not that of the entries",
            index=start + _first_node(tile, stored),
        )

    def _vouched(self, index: int, stored: bytes) -> bool:
        """Whether a tile of leaf hashes is the one that the tile above it was made of: then an entry was altered."""
        tile = Builder(stored[at : at + HASH] for at in range(0, WIDTH * HASH, HASH))
        above = self.store.tile(1, index // WIDTH) or b""
        place = index % WIDTH * HASH
        return tile.hashes() == stored and tile.levels[8] == [above[place : place + HASH]]

    def check_tail(self) -> None:
        """What is stored of the tiles that are not complete against the entries."""
        for tile in self.tree.incomplete():
            stored = self.store.tile(tile.level, tile.index)
            # The log may have grown since: then it is longer, with the same beginning.
            place = _first_difference(tile.hashes, stored or b"")
            if place is not None:
                raise TreeAlteredError(
                    f"tile {tile.level}/{tile.index} of the tree is not that of the entries",
                    index=(tile.index * WIDTH + place) << 8 * tile.level,
                )
        start = self.tree.size & ~(WIDTH - 1)
        own = leaf_hashes(self.store.raws(start, self.tree.size))
        for index, (mine, stored) in enumerate(zip(own, self.store.leaves(start, self.tree.size), strict=False), start):
            if mine != stored:
                raise EntryAlteredError("an entry's bytes do not match its hash", index=index)


def verify(
    store: Store,
    verifiers: Sequence[NoteVerifier],
    *,
    anchors: Sequence[Anchor] = (),
    deep: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Check a whole log; see `Ledger.verify`."""
    # The head is read first: entries appended while we walk lie beyond it and are not judged by it.
    head = _head(store, verifiers)
    walk = _Walk(store, deep=deep, progress=progress)
    roots = walk.run({head.size, *(anchor.checkpoint.size for anchor in anchors)})
    walk.check_tail()
    if head.size not in roots:
        raise TailDroppedError("entries are missing at the end", index=walk.tree.size, expected=f"{head.size} entries")
    if roots[head.size] != head.root:
        raise TreeAlteredError("the entries do not give the signed root", got=roots[head.size].hex())
    count, first, last = store.extent()
    if count and (first, last) != (0, count - 1):
        raise TreeAlteredError("rows lie outside of the log", index=min(first, 0) or None, got=f"{first} to {last}")
    tiles = store.tile_extent()
    latest = _head(store, verifiers)
    if walk.tree.size > latest.size:
        raise TreeAlteredError("entries lie beyond the signed checkpoint", index=latest.size, got=walk.tree.size)
    if any(last >= _tiles(level, latest.size) for level, _, last in tiles):
        raise TreeAlteredError("tiles lie outside of the log", index=latest.size)
    for anchor in anchors:
        _compare(anchor.checkpoint, roots, walk.tree.size)
    vouched = max((anchor.vouched for anchor in anchors), default=None)
    return Verification(head.origin, head.size, head.root, vouched, walk.dropped, deep)


def _whole(page: list[tuple[str, str, bytes, bytes]], count: int) -> tuple[list[bytes], list[bytes]] | None:
    """The bytes and the leaf hashes of a page that is quickly seen to be whole, canonical, and as its columns say."""
    if len(page) != count:
        return None
    ids, sources, raws, stored = map(list, zip(*page, strict=True))
    if {*map(type, raws)} != {bytes} or max(map(len, raws)) > MAX_ENTRY_BYTES:
        return None
    leaves = leaf_hashes(raws)
    return (raws, leaves) if stored == leaves and names_of(raws) == (ids, sources) else None


def _head(store: Store, verifiers: Sequence[NoteVerifier]) -> Checkpoint:
    # Looked at before the checkpoint: an entry comes together with one, so that no writer can slip in between.
    size = store.size()
    note = store.head()
    if note is not None:
        return Checkpoint.verify(note, verifiers)
    if size:
        raise TailDroppedError("the log has entries but no checkpoint")
    return Checkpoint(verifiers[0].name, 0, EMPTY_ROOT)


def _compare(anchor: Checkpoint, roots: dict[int, bytes], size: int) -> None:
    if anchor.size not in roots:
        raise RolledBackError(
            "the log is shorter than the anchor", index=size, got=f"{size} entries", expected=f"{anchor.size} entries"
        )
    if roots[anchor.size] != anchor.root:
        raise SplitViewError("the log and the anchor show different histories", got=roots[anchor.size].hex())


def _tiles(level: int, size: int) -> int:
    """How many tiles of a level are stored: those of level 0 when they are complete, the others as they grow."""
    hashes = size >> 8 * level
    return hashes // WIDTH if level == 0 else -(-hashes // WIDTH)


def _first_node(tile: Tile, stored: bytes) -> int:
    """How many entries, counted from the tile's first, lie before the first node that differs."""
    place, level, width = _first_difference(tile.hashes, stored) or 0, 0, WIDTH
    while place >= width:
        place, level, width = place - width, level + 1, width >> 1
    return place << level + 8 * tile.level


def _first_difference(own: bytes, stored: bytes) -> int | None:
    """Which hash is the first that differs."""
    places = range(0, len(own), HASH)
    return next((at // HASH for at in places if own[at : at + HASH] != stored[at : at + HASH]), None)
