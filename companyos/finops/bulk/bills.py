"""Bills in the formats that DuckDB reads: CSV, CSV packed by gzip, Parquet.

Each bill can be read in two ways: in bulk, as an SQL relation of text columns `c0`, `c1`, …; and row by row, by the
thorough Python reader, which knows every quirk and names everything that is wrong.
"""

from __future__ import annotations

import csv
from functools import cached_property
from typing import TYPE_CHECKING, Any

from companyos.finops.bulk.connection import connect, duckdb, literal, quoted
from companyos.finops.bulk.scanning import GZIP, is_hiding, scan, unzip
from companyos.finops.columns import detect_version
from companyos.finops.errors import CostFileError
from companyos.finops.focus import FocusFile, check_regular
from companyos.finops.header import Columns, check_mandatory, read_header
from companyos.finops.rows import Charge, RowCleaner, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from companyos.finops.bulk.scanning import Scan
    from companyos.finops.interface import Rejection
    from companyos.finops.money import NumberStyle

__all__ = ("BulkBill", "CsvBill", "ParquetBill", "open_bill", "suffix_of")

PARQUET = b"PAR1"
FETCHED = 4096
"""Rows taken from DuckDB at a time."""


def suffix_of(path: Path) -> str:
    """`.parquet`, `.csv.gz` or `.csv`, by the first bytes of the file.

    Raises:
        CostFileError: it cannot be read.
    """
    check_regular(path)
    try:
        with path.open("rb") as handle:
            head = handle.read(4)
    except OSError as error:
        raise CostFileError(f"cannot read {path.name}", got=error, expected="a readable file") from error
    if head == PARQUET:
        return ".parquet"
    return ".csv.gz" if head.startswith(GZIP) else ".csv"


def open_bill(path: Path, scratch: Path, *, number_style: NumberStyle = "auto", complete: bool = True) -> BulkBill:
    """Open a bill; what has to be unpacked or spilt goes to `scratch`; `complete` asks for the mandatory columns.

    Raises:
        CostFileError: it is none of the formats, or damaged.
        MissingColumnsError: mandatory columns are missing.
    """
    suffix = suffix_of(path)
    if suffix == ".parquet":
        return ParquetBill(path, scratch, number_style=number_style, complete=complete)
    if suffix == ".csv.gz":
        plain = scratch / "unpacked" / path.name.removesuffix(".gz")  # never the packed file itself
        plain.parent.mkdir(exist_ok=True)
        unzip(path, plain)
        path = plain
    return CsvBill(path, number_style=number_style, complete=complete)


class CsvBill(FocusFile):
    """A CSV file."""

    def __init__(self, path: Path, *, number_style: NumberStyle = "auto", complete: bool = True) -> None:
        super().__init__(path, number_style=number_style, complete=complete)
        self.style: NumberStyle = number_style

    @cached_property
    def _found(self) -> Scan:
        """One look at all bytes, once somebody asks: adding up without storing never does."""
        return scan(self._path)

    @property
    def null_text(self) -> bool:
        """Whether the text NULL or null occurs."""
        return self._found.null_text

    @property
    def in_bulk(self) -> bool:
        """Whether the file may be read in bulk."""
        return self.encoding.startswith("utf-8") and self.style != "," and not self._found.odd

    @property
    def is_hiding(self) -> bool:
        """Whether there are bytes or endless lines that a query would pass over without a word."""
        return is_hiding(self._path)

    def relation(self) -> str:
        """The rows as SQL; DuckDB fails on what only the thorough reader understands.

        Fields that are empty are empty texts, fields that are missing are null, and one more column than the header has
        takes what a row has too many: left to itself, DuckDB drops an empty field that is one too many. On line breaks
        inside quotes it fails too; without threads it would read them, and lose a last row whose quote is never closed.
        A line longer than the longest field that the thorough reader takes is left to that one.
        """
        columns = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(len(self.header) + 1))
        return (
            f"read_csv({literal(self._path)}, auto_detect = false, header = true, delim = {literal(self.delimiter)},"
            f" quote = '\"', escape = '\"', strict_mode = true, null_padding = true, nullstr = '\x01',"
            f" max_line_size = {csv.field_size_limit()}, columns = {{{columns}}})"
        )

    def flat(self, target: Path) -> CsvBill:
        """The same rows as another bill at `target`: in UTF-8, line breaks inside fields as spaces.

        Raises:
            CostFileError: quoting or encoding is broken.
        """
        with self._reader() as reader, target.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerows([" ".join(field.splitlines()) for field in fields] for fields in reader if fields)
        return CsvBill(target, complete=False)


class ParquetBill(Columns):
    """A Parquet file; its typed columns are read as the text that a FOCUS CSV file would hold.

    Raises:
        CostFileError: it is not a whole Parquet file.
        MissingColumnsError: mandatory columns are missing.
    """

    in_bulk = True
    null_text = True
    is_hiding = False

    def __init__(self, path: Path, scratch: Path, *, number_style: NumberStyle = "auto", complete: bool = True) -> None:
        self.tally = Tally()
        self.rows_read = 0
        self.style: NumberStyle = number_style
        self._path = path
        self._scratch = scratch
        with connect(scratch) as connection, self.readable():
            described = connection.execute(f"DESCRIBE FROM read_parquet({literal(path)})").fetchall()
        self._columns = [(str(row[0]), str(row[1])) for row in described]
        self.header = read_header([name for name, _ in self._columns], self.tally, path.name)
        self.version = detect_version(self.header)
        if complete:
            check_mandatory(self.header, self.version, path.name)

    def relation(self) -> str:
        """The rows as SQL, in the shape of a CSV file's."""
        texts = ", ".join(
            f"coalesce({_text(quoted(name), kind)}, '') AS c{number}"
            for number, (name, kind) in enumerate(self._columns)
        )
        extra = f"CAST(NULL AS VARCHAR) AS c{len(self._columns)}"
        return f"(SELECT {texts}, {extra} FROM read_parquet({literal(self._path)}))"  # noqa: S608 - quoted names, quoted path

    def clean(self, cleaner: RowCleaner, row: int, fields: list[str], *, last: bool) -> Charge | Rejection:  # noqa: ARG002 - the shape of a CSV file's
        """The charge in the fields of one row, or why there is none."""
        return cleaner.clean(row, fields)

    def rows(self) -> Iterator[Charge | tuple[Rejection, list[str]]]:
        """Each data row as a charge, or as a rejection together with its fields.

        Raises:
            CostFileError: the file is damaged further down.
        """
        cleaner = RowCleaner(self.header, self.tally, self.style)
        with connect(self._scratch) as connection, self.readable():
            result = connection.execute(f"FROM {self.relation()}")
            while batch := result.fetchmany(FETCHED):
                for values in batch:
                    self.rows_read += 1
                    fields = list(values[:-1])
                    cleaned = cleaner.clean(self.rows_read, fields)
                    yield cleaned if isinstance(cleaned, Charge) else (cleaned, fields)

    def readable(self) -> Any:
        """A context in which what DuckDB cannot read of the file is an error of the file."""
        return _Readable(self._path.name)


BulkBill = CsvBill | ParquetBill


class _Readable:
    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and isinstance(error, duckdb().Error):
            raise CostFileError(
                f"{self._name} is not a whole Parquet file",
                got=str(error).splitlines()[0],
                expected="a Parquet file with its footer, not encrypted",
                hint="a file cut in the middle ends like this; fetch it again",
            ) from error


def _text(name: str, kind: str) -> str:
    if kind == "TIMESTAMP WITH TIME ZONE":
        return _moment(f"make_timestamp(epoch_us({name}))", "Z")
    if kind.startswith("TIMESTAMP"):
        return _moment(f"CAST({name} AS TIMESTAMP)", "")
    if kind.startswith(("MAP(", "STRUCT(")) or kind.endswith("[]"):
        return f"CAST(to_json({name}) AS VARCHAR)"
    return f"CAST({name} AS VARCHAR)"


def _moment(value: str, zone: str) -> str:
    whole, parts = literal(f"%Y-%m-%dT%H:%M:%S{zone}"), literal(f"%Y-%m-%dT%H:%M:%S.%f{zone}")
    return (
        f"CASE WHEN date_trunc('second', {value}) = {value} THEN strftime({value}, {whole})"
        f" ELSE strftime({value}, {parts}) END"
    )
