"""Writing an exported log: new tiles beside it first, into their places once they give the signed root."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from companyos.ledger.checkpoint import Checkpoint
from companyos.ledger.errors import (
    EntryAlteredError,
    EntryInvalidError,
    LedgerDamagedError,
    RolledBackError,
    SplitViewError,
    TreeAlteredError,
)
from companyos.ledger.merkle import Frontier, leaf_hash
from companyos.ledger.tilelog.files import (
    MAX_ENTRY_BYTES,
    WIDTH,
    content_of,
    locked,
    note_of,
    put,
    sync,
    tile_path,
    unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from companyos.signing import NoteVerifier

__all__ = ("write",)

_STAGING = ".export-"


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
    with unreadable(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with locked(directory):
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
        if self.damage is not None:
            raise self.damage

    def _compare(self, old: Checkpoint) -> None:
        if self.frontier.root() != old.root:
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
        present = content_of(self.directory / name, len(content) + 1)
        covered = self.old is not None and end << 8 * (level or 0) <= self.old.size
        if present is not None and present != bytes(content) and covered and self.damage is None:
            # Another history differs as well; which of the two it is shows at the size of the old checkpoint.
            first = index * WIDTH << 8 * (level or 0)
            self.damage = EntryAlteredError(f"{name} is not what was exported", index=first, got=self.directory)
        if present != bytes(content):  # also what an export left behind that was killed before it had a checkpoint
            target = self.staging / name
            target.parent.mkdir(parents=True, exist_ok=True)
            put(target, content)
        content.clear()


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
        sync(target)
    put(staging / "checkpoint", note)
    (staging / "checkpoint").replace(directory / "checkpoint")
    sync(directory)


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
    note = note_of(directory)
    return None if note is None else Checkpoint.verify(note, verifiers)
