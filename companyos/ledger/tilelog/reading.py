"""Reading an exported log: from the signed root down to the entries, or up from them where something is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.ledger.checkpoint import Checkpoint
from companyos.ledger.errors import (
    CheckpointInvalidError,
    EntryAlteredError,
    EntryMissingError,
    LedgerDamagedError,
    StoreUnreadableError,
    TailDroppedError,
    TreeAlteredError,
)
from companyos.ledger.merkle import Frontier, consistency_proof, leaf_hash, range_root
from companyos.ledger.tilelog.files import (
    HASH_BYTES,
    MAX_ENTRY_BYTES,
    WIDTH,
    content_of,
    note_of,
    tile_path,
    unreadable,
)
from companyos.signing import Note, SignatureInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from companyos.signing import NoteVerifier

__all__ = ("claimed", "prove_consistency", "read")


def claimed(directory: Path) -> Checkpoint:
    """What the checkpoint of an exported log says, whoever signed it: to be believed only as `read` returns it.

    Raises:
        CheckpointInvalidError: there is none, or it is malformed.
    """
    try:
        with unreadable(directory):
            return Checkpoint.from_text(Note.parse(note_of(directory) or b"").text)
    except SignatureInvalidError as error:
        raise CheckpointInvalidError("not an exported log", got=directory) from error


def read(directory: Path, verifiers: Iterable[NoteVerifier]) -> tuple[Checkpoint, bytes, Iterator[bytes]]:
    """Checkpoint, its note, and the entries in order; what the iterator hands on has been verified.

    It is an earlier state of the log if somebody put an earlier checkpoint back; an anchor shows that.

    Raises:
        CheckpointInvalidError: the checkpoint is missing, or not signed by the log's key.
        StoreUnreadableError: there is no exported log, or it cannot be read.
        EntryMissingError: a tile or a bundle is missing, or a bundle is cut off; by the iterator, with the index.
        TailDroppedError: that is so from some index to the end; by the iterator.
        EntryAlteredError: an entry is not what was logged; by the iterator.
        TreeAlteredError: a tile, or all of them, do not give the signed root; by the iterator.
    """
    with unreadable(directory):
        note = note_of(directory)
        if note is None and not (directory / "tile").exists():
            raise StoreUnreadableError("not an exported log", got=directory, hint="companyos ledger export DIR")
        if note is None:
            raise CheckpointInvalidError("the checkpoint is missing", got=directory)
        checkpoint = Checkpoint.verify(note, verifiers)
    return checkpoint, note, _entries(_Tiles(directory, checkpoint))


def prove_consistency(directory: Path, old: int, new: int) -> list[bytes]:
    """The hashes that prove the log of size `old` a prefix of that of size `new`, out of exported tiles alone.

    The tiles are not checked: whoever takes the proof does that.

    Raises:
        EntryMissingError: a tile is missing.
        ProofInvalidError: `old` is no size of an earlier state.
        StoreUnreadableError: the directory cannot be read.
    """
    with unreadable(directory):
        return consistency_proof(old, new, _Tiles(directory, Checkpoint("", new, b"")).node)


class _Tiles:
    """The tiles and bundles of one state of a log."""

    def __init__(self, directory: Path, checkpoint: Checkpoint) -> None:
        self.directory = directory
        self.checkpoint = checkpoint
        self.size = checkpoint.size
        self._kept: dict[int, tuple[int, bytes]] = {}
        self._edge: dict[int, bytes] = {}

    def width(self, level: int, index: int) -> int:
        """How many hashes of the tile belong to this state."""
        return min(WIDTH, (self.size >> 8 * level) - index * WIDTH)

    def hashes(self, level: int, index: int) -> bytes:
        """The hashes of a tile; the last one of each level is kept, and the partial one, which no other vouches for."""
        if self.width(level, index) < WIDTH:
            if level not in self._edge:
                self._edge[level] = self._tile(level, index)
            return self._edge[level]
        number, kept = self._kept.get(level, (-1, b""))
        if number != index:
            kept = self._tile(level, index)
            self._kept[level] = index, kept
        return kept

    def node(self, level: int, index: int) -> bytes:
        """The root of a complete subtree, out of the tile that holds it or its descendants."""
        span = 1 << level % 8
        start = index * span
        tile = self.hashes(level // 8, start // WIDTH)
        leaves = [tile[i * HASH_BYTES : (i + 1) * HASH_BYTES] for i in range(start % WIDTH, start % WIDTH + span)]
        return _root(leaves)

    def entries(self, index: int) -> list[bytes]:
        """The entries of a bundle."""
        width, first = self.width(0, index), index * WIDTH
        content = self._file(None, index, width, WIDTH * (MAX_ENTRY_BYTES + 2) + 1)
        if content is None:
            raise self._missing(first, tile_path(None, index, width))
        found: list[bytes] = []
        place = 0
        while len(found) < width:
            end = place + 2 + int.from_bytes(content[place : place + 2], "big")
            if place + 2 > len(content) or end > len(content):
                raise self._missing(first + len(found), tile_path(None, index, width))
            found.append(content[place + 2 : end])
            place = end
        # A full bundle stands in for a partial one of an earlier state.
        if place != len(content) and (width == WIDTH or (self.directory / tile_path(None, index, width)).exists()):
            raise EntryAlteredError("bytes after the last entry of a bundle", index=first + width - 1)
        return found

    def _tile(self, level: int, index: int) -> bytes:
        width, first = self.width(level, index), index * WIDTH << 8 * level
        content = self._file(level, index, width, WIDTH * HASH_BYTES + 1)
        if content is None:
            raise EntryMissingError(f"{tile_path(level, index, width)} is missing", index=first)
        partial = width < WIDTH and (self.directory / tile_path(level, index, width)).exists()
        expected = width * HASH_BYTES if partial or width == WIDTH else WIDTH * HASH_BYTES
        if len(content) != expected:
            raise TreeAlteredError(
                f"{tile_path(level, index, width)} has the wrong length",
                index=first + ((min(len(content), expected) // HASH_BYTES) << 8 * level),
                got=len(content),
                expected=expected,
            )
        return content[: width * HASH_BYTES]

    def _file(self, level: int | None, index: int, width: int, limit: int) -> bytes | None:
        content = content_of(self.directory / tile_path(level, index, width), limit)
        if content is None and width < WIDTH:
            return content_of(self.directory / tile_path(level, index), limit)
        return content

    def _missing(self, index: int, name: str) -> LedgerDamagedError:
        later = range(index // WIDTH + 1, (self.size + WIDTH - 1) // WIDTH)
        if any((self.directory / tile_path(None, n, self.width(0, n))).exists() for n in later):
            return EntryMissingError(f"{name} is missing or cut off", index=index)
        return TailDroppedError("the newest entries are missing", index=index, expected=f"{self.size} entries")


def _entries(tiles: _Tiles) -> Iterator[bytes]:
    """Entries, each checked against its tile, each tile against the one above, the last ones against the root."""
    with unreadable(tiles.directory):
        size = tiles.size
        root = range_root(0, size, tiles.node) if size else Frontier().root()
        if root != tiles.checkpoint.root:
            raise _blame(tiles)
        top = max(0, (size.bit_length() - 1) // 8)
        for index in range((size + WIDTH - 1) // WIDTH):
            # A tile is checked when the walk enters it: where all lower digits of the place are 0.
            for level in range(top, -1, -1):
                if not index % (1 << 8 * level) and not _holds(tiles, level, index >> 8 * level):
                    raise _blame(tiles)
            hashes = tiles.hashes(0, index)
            for place, raw in enumerate(tiles.entries(index)):
                if leaf_hash(raw) != hashes[place * HASH_BYTES : (place + 1) * HASH_BYTES]:
                    raise _blame(tiles)
                yield raw


def _holds(tiles: _Tiles, level: int, index: int) -> bool:
    """Whether a full tile gives the hash that the tile above has for it; partial ones gave the root."""
    if tiles.width(level, index) < WIDTH:
        return True
    return tiles.node(8 * (level + 1), index) == _root(_split(tiles.hashes(level, index)))


def _blame(tiles: _Tiles) -> LedgerDamagedError:
    """What is wrong, found from the entries upwards: they are right if they give the signed root."""
    frontier, entry, tree = Frontier(), None, None
    for number in range((tiles.size + WIDTH - 1) // WIDTH):
        for raw in tiles.entries(number):
            index, leaf = frontier.size, leaf_hash(raw)
            if entry is None and tiles.node(0, index) != leaf:
                entry = index
            for level, place, node in frontier.push(leaf):
                if tree is None and not level % 8 and tiles.node(level, place) != node:
                    tree = place << level
    first = tree if entry is None else entry
    if frontier.root() == tiles.checkpoint.root:
        return TreeAlteredError("a tile is not that of the log", index=first)
    if first is not None:
        return EntryAlteredError("entries are not those that were logged", index=first)
    return TreeAlteredError("the tiles are not those of the checkpoint", got=frontier.root().hex())


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[place : place + HASH_BYTES] for place in range(0, len(hashes), HASH_BYTES)]


def _root(leaves: list[bytes]) -> bytes:
    frontier = Frontier()
    for leaf in leaves:
        frontier.push(leaf)
    return frontier.root()
