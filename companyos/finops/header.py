"""The header of a FOCUS file, whatever the file's format: column names mended, mandatory ones present."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.finops.columns import KNOWN, mandatory, stray
from companyos.finops.errors import CostFileError, MissingColumnsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from companyos.finops.rows import Tally

__all__ = ("MAX_COLUMNS", "Columns", "check_mandatory", "read_header")

MAX_COLUMNS = 1_000
"""More columns than this is not a FOCUS file; version 1.4 has 65."""

_FOLDED = {name.casefold(): name for name in KNOWN}


class Columns:
    """What the column names of a file say, whatever its format."""

    header: tuple[str, ...]

    @property
    def stray_columns(self) -> tuple[str, ...]:
        """Columns that FOCUS does not define and that lack the `x_` prefix."""
        return stray(self.header)

    @property
    def custom_columns(self) -> tuple[str, ...]:
        """`x_` columns."""
        return tuple(name for name in self.header if name.startswith("x_"))


def read_header(raw: Sequence[str], tally: Tally, file_name: str) -> tuple[str, ...]:
    """Column names in file order, other spellings of known ones mended and counted.

    Raises:
        CostFileError: too many columns, NUL bytes, or a column named twice.
    """
    if len(raw) > MAX_COLUMNS:
        raise CostFileError(f"{file_name} has too many columns", got=len(raw), expected=f"at most {MAX_COLUMNS}")
    if any("\0" in name for name in raw):
        raise CostFileError(
            f"{file_name} has NUL bytes in its header", expected="UTF-8, or UTF-16 with a byte order mark"
        )
    header = tuple(_column(name, tally) for name in raw)
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise CostFileError(f"{file_name} names columns twice", got=", ".join(twice), expected="each column once")
    return header


def check_mandatory(header: Sequence[str], version: str, file_name: str) -> None:
    """Check that every column which that version makes mandatory is there.

    Raises:
        MissingColumnsError: some are missing; all of them are named.
    """
    missing = sorted(mandatory(version) - set(header))
    if missing:
        raise MissingColumnsError(
            f"{file_name} lacks mandatory columns of FOCUS {version}",
            got=f"{len(header)} columns; missing: {', '.join(missing)}",
            expected=f"all {len(mandatory(version))} mandatory columns",
            hint="export the FOCUS cost and usage data set, not a provider's own format",
        )


def _column(name: str, tally: Tally) -> str:
    known = _FOLDED.get(name.strip().casefold(), name.strip())
    if known != name:
        tally.add("column_name", known)
    return known
