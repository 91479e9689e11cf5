"""One look at the bytes of a CSV file, for what decides whether DuckDB may read it."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.finops.errors import CostFileError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("Scan", "is_hiding", "scan", "unzip")

BLOCK = 4 * 1024 * 1024
MARKERS = (b"\0", b"\x01")
"""Bytes that no bill has: DuckDB takes the second for a missing field."""
LONGEST = 4 * 1024 * 1024
"""No line of a bill is as long; one that is lies across the edge of two blocks."""
GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Scan:
    """What was met in the bytes of a file."""

    odd: bool
    """Bytes 0 or 1, blank lines, mixed line ends, endless lines: what is counted or refused row by row, not in bulk."""
    null_text: bool
    """The text NULL or null occurs somewhere."""


def scan(path: Path) -> Scan:
    """Look through a file once, in constant memory."""
    returns = newlines = pairs = length = 0
    odd = null_text = bare = False
    carried = b"\n"  # a file that begins with a line end begins with a blank line
    with path.open("rb") as handle:
        while block := handle.read(BLOCK):
            seam = carried + block[:3]
            if b"\r" in block or returns:
                returns += block.count(b"\r")
                newlines += block.count(b"\n")
                pairs += block.count(b"\r\n") + (carried.endswith(b"\r") and block.startswith(b"\n"))
                odd = odd or b"\n\r\n" in block or b"\n\r\n" in seam
            else:
                bare = bare or b"\n" in block
            odd = odd or any(mark in text for mark in (*MARKERS, b"\n\n") for text in (block, seam))
            null_text = null_text or any(mark in text for mark in (b"NULL", b"null") for text in (block, seam))
            # A last line that is longer than DuckDB's buffer is lost there without a word.
            end = block.find(b"\n")
            odd = odd or length + (len(block) if end < 0 else end) >= LONGEST
            length = length + len(block) if end < 0 else len(block) - block.rfind(b"\n") - 1
            carried = block[-3:]
    return Scan(odd=odd or (returns > 0 and (bare or not returns == newlines == pairs)), null_text=null_text)


def is_hiding(path: Path) -> bool:
    """Whether bytes 0 or 1 or an endless line occur: what `scan` finds at the price of reading the file."""
    length = 0
    with path.open("rb") as handle:
        while block := handle.read(BLOCK):
            end = block.find(b"\n")
            length += len(block) if end < 0 else end
            if length >= LONGEST or any(mark in block for mark in MARKERS):
                return True
            length = length if end < 0 else len(block) - block.rfind(b"\n") - 1
    return False


def unzip(path: Path, target: Path) -> None:
    """Write what a gzip file holds to `target`, in constant memory.

    Raises:
        CostFileError: it is damaged or ends in the middle.
    """
    try:
        with gzip.open(path, "rb") as packed, target.open("wb") as plain:
            while block := packed.read(BLOCK):
                plain.write(block)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CostFileError(
            f"{path.name} is not a whole gzip file",
            got=error,
            expected="a gzip file with its end",
            hint="a file cut in the middle ends like this; fetch it again",
        ) from error
