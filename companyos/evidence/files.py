"""Reading and writing the file of a pack: it appears whole and lasting, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from companyos.errors import UserError
from companyos.evidence.container import MAX_PACK_BYTES
from companyos.evidence.errors import PackInvalidError
from companyos.signing.files import beside, fsync_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ("published", "read_file")


def read_file(path: Path) -> bytes:
    """The bytes of a pack file.

    Raises:
        PackInvalidError: it is too large.
        UserError: it cannot be read.
    """
    try:
        if path.stat().st_size > MAX_PACK_BYTES:
            raise PackInvalidError(f"{path} is too large", expected=f"at most {MAX_PACK_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}", got=error.strerror, hint="check the path") from error


@contextlib.contextmanager
def published(path: Path) -> Iterator[Callable[[bytes], None]]:
    """A function that puts its bytes into place at `path`, in one step and on the disk.

    Whether the place can be written to is found out on entering; if nothing is put there, nothing is left behind.

    Raises:
        UserError: it cannot be written.
    """
    with _explained(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _make_directory(path.parent)
        # A name of its own for each writer: two builds of the same pack never write into one another's draft.
        draft = beside(path, f".{os.urandom(8).hex()}.draft")
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(file, "wb") as stream:

            def put(data: bytes) -> None:
                with _explained(path):
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
                    draft.replace(path)
                    fsync_directory(path.parent)

            yield put
    finally:
        draft.unlink(missing_ok=True)


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, f"{path} is a file") from error


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}", got=error.strerror, hint="choose a writable directory") from error
