"""The cost store for bills of millions of rows: charges and rollups in Parquet, read by DuckDB, sums exact.

Layout of the directory: `catalog.db` (SQLite: which files count, and how far each source has reported), `raw/` and
`rejects/` as in the small store, `charges/<sha256>.parquet` and `charges/<sha256>-mended.parquet` (a partition a file:
the rows cleaned in bulk, and those cleaned one by one), `rollups/<sha256>.parquet` (sums by day and dimension).

What counts is what the catalogue says, and the catalogue changes in one transaction: a process killed in the middle of
an ingest leaves files that nobody looks at.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.errors import UserError
from companyos.finops.bulk.bills import open_bill, suffix_of
from companyos.finops.bulk.connection import connect, duckdb, literal, literals
from companyos.finops.bulk.leftovers import combined
from companyos.finops.bulk.queries import CONSUMPTION, DIMENSIONS, KEYS, QUERIES, SUMS
from companyos.finops.bulk.slicing import columns_of, sliced
from companyos.finops.bulk.staging import Staging, charges_view
from companyos.finops.engines.sqlite import SCHEMA, TAG_KEY, SqliteCostStore
from companyos.finops.errors import StoreError
from companyos.finops.money import exact_sum, plain
from companyos.finops.rows import stamp
from companyos.finops.slices import check_keys, check_metric
from companyos.finops.usage import Consumed, is_gpu

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from decimal import Decimal

    from companyos.finops.bulk.connection import Progress
    from companyos.finops.interface import Bill, IngestReport, Measure, Overlap
    from companyos.finops.money import NumberStyle
    from companyos.finops.slices import Slice
    from companyos.ports import LedgerPort

__all__ = ("ALLOWED_TAGS", "DuckCostStore")

ALLOWED_TAGS = ("CostCenter", "application", "environment", "feature", "team")
"""Tags that are rolled up at ingest unless others are named; any other is found, slower, in the charges themselves."""
ABANDONED_SECONDS = 24 * 3600
"""Scratch directories this old belong to an ingest that was killed."""
_LIVE = "SELECT DISTINCT file, issuer, account, billing_start FROM charges"


class DuckCostStore(SqliteCostStore):
    """A `CostStore` for CSV, gzipped CSV and Parquet of any size, in a directory; memory stays below 600 MB.

    It promises what `SqliteCostStore` does, and takes amounts of up to 20 digits before and 36 after the mark.

    Raises:
        MissingExtraError: DuckDB is not installed.
        StoreError: the directory or the catalogue cannot be used.
    """

    DATABASE = "catalog.db"
    DIRECTORIES = ("raw", "rejects", "charges", "rollups")
    CHARGES = SCHEMA.replace("tags TEXT, extra TEXT,", "tags TEXT, extra TEXT, rows INTEGER NOT NULL,")
    COUNT = "coalesce(sum(rows), 0)"

    def __init__(
        self,
        directory: Path,
        *,
        ledger: LedgerPort | None = None,
        create: bool = True,
        tags: Sequence[str] = ALLOWED_TAGS,
        progress: Progress | None = None,
    ) -> None:
        duckdb()
        self.tags = tuple(tags)
        """Keys of the tags that are rolled up at ingest."""
        self._progress = progress
        self._staged: Staging | None = None
        super().__init__(directory, ledger=ledger, create=create)

    def ingest(self, path: Path, *, overlap: Overlap = "refuse", number_style: NumberStyle = "auto") -> IngestReport:
        """Bring in a FOCUS file: all of it or nothing, and nothing twice; see `CostStore.ingest`."""
        self._sweep()
        with _answered(self.directory):
            return super().ingest(path, overlap=overlap, number_style=number_style)

    def slices(
        self,
        keys: Sequence[str],
        start: date | None = None,
        end: date | None = None,
        *,
        measure: Measure = "billed",
        metric: str | None = None,
    ) -> tuple[Slice, ...]:
        """Exact sums by several keys at once; see `Sliceable.slices`."""
        check_keys(keys)
        check_metric(metric)
        days = (start or date.min, end or date.max)
        with _answered(self.directory), self._scratch() as scratch, connect(scratch) as connection:
            files = self._show_live(connection)
            parts = [(file, place) for file in files for place in self._places(file)]
            return sliced(connection, parts, keys, days, measure=measure, metric=metric) if parts else ()

    def columns(self) -> frozenset[str]:
        """The columns that every file with charges has; see `Sliceable.columns`."""
        with _answered(self.directory), self._scratch() as scratch, connect(scratch) as connection:
            found = [frozenset(columns_of(connection, self._places(file)[0])) for file in self.coverage().files]
        together = frozenset.intersection(*found) if found else frozenset()
        return frozenset(name for name in together if not name.startswith("co_"))

    def _places(self, file: str) -> list[Path]:
        """The Parquet files with the charges of one bill."""
        name = file.removeprefix("sha256:")
        both = [self.directory / "charges" / f"{name}{kind}.parquet" for kind in ("", "-mended")]
        return [place for place in both if place.exists()]

    def consumed(self, start: date, end: date) -> tuple[Consumed, ...]:
        """What was consumed; see `CostStore.consumed`."""
        with _answered(self.directory), self._scratch() as scratch, connect(scratch) as connection:
            if not self._show_rollups(connection, "all"):
                return ()
            names = sorted({row[0].removeprefix("sha256:") for row in self._db.execute(_LIVE).fetchall()})
            views = " UNION ALL BY NAME ".join(self._consuming(connection, name) for name in names)
            rows = connection.execute(
                QUERIES["consumed"].format(charges=views), {"first": start, "end": end}
            ).fetchall()
        found: dict[tuple[str, str, bool, str], list[tuple[Decimal, Decimal, int]]] = {}
        for feature, unit, sku_meter, text, currency, amount, rest, quantity, count in rows:
            key = feature, unit, is_gpu(unit, sku_meter, text), currency
            found.setdefault(key, []).append((combined(amount, int(rest)), quantity, count))
        return tuple(_added(*key, own) for key, own in sorted(found.items()))

    def _consuming(self, connection: Any, name: str) -> str:
        """The charges of one file with what they consumed, as SQL."""
        files = self._places(name)
        header = [row[0] for row in connection.execute(f"DESCRIBE FROM read_parquet({literal(files[0])})").fetchall()]
        return f"SELECT {literal(f'sha256:{name}')} AS file, * FROM ({charges_view(files, header, (), CONSUMPTION)})"  # noqa: S608

    def _open(self, raw: Path, number_style: NumberStyle) -> Bill:
        return open_bill(raw, raw.parent, number_style=number_style)

    def _suffix(self, raw: Path) -> str:
        return suffix_of(raw)

    def _insert_rows(self, focus: Any, file: str, rejects: Path) -> dict[str, int]:
        reasons: dict[str, int] = {}

        def accept(items: Any) -> Any:
            reasons.clear()  # a bill that is read again starts again
            self._db.execute("DELETE FROM rejected WHERE file = ?", (file,))
            return self._accepted(items, focus.header, file, rejects, reasons)

        with Staging(focus, rejects.parent, self.tags, self._progress) as staging:
            staging.load(accept)
            if staging.clean.exists() or staging.mended.exists():
                self._db.executemany(
                    f"INSERT INTO charges VALUES ({', '.join('?' * 20)})",  # noqa: S608 - only question marks
                    _spans(file, staging.add_up()),
                )
        self._keep(staging, file.removeprefix("sha256:"))
        return reasons

    def _keep(self, staging: Staging, name: str) -> None:
        """Put what was staged in its place; it counts once the transaction ends."""
        places = (
            (staging.clean, self.directory / "charges" / f"{name}.parquet"),
            (staging.mended, self.directory / "charges" / f"{name}-mended.parquet"),
            (staging.rollups, self.directory / "rollups" / f"{name}.parquet"),
        )
        for made, place in places:
            place.unlink(missing_ok=True)
            if made.exists():
                made.replace(place)

    def _sums(
        self,
        start: date | None,
        end: date | None,
        by: str | None,
        measure: Measure,
        *,
        per_day: bool = False,
        before_credits: bool = False,
    ) -> list[Any]:
        dimension = _dimension(by)
        if measure not in {"billed", "effective"}:
            raise UserError("unknown measure", got=measure, expected="billed or effective")
        with _answered(self.directory), self._scratch() as scratch, connect(scratch) as connection:
            if not self._show_rollups(connection, dimension):
                return []
            query = QUERIES["report_by_day" if per_day else "report"].format(
                key=KEYS.get(by, KEYS[None]), amount=f"{measure}_up" if before_credits else measure
            )
            rows = connection.execute(
                query, {"dimension": dimension, "first": start or date.min, "end": end or date.max}
            ).fetchall()
        return [(*(str(value) for value in row[:-3]), combined(row[-3], int(row[-2])), int(row[-1])) for row in rows]

    def _show_rollups(self, connection: Any, dimension: str) -> bool:
        """Make `rollups` of what counts; False when nothing does."""
        names = [file.removeprefix("sha256:") for file in self._show_live(connection)]
        if not names:
            return False
        paths = literals([str(self.directory / "rollups" / f"{name}.parquet") for name in names])
        connection.execute(
            "CREATE VIEW rolled AS SELECT *, 'sha256:' || parse_filename(filename, true) AS file"  # noqa: S608
            f" FROM read_parquet([{paths}], filename = true)"
        )
        source = "SELECT * FROM rolled"
        if dimension.startswith("tag:"):
            source = f"{source} UNION ALL BY NAME {self._unrolled(connection, dimension, names)}"
        connection.execute(
            f"CREATE VIEW rollups AS SELECT * FROM ({source})"  # noqa: S608 - a query of ours
            " SEMI JOIN live USING (file, co_issuer, co_account, co_billing_start)"
        )
        return True

    def _show_live(self, connection: Any) -> list[str]:
        """Make `live` of the billing periods that count, by file; the digests of these files."""
        live = self._db.execute(_LIVE).fetchall()
        if live:
            connection.execute(
                "CREATE TABLE live AS SELECT unnest($1) AS file, unnest($2) AS co_issuer, unnest($3) AS co_account,"
                " unnest($4) AS co_billing_start",
                [list(column) for column in zip(*live, strict=True)],
            )
        return sorted({row[0] for row in live})

    def _unrolled(self, connection: Any, dimension: str, names: Sequence[str]) -> str:
        """The sums by a tag of those files in which it was not extracted, as SQL over their charges."""
        rolled = connection.execute("SELECT DISTINCT file FROM rolled WHERE dimension = ?", [dimension]).fetchall()
        known = {row[0].removeprefix("sha256:") for row in rolled}
        parts = ["SELECT * FROM rolled WHERE false"]
        parts += [self._tag_sums(connection, dimension, name) for name in names if name not in known]
        return " UNION ALL BY NAME ".join(parts)

    def _tag_sums(self, connection: Any, dimension: str, name: str) -> str:
        files = self._places(name)
        described = connection.execute(f"DESCRIBE FROM read_parquet({literal(files[0])})").fetchall()
        view = charges_view(files, [row[0] for row in described], ())
        path = literal(f'$."{dimension.removeprefix("tag:")}"')
        return (
            f"SELECT {literal(f'sha256:{name}')} AS file, co_issuer, co_account, co_billing_start, co_day, co_currency,"  # noqa: S608
            f" {literal(dimension)} AS dimension, coalesce(json_extract_string(co_json, {path}), '(none)') AS cost_key,"
            f" {SUMS} FROM ({view}) GROUP BY ALL"
        )

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="companyos-costs-") as scratch:
            yield Path(scratch)

    def _sweep(self) -> None:
        """Remove what killed ingests left behind."""
        for left in self.directory.glob(".ingest-*"):
            if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _answered(place: Path) -> Iterator[None]:
    try:
        yield
    except duckdb().Error as error:
        raise StoreError(
            f"the cost store {place} does not work",
            got=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            expected="readable Parquet files, free space, and sums below 10^20",
            hint="restore it, or delete it and ingest the files in raw/ again",
        ) from error


def _added(feature: str, unit: str, gpu: bool, currency: str, own: Sequence[tuple[Decimal, Decimal, int]]) -> Consumed:
    amount, quantity = (exact_sum(one[at] for one in own) for at in (0, 1))  # type: ignore[misc] # both are decimals
    return Consumed(feature, unit, gpu, currency, amount, quantity, sum(count for *_, count in own))


def _dimension(by: str | None) -> str:
    if by in {None, "day", "week"}:
        return "all"
    name = str(by)
    if name != "all" and (name in DIMENSIONS or TAG_KEY.fullmatch(name)):
        return name
    expected = ", ".join([*(name for name in DIMENSIONS if name != "all"), "day", "week"])
    raise UserError("unknown way to group costs", got=by, expected=f"{expected} or tag:KEY")


def _spans(file: str, rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Rows of the table `charges`, from rows of the query `spans`."""
    for number, row in enumerate(rows, 1):
        issuer, account, billing_start, start, end, day, short, currency, provider, *sums, count = row
        billed, billed_rest, effective, effective_rest = sums
        yield (
            file,
            number,
            issuer,
            account,
            billing_start,
            _stamped(start),
            _stamped(end),
            day.isoformat(),
            int(short),
            currency,
            plain(combined(billed, int(billed_rest))),
            plain(combined(effective, int(effective_rest))),
            None,
            None,
            provider,
            None,
            None,
            None,
            None,
            count,
        )


def _stamped(moment: datetime) -> str:
    return stamp(moment.replace(tzinfo=UTC))
