"""A log as a directory of static files that any web server can hand out: https://c2sp.org/tlog-tiles.

`write` exports, and adds only what is new when it is called again on the grown log; partial tiles stay until the full
one is there. `read` believes nothing but the checkpoint's signature: every tile is checked against the one above it,
every entry against its tile, before an entry is handed on. Neither keeps more than one bundle (at most 16 MiB) and one
tile of each level in memory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from companyos.ledger.checkpoint import Checkpoint
from companyos.ledger.errors import (
    CheckpointInvalidError,
    EntryAlteredError,
    EntryInvalidError,
    EntryMissingError,
    LedgerDamagedError,
    RolledBackError,
    SplitViewError,
    StoreUnreadableError,
    TailDroppedError,
    TreeAlteredError,
)
from companyos.ledger.merkle import Frontier, consistency_proof, leaf_hash, range_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from companyos.signing import NoteVerifier

__all__ = ("prove_consistency", "read", "tile_path", "write")

WIDTH = 256
"""Hashes in a full tile, entries in a full bundle."""
MAX_ENTRY_BYTES = 0xFFFF
_HASH = 32
_STAGING = ".export-"


def tile_path(level: int | None, index: int, width: int = WIDTH) -> str:
    """Where a tile lies: hashes of a `level` of tiles, or with None a bundle of entries; partial if under 256 wide."""
    parts = [f"{index % 1000:03d}"]
    while index := index // 1000:
        parts.append(f"x{index % 1000:03d}")
    place = "/".join(reversed(parts))
    return f"tile/{'entries' if level is None else level}/{place}" + ("" if width == WIDTH else f".p/{width}")


def write(
    directory: Path,
    raws: Iterable[bytes],
    note: bytes,
    verifiers: Iterable[NoteVerifier],
    *,
    progress: Callable[[int], None] | None = None,
) -> Checkpoint:
    """Make `directory` the static form of a log: `raws` are all of its entries, `note` is their signed checkpoint.

    New tiles come into their places once they are known to give the signed root, the checkpoint last; a reader never
    sees a checkpoint without its tiles. What is there already is compared, never written again. `progress` is told how
    many entries were read. One export into a directory runs at a time; others wait.

    Raises:
        CheckpointInvalidError: the note, or the checkpoint that is in the directory, is not signed by the log's key.
        TreeAlteredError: the entries do not give the root in the note; nothing was changed.
        RolledBackError: the directory holds a later state of the log.
        SplitViewError: the directory holds another history of the log.
        EntryAlteredError: a bundle or tile in the directory is not what was exported.
        EntryInvalidError: an entry is beyond 65,535 bytes.
        StoreUnreadableError: the directory cannot be read or written.
    """
    verifiers = tuple(verifiers)
    checkpoint = Checkpoint.verify(note, verifiers)
    with _unreadable(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory):
            old = _head(directory, verifiers)
            _comparable(old, checkpoint)
            for leftover in directory.glob(f"{_STAGING}*"):
                shutil.rmtree(leftover)
            staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=directory))
            try:
                _Writer(directory, staging, old, checkpoint).run(raws, progress)
                _publish(staging, directory, note)
                _prune(directory, old, checkpoint)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    return checkpoint


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
    with _unreadable(directory):
        note = _note(directory)
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
    with _unreadable(directory):
        return consistency_proof(old, new, _Tiles(directory, Checkpoint("", new, b"")).node)


class _Writer:
    """One pass over the entries, which puts new tiles into the staging directory and compares old ones."""

    def __init__(self, directory: Path, staging: Path, old: Checkpoint | None, checkpoint: Checkpoint) -> None:
        self.directory = directory
        self.staging = staging
        self.old = old
        self.checkpoint = checkpoint
        self.frontier = Frontier()
        self.bundle = bytearray()
        self.tiles: dict[int, bytearray] = {}
        self.damage: LedgerDamagedError | None = None

    def run(self, raws: Iterable[bytes], progress: Callable[[int], None] | None) -> None:
        """All entries; afterwards the staging directory holds what is new."""
        for raw in raws:
            self._add(raw)
            if self.old is not None and self.frontier.size == self.old.size:
                self._compare(self.old)
            if progress is not None and not self.frontier.size % 4096:
                progress(self.frontier.size)
        size, root = self.frontier.size, self.frontier.root()
        if (size, root) != (self.checkpoint.size, self.checkpoint.root):
            raise TreeAlteredError(
                "the entries are not those that the checkpoint signs",
                got=f"{size} entries, root {root.hex()}",
                expected=f"{self.checkpoint.size} entries, root {self.checkpoint.root.hex()}",
            )
        self._flush(None, self.bundle, size)
        for level, hashes in self.tiles.items():
            self._flush(level, hashes, size >> 8 * level)

        self._compare(None)

    def _compare(self, old: Checkpoint | None) -> None:
        if old is not None and self.frontier.root() != old.root:
            raise SplitViewError("the directory holds another history of the log", got=self.directory)
        if self.damage is not None:
            raise self.damage

    def _add(self, raw: bytes) -> None:
        if len(raw) > MAX_ENTRY_BYTES:
            raise EntryInvalidError("entry does not fit a bundle", got=len(raw), expected=f"{MAX_ENTRY_BYTES} bytes")
        leaf = leaf_hash(raw)
        completed = self.frontier.push(leaf)
        self.bundle += len(raw).to_bytes(2, "big") + raw
        if not self.frontier.size % WIDTH:
            self._flush(None, self.bundle, self.frontier.size)
        for level, index, node in ((0, self.frontier.size - 1, leaf), *completed):
            if not level % 8:
                hashes = self.tiles.setdefault(level // 8, bytearray())
                hashes += node
                if not (index + 1) % WIDTH:
                    self._flush(level // 8, hashes, index + 1)

    def _flush(self, level: int | None, content: bytearray, end: int) -> None:
        if not content:
            return
        index, width = (end - 1) // WIDTH, (end - 1) % WIDTH + 1
        name = tile_path(level, index, width)
        present = _bytes(self.directory / name, len(content) + 1)
        covered = self.old is not None and end << 8 * (level or 0) <= self.old.size
        if present is not None and present != bytes(content) and covered and self.damage is None:
            # Another history differs as well; which of the two it is shows at the size of the old checkpoint.
            first = index * WIDTH << 8 * (level or 0)
            self.damage = EntryAlteredError(f"{name} is not what was exported", index=first, got=self.directory)
        if present != bytes(content):  # also what an export left behind that was killed before it had a checkpoint
            target = self.staging / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _durable(target, content)
        content.clear()


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
        leaves = [tile[i * _HASH : (i + 1) * _HASH] for i in range(start % WIDTH, start % WIDTH + span)]
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
        content = self._file(level, index, width, WIDTH * _HASH + 1)
        if content is None:
            raise EntryMissingError(f"{tile_path(level, index, width)} is missing", index=first)
        partial = width < WIDTH and (self.directory / tile_path(level, index, width)).exists()
        expected = width * _HASH if partial or width == WIDTH else WIDTH * _HASH
        if len(content) != expected:
            raise TreeAlteredError(
                f"{tile_path(level, index, width)} has the wrong length",
                index=first + ((min(len(content), expected) // _HASH) << 8 * level),
                got=len(content),
                expected=expected,
            )
        return content[: width * _HASH]

    def _file(self, level: int | None, index: int, width: int, limit: int) -> bytes | None:
        content = _bytes(self.directory / tile_path(level, index, width), limit)
        if content is None and width < WIDTH:
            return _bytes(self.directory / tile_path(level, index), limit)
        return content

    def _missing(self, index: int, name: str) -> LedgerDamagedError:
        later = range(index // WIDTH + 1, (self.size + WIDTH - 1) // WIDTH)
        if any((self.directory / tile_path(None, n, self.width(0, n))).exists() for n in later):
            return EntryMissingError(f"{name} is missing or cut off", index=index)
        return TailDroppedError("the newest entries are missing", index=index, expected=f"{self.size} entries")


def _entries(tiles: _Tiles) -> Iterator[bytes]:
    """Entries, each checked against its tile, each tile against the one above, the last ones against the root."""
    with _unreadable(tiles.directory):
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
                if leaf_hash(raw) != hashes[place * _HASH : (place + 1) * _HASH]:
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
    return [hashes[place : place + _HASH] for place in range(0, len(hashes), _HASH)]


def _root(leaves: list[bytes]) -> bytes:
    frontier = Frontier()
    for leaf in leaves:
        frontier.push(leaf)
    return frontier.root()


def _comparable(old: Checkpoint | None, new: Checkpoint) -> None:
    if old is None:
        return
    if old.origin != new.origin:
        raise SplitViewError("the directory holds another log", got=old.origin, expected=new.origin)
    if old.size > new.size:
        raise RolledBackError("the directory holds a later state of the log", got=new.size, expected=old.size)
    if old.size == 0 and old.root != Frontier().root():
        raise SplitViewError("the directory holds another history of the log", got=old.root.hex())


def _publish(staging: Path, directory: Path, note: bytes) -> None:
    """Move what is new into its place, the checkpoint last."""
    for place, _, names in os.walk(staging):
        target = directory / Path(place).relative_to(staging)
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            (Path(place) / name).replace(target / name)
        _sync(target)
    _durable(staging / "checkpoint", note)
    (staging / "checkpoint").replace(directory / "checkpoint")
    _sync(directory)


def _prune(directory: Path, old: Checkpoint | None, new: Checkpoint) -> None:
    """Drop the partial tiles of the earlier state that full ones replace."""
    if old is None:
        return
    for level in range(8):
        index = (old.size >> 8 * level) // WIDTH
        if new.size >> 8 * level >= (index + 1) * WIDTH:
            for kind in (level, None) if level == 0 else (level,):
                shutil.rmtree(directory / f"{tile_path(kind, index)}.p", ignore_errors=True)


def _head(directory: Path, verifiers: tuple[NoteVerifier, ...]) -> Checkpoint | None:
    note = _note(directory)
    return None if note is None else Checkpoint.verify(note, verifiers)


def _note(directory: Path) -> bytes | None:
    return _bytes(directory / "checkpoint", 1_000_001)


def _bytes(path: Path, limit: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _durable(path: Path, content: bytes | bytearray) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    import fcntl  # not on every system, and only needed here

    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _unreadable(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnreadableError(f"cannot use {directory}", got=error.strerror or error) from error
