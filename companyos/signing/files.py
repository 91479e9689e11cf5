"""Secrets on the disk: written whole, readable by their owner alone, there after a power failure."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("beside", "fsync_directory", "is_private", "write_secret")


def beside(path: Path, suffix: str) -> Path:
    """The file `NAME<suffix>` beside `path`; appended and never replaced, so that no two names can meet."""
    return path.with_name(f"{path.name}{suffix}")


def write_secret(path: Path, data: bytes) -> None:
    """Write a new file with mode 0600; a reader sees all of it or none, and it survives a power failure.

    Raises:
        FileExistsError: there is a file already; secrets are never overwritten.
        OSError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, "a file is in the way", str(path.parent)) from error
    draft = beside(path, f".{os.urandom(8).hex()}.draft")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
        fsync_directory(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def fsync_directory(path: Path) -> None:
    """Make sure that the names in a directory survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_private(path: Path) -> bool:
    """Whether nobody but its owner may read or write a file."""
    return not stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO)
