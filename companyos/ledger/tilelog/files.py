"""Where the files of an exported log lie, and how they are read and written."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from companyos.ledger.errors import StoreUnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = (
    "HASH_BYTES",
    "MAX_ENTRY_BYTES",
    "WIDTH",
    "content_of",
    "locked",
    "note_of",
    "put",
    "sync",
    "tile_path",
    "unreadable",
)

WIDTH = 256
"""Hashes in a full tile, entries in a full bundle."""
MAX_ENTRY_BYTES = 0xFFFF
"""What the two bytes before an entry can tell."""
HASH_BYTES = 32


def tile_path(level: int | None, index: int, width: int = WIDTH) -> str:
    """Where a tile lies: hashes of a `level` of tiles, or with None a bundle of entries; partial if under 256 wide."""
    parts = [f"{index % 1000:03d}"]
    while index := index // 1000:
        parts.append(f"x{index % 1000:03d}")
    place = "/".join(reversed(parts))
    return f"tile/{'entries' if level is None else level}/{place}" + ("" if width == WIDTH else f".p/{width}")


def note_of(directory: Path) -> bytes | None:
    """The signed checkpoint of an exported log; None if there is none."""
    return content_of(directory / "checkpoint", 1_000_001)


def content_of(path: Path, limit: int) -> bytes | None:
    """The first `limit` bytes of a file; None if there is no file."""
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except (FileNotFoundError, NotADirectoryError):
        return None


def put(path: Path, content: bytes | bytearray) -> None:
    """Make a new file that survives a power cut."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(directory: Path) -> None:
    """Make the names in a directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Let one export at a time into a directory."""
    import fcntl  # not on every system, and only needed here

    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def unreadable(directory: Path) -> Iterator[None]:
    """Errors of the file system, as ours."""
    try:
        yield
    except OSError as error:
        raise StoreUnreadableError(f"cannot use {directory}", got=error.strerror or error) from error
