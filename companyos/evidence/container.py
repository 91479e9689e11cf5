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

__all__ = ("MAX_MEMBERS", "MAX_PACK_BYTES", "pack_bytes", "unpack_bytes")

MAX_PACK_BYTES = 1 << 30
"""Larger files are refused before they are read."""
MAX_MEMBERS = 100_000
"""More members are refused."""
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
            if not _NAME.fullmatch(name) or len(name) > 200:
                raise PackInvalidError("not a name for a pack member", got=repr(name), expected=_NAME.pattern)
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
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _refuse_oddities(infos)
            members = {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise PackInvalidError("not an evidence pack", got=error, expected="a .cpack file") from error
    if pack_bytes(members) != data:
        raise PackInvalidError("pack is not in its canonical form: bytes outside of the members were changed")
    return members


def _refuse_oddities(infos: list[zipfile.ZipInfo]) -> None:
    if len(infos) > MAX_MEMBERS:
        raise PackInvalidError("too many members", got=len(infos), expected=f"at most {MAX_MEMBERS}")
    for info in infos:
        # Checked before anything is read, so that a bomb is never unpacked.
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise PackInvalidError(f"member {info.filename} is compressed", expected="stored members only")
    if len({info.filename for info in infos}) != len(infos):
        raise PackInvalidError("two members of the same name")
