"""Read a FOCUS CSV file row by row, naming all that is wrong with it.

What concerns single rows is mended or rejected row by row (`rows.py`); what makes the file as a whole untrustworthy
(encoding, quoting, header) is an error, because guessing there could turn text inside one field into charges.
"""

from __future__ import annotations

import csv
import os
import stat
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from companyos.finops.columns import KNOWN, detect_version
from companyos.finops.errors import AmbiguousNumbersError, CostFileError
from companyos.finops.header import MAX_COLUMNS, Columns, check_mandatory, read_header
from companyos.finops.interface import Rejection
from companyos.finops.rows import Charge, RowCleaner, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from companyos.finops.money import NumberStyle

__all__ = ("MAX_COLUMNS", "MAX_LINE", "FocusFile", "check_regular")

MAX_LINE = 4 * 1024 * 1024
"""Longest line read, in characters, so that a file without line ends cannot fill the memory."""

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig", "byte_order_mark"),
    (b"\xff\xfe", "utf-16", "utf_16"),
    (b"\xfe\xff", "utf-16", "utf_16"),
)
_OTHER_FORMATS = ((b"\x1f\x8b", "gzip"), (b"PAR1", "Parquet"), (b"PK\x03\x04", "zip or a spreadsheet"))


class FocusFile(Columns):
    """An open FOCUS CSV file: its header is read and checked, its rows are read once, by `rows()`.

    Raises:
        CostFileError: it cannot be read as CSV.
        MissingColumnsError: mandatory columns are missing.
    """

    def __init__(self, path: Path, *, number_style: NumberStyle = "auto", complete: bool = True) -> None:
        self.tally = Tally()
        """What was mended so far."""
        self.rows_read = 0
        """Data rows so far."""
        self._path = path
        self._style: NumberStyle = number_style
        self.delimiter = ","
        """What separates fields, found from the header."""
        self.encoding, self._final_newline = self._sniff()
        with self._reader() as reader:
            self.raw_header = next(reader, [])
            """Column names as they stand in the file."""
            self.header = read_header(self.raw_header, self.tally, path.name)
            """Column names, mended, in file order."""
        self.version = detect_version(self.header)
        """The FOCUS version found."""
        if complete:
            check_mandatory(self.header, self.version, path.name)

    def rows(self) -> Iterator[Charge | tuple[Rejection, list[str]]]:
        """Each data row as a charge, or as a rejection together with its fields.

        Raises:
            CostFileError: quoting or encoding is broken from here on.
            AmbiguousNumbersError: at the end, when numbers contradict each other.
        """
        cleaner = RowCleaner(self.header, self.tally, self._style)
        with self._reader() as reader:
            next(reader)
            following = next(reader, None)
            while following is not None:
                fields, following = following, next(reader, None)
                if not fields:
                    self.tally.add("blank_line", "", self.rows_read + 1)
                    continue
                self.rows_read += 1
                cleaned = self.clean(cleaner, self.rows_read, fields, last=following is None)
                yield cleaned if isinstance(cleaned, Charge) else (cleaned, fields)
        self._check_numbers()

    def clean(self, cleaner: RowCleaner, row: int, fields: list[str], *, last: bool) -> Charge | Rejection:
        """The charge in the fields of one row, or why there is none; `last` tells that the file ends behind it."""
        if fields == self.raw_header:
            return Rejection(row, "repeated_header", "", "the header again: files joined end to end")
        if last and not self._final_newline and len(fields) < len(self.header):
            return Rejection(row, "truncated", "", f"{len(fields)} of {len(self.header)} fields, then the file ends")
        return cleaner.clean(row, fields)

    def _sniff(self) -> tuple[str, bool]:
        check_regular(self._path)
        try:
            with self._path.open("rb") as raw:
                head = raw.read(4)
                raw.seek(max(0, raw.seek(0, os.SEEK_END) - 2))
                tail = raw.read()
        except OSError as error:
            raise CostFileError(f"cannot read {self._path.name}", got=error, expected="a readable file") from error
        if not head:
            raise CostFileError(f"{self._path.name} is empty", expected="a FOCUS CSV file with a header")
        for magic, name in _OTHER_FORMATS:
            if head.startswith(magic):
                raise CostFileError(
                    f"{self._path.name} is {name}",
                    expected="plain CSV",
                    hint="unpack it, or take the store over DuckDB: --engine duckdb",
                )
        encoding = "utf-8"
        for magic, known, kind in _BOMS:
            if head.startswith(magic):
                encoding = known
                self.tally.add(kind)
        final_newline = b"\n" in tail or b"\r" in tail
        if not final_newline:
            self.tally.add("no_final_newline")
        return encoding, final_newline

    @contextmanager
    def _reader(self) -> Iterator[Iterator[list[str]]]:
        try:
            with self._path.open(encoding=self.encoding, newline="") as handle:
                self.delimiter = _delimiter(handle.readline(MAX_LINE))
                handle.seek(0)
                yield csv.reader(self._lines(handle), delimiter=self.delimiter, strict=True)
        except UnicodeError as error:
            raise CostFileError(
                f"{self._path.name} is not {self.encoding} text",
                got=f"{error} after data row {self.rows_read}",
                expected="UTF-8, or UTF-16 with a byte order mark",
                hint="export it again as UTF-8, or convert it with iconv",
            ) from error
        except csv.Error as error:
            raise CostFileError(
                f"{self._path.name} is not well-formed CSV",
                got=f"{error}, after data row {self.rows_read}",
                expected="RFC 4180 quoting: quotes inside a quoted field doubled, every quote closed",
                hint="a file cut in the middle ends like this; fetch it again",
            ) from error
        except OSError as error:
            raise CostFileError(f"cannot read {self._path.name}", got=error) from error

    def _lines(self, handle: IO[str]) -> Iterator[str]:
        while line := handle.readline(MAX_LINE):
            if len(line) >= MAX_LINE:
                raise CostFileError(
                    f"{self._path.name} has a line that is too long",
                    got=f"{MAX_LINE} characters and more after data row {self.rows_read}",
                    expected=f"lines below {MAX_LINE} characters",
                )
            yield line

    def _check_numbers(self) -> None:
        if self.tally.count("dot_three") and (
            self.tally.count("decimal_comma") or self.tally.count("grouped_comma_mark")
        ):
            raise AmbiguousNumbersError(
                f"{self._path.name} writes numbers in two ways",
                got=f"a decimal comma and a number like 1.234 (first in row {self.tally.first_row('dot_three')})",
                expected="one decimal mark",
                hint="state it: --decimal ',' or --decimal '.'",
            )


def check_regular(path: Path) -> None:
    """Raise `CostFileError` unless `path` is a regular file: reading a pipe or a device may never end."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise CostFileError(f"cannot read {path.name}", got=error, expected="a readable file") from error
    if not stat.S_ISREG(mode):
        raise CostFileError(f"cannot read {path.name}", got="a directory, pipe or device", expected="a regular file")


def _delimiter(first_line: str) -> str:
    names = {delimiter: len(set(first_line.replace('"', "").strip().split(delimiter)) & KNOWN) for delimiter in ",;\t|"}
    return max(names, key=lambda delimiter: names[delimiter])
