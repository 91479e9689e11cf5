"""Tarballs: written so that the same files give the same bytes, read in memory with nothing trusted.

Only what `opa build` and plain `tar` write is read (ustar, regular files and directories): no links, no devices, no
extension headers. Every refusal has the name of its rule. Nothing is ever written to a disk.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

from companyos.authz.bundles.interface import BundleRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ("MAX_FILES", "MAX_FILE_BYTES", "MAX_PACKED_BYTES", "MAX_RATIO", "MAX_TOTAL_BYTES", "pack", "unpack")

MAX_PACKED_BYTES = 16 * 1024 * 1024
"""Largest tarball, compressed."""
MAX_TOTAL_BYTES = 64 * 1024 * 1024
"""Largest tarball, decompressed."""
MAX_FILE_BYTES = 8 * 1024 * 1024
"""Largest file in a bundle."""
MAX_FILES = 4096
"""Most files and directories in a bundle."""
MAX_RATIO = 200
"""Most bytes that one compressed byte may become, once a bundle is larger than a megabyte."""

_BLOCK = 512
_RATIO_FROM = 1024 * 1024
_STEP = 256 * 1024
_ZEROS = bytes(_BLOCK)
_MAGIC = (b"ustar\x0000", b"ustar  \x00")
_SEGMENT = re.compile(r"[A-Za-z0-9_@+.=-]{1,100}")
_OCTAL = re.compile(rb" *([0-7]+)[ \0]*")
_LINKS = {b"1": "hard link", b"2": "symbolic link"}
_EXTENSIONS = {
    b"x": "a pax header",
    b"g": "a global pax header",
    b"X": "a pax header of Solaris",
    b"K": "a long link name of GNU",
    b"L": "a long name of GNU",
    b"S": "a sparse file of GNU",
    b"V": "a volume label of GNU",
    b"M": "a part of another volume of GNU",
    b"N": "an old long name of GNU",
    b"D": "a directory listing of GNU",
}
_FILES = (b"0", b"\0", b"7")
_DIRECTORY = b"5"


def pack(files: Mapping[str, bytes]) -> bytes:
    """A gzipped tarball of `files`, by name: sorted, mode 0644, owner 0, time 0, no name in the gzip header."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [compressor.compress(part) for name in sorted(files) for part in _member(name, files[name])]
    return b"".join((*parts, compressor.compress(_ZEROS * 2), compressor.flush()))


def unpack(data: bytes) -> dict[str, bytes]:
    """The files of a tarball by name, without the slash or `./` that all names may begin with.

    Raises:
        BundleRefusedError: named by its rule, for whatever is not plainly a bundle.
    """
    members = list(_members(_gunzip(data)))
    prefix = _common_prefix([name for name, _, _ in members])
    files: dict[str, bytes] = {}
    directories: set[str] = set()
    for name, kind, content in members:
        path = _checked(name.removeprefix(prefix), directory=kind == _DIRECTORY)
        if kind == _DIRECTORY:
            directories.add(path)
        elif path in files:
            raise BundleRefusedError("bundle.duplicate", "a name is there twice", got=path)
        else:
            files[path] = content
    _check_distinct(files, directories)
    return files


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield _header(name, len(content))
    yield content
    yield bytes(-len(content) % _BLOCK)


def _header(name: str, size: int) -> bytes:
    prefix, short = _split(_checked(name, directory=False))
    fields = (
        short.ljust(100, b"\0"),
        *(b"%07o\0" % number for number in (0o644, 0, 0)),
        b"%011o\0" % size,
        b"%011o\0" % 0,
        b" " * 8,
        b"0",
        bytes(100),
        _MAGIC[0],
        bytes(32 + 32),
        b"%07o\0" % 0 + b"%07o\0" % 0,
        prefix.ljust(155, b"\0"),
        bytes(12),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _split(name: str) -> tuple[bytes, bytes]:
    """A name as ustar holds it: prefix and the rest."""
    raw = name.encode("ascii")
    if len(raw) <= 100:
        return b"", raw
    for at, byte in enumerate(raw):
        if byte == 47 and at <= 155 and len(raw) - at - 1 <= 100:
            return raw[:at], raw[at + 1 :]
    raise BundleRefusedError("bundle.name", "a name is too long", got=name, expected="as ustar holds it")


def _gunzip(data: bytes) -> bytes:
    if len(data) > MAX_PACKED_BYTES:
        raise BundleRefusedError(
            "bundle.size", "too large", got=len(data), expected=f"at most {MAX_PACKED_BYTES} bytes"
        )
    decompressor = zlib.decompressobj(31)
    parts, total, pending = [], 0, data
    try:
        while not decompressor.eof:
            parts.append(decompressor.decompress(pending, _STEP))
            pending = decompressor.unconsumed_tail
            if not parts[-1] and not pending:
                break
            total += len(parts[-1])
            _check_growth(total, len(data))
    except zlib.error as error:
        raise BundleRefusedError("bundle.gzip", "not gzip", got=error) from error
    if not decompressor.eof:
        raise BundleRefusedError("bundle.gzip", "cut short")
    if decompressor.unused_data or pending:
        raise BundleRefusedError("bundle.gzip", "something follows the end", expected="one gzip member alone")
    return b"".join(parts)


def _check_growth(total: int, packed: int) -> None:
    if total > MAX_TOTAL_BYTES:
        raise BundleRefusedError("bundle.size", "too large unpacked", expected=f"at most {MAX_TOTAL_BYTES} bytes")
    if total > _RATIO_FROM and total > packed * MAX_RATIO:
        raise BundleRefusedError("bundle.size", "compressed too well", expected=f"at most {MAX_RATIO} to 1")


def _members(tar: bytes) -> Iterator[tuple[str, bytes, bytes]]:
    """Name, type and content of each member."""
    at, count = 0, 0
    while (header := tar[at : at + _BLOCK]) != _ZEROS:
        if len(header) < _BLOCK:
            raise BundleRefusedError("bundle.tar", "the archive has no end")
        count += 1
        if count > MAX_FILES:
            raise BundleRefusedError("bundle.size", "too many files", expected=f"at most {MAX_FILES}")
        name, kind, size = _parse(header)
        at += _BLOCK
        if at + size > len(tar):
            raise BundleRefusedError("bundle.tar", "a file is cut short", got=name)
        yield name, kind, tar[at : at + size]
        at += size + -size % _BLOCK
    rest = tar[at:]
    if len(rest) < 2 * _BLOCK or len(rest) % _BLOCK or rest.strip(b"\0"):
        raise BundleRefusedError("bundle.tar", "something follows the end", expected="two or more blocks of zeros")


def _parse(header: bytes) -> tuple[str, bytes, int]:
    if _number(header[148:156], "checksum") != sum(header[:148]) + 8 * 32 + sum(header[156:]):
        raise BundleRefusedError("bundle.tar", "a header's checksum is wrong")
    if header[257:265] not in _MAGIC:
        raise BundleRefusedError("bundle.tar", "not a ustar archive", got=header[257:265])
    name, kind = _name(header), header[156:157]
    if kind in _LINKS:
        raise BundleRefusedError("bundle.link", f"holds a {_LINKS[kind]}", got=name)
    if kind in _EXTENSIONS:
        raise BundleRefusedError(
            "bundle.extension",
            f"holds {_EXTENSIONS[kind]}",
            got=f"{name}, of type {kind!r}",
            expected="plain ustar",
            hint="write it with opa build, companyos bundle build or tar --format=ustar",
        )
    if kind not in _FILES and kind != _DIRECTORY:
        raise BundleRefusedError(
            "bundle.device", "holds something that is no file", got=f"{name}, of type {kind!r}", expected="files only"
        )
    if header[157:257].strip(b"\0"):
        raise BundleRefusedError("bundle.link", "a file has the target of a link", got=name)
    size = _number(header[124:136], "size")
    if size > MAX_FILE_BYTES or (size and kind == _DIRECTORY):
        raise BundleRefusedError("bundle.size", "a file is too large", got=f"{name}, {size} bytes")
    return name, kind, size


def _number(field: bytes, what: str) -> int:
    found = _OCTAL.fullmatch(field)
    if found is None:
        raise BundleRefusedError("bundle.tar", f"a header's {what} is no number", got=field)
    return int(found[1], 8)


def _name(header: bytes) -> str:
    short = header[:100].split(b"\0", 1)[0]
    # Only ustar has a prefix; GNU keeps times in its place.
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:265] == _MAGIC[0] else b""
    raw = prefix + b"/" + short if prefix else short
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise BundleRefusedError("bundle.name", "a name is not plain ASCII", got=ascii(raw)) from error


def _common_prefix(names: list[str]) -> str:
    """What all names begin with: `/` as OPA writes them, `./` as `tar .` does, or nothing."""
    for prefix in ("/", "./"):
        if names and all(name.startswith(prefix) for name in names):
            return prefix
    return ""


def _checked(name: str, *, directory: bool) -> str:
    path = name.removesuffix("/") if directory else name
    segments = path.split("/")
    if ".." in segments:
        raise BundleRefusedError("bundle.traversal", "a name leads out of the bundle", got=name)
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        raise BundleRefusedError("bundle.absolute", "a name is absolute", got=name)
    if directory and path in {"", "."}:
        return ""
    if len(path) > 255 or "." in segments or not all(map(_SEGMENT.fullmatch, segments)):
        raise BundleRefusedError(
            "bundle.name", "a name is not plain", got=ascii(name), expected="letters, digits, _ @ + . = - and /"
        )
    return path


def _check_distinct(files: Mapping[str, bytes], directories: set[str]) -> None:
    seen: dict[str, str] = {}
    for path in (*files, *directories):
        other = seen.setdefault(path.casefold(), path)
        if other != path or (path in files and path in directories):
            raise BundleRefusedError("bundle.duplicate", "two names are one", got=f"{other}, {path}")
    parents = {path.casefold().rpartition("/")[0] for path in files}
    above = {parent[:at] for parent in parents for at in [*_slashes(parent), len(parent)]}
    clash = sorted(path for path in files if path.casefold() in above)
    if clash:
        raise BundleRefusedError("bundle.duplicate", "a name is a file and a directory", got=clash[0])


def _slashes(path: str) -> list[int]:
    return [at for at, character in enumerate(path) if character == "/"]
