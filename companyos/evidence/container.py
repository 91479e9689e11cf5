"""The file format of a pack: a zip that has exactly one possible form for its content.

A zip has many bits that leave every member as it is (times, flags, comments, padding, order). Here members are stored
uncompressed, sorted by name, with fixed times and modes, and reading rebuilds the file and compares every byte: nothing
in it can change unseen, whether or not it is in a member.
"""

from __future__ import annotations

import io
import re
import zipfile
from typing import TYPE_CHECKING

from companyos.evidence.errors import PackInvalidError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("MAX_MEMBERS", "MAX_NAME", "MAX_PACK_BYTES", "is_member_name", "pack_bytes", "unpack_bytes")

MAX_PACK_BYTES = 1 << 30
"""Larger files are refused before they are read."""
MAX_MEMBERS = 100_000
"""More members are refused."""
MAX_NAME = 200
"""Longer names are refused."""
_HEADER_BYTES = 30
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack_bytes(members: Mapping[str, bytes]) -> bytes:
    """The one file that holds `members`.

    Raises:
        PackInvalidError: a name is not a plain relative path of lower-case letters, digits, `.`, `_`, `-` and `/`.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            if not is_member_name(name):
                raise _unnameable(name)
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            archive.writestr(info, members[name])
    return buffer.getvalue()


def unpack_bytes(data: bytes) -> dict[str, bytes]:
    """The members of a pack, if `data` is exactly what `pack_bytes` makes of them. Nothing is written or run.

    Raises:
        PackInvalidError: it is not.
    """
    if len(data) > MAX_PACK_BYTES:
        raise PackInvalidError("pack is too large", got=f"{len(data)} bytes", expected=f"at most {MAX_PACK_BYTES}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _refuse_oddities(infos, len(data))
            members = {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise PackInvalidError("not an evidence pack", got=repr(error), expected="a .cpack file") from error
    if pack_bytes(members) != data:
        raise PackInvalidError("pack is not in its canonical form: bytes outside of the members were changed")
    return members


def is_member_name(name: str) -> bool:
    """Whether a member may be called so."""
    return len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None


def _refuse_oddities(infos: list[zipfile.ZipInfo], size: int) -> None:
    """Look at the directory alone, before anything is read, so that a bomb is never unpacked."""
    if len(infos) > MAX_MEMBERS:
        raise PackInvalidError("too many members", got=len(infos), expected=f"at most {MAX_MEMBERS}")
    end = 0
    for info in infos:
        if not is_member_name(info.filename):
            raise _unnameable(info.filename)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise PackInvalidError(f"member {info.filename!r} is compressed", expected="stored members only")
        if info.header_offset != end:
            raise PackInvalidError(f"member {info.filename!r} does not lie right behind the one before it")
        end += _HEADER_BYTES + len(info.filename) + info.file_size
    if end > size:
        raise PackInvalidError("members are larger than the file", got=f"{end} bytes", expected=f"at most {size}")
    if len({info.filename for info in infos}) != len(infos):
        raise PackInvalidError("two members of the same name")


def _unnameable(name: str) -> PackInvalidError:
    return PackInvalidError("not a name for a pack member", got=repr(name[: 2 * MAX_NAME]), expected=_NAME.pattern)
