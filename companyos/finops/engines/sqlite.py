"""The built-in cost store: one SQLite file, the raw files beside it, sums exact to the last digit.

Layout of the directory: `costs.db`, `raw/<sha256>.csv` (what came in, byte for byte) and `rejects/<sha256>.csv` (the
rows that were not ingested, each with its number and reason).
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import sqlite3
import tempfile
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from companyos.canonical import digest
from companyos.errors import UserError
from companyos.finops.columns import KNOWN
from companyos.finops.engines.slicing import sliced
from companyos.finops.errors import AmbiguousNumbersError, CostFileError, OverlapError, StoreError
from companyos.finops.focus import FocusFile, check_regular
from companyos.finops.interface import (
    Bill,
    CostLine,
    Coverage,
    DayCost,
    IngestReport,
    Measure,
    Mend,
    Overlap,
    Rejection,
)
from companyos.finops.money import EXACT, exact_sum
from companyos.finops.rows import Charge, billing_period, is_short, require_zone, stamp
from companyos.finops.sources import Source, reported_through
from companyos.finops.usage import Consumed, is_gpu

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from companyos.finops.money import NumberStyle
    from companyos.finops.slices import Slice
    from companyos.ports import LedgerPort

__all__ = ("SCHEMA", "TAG_KEY", "SqliteCostStore")

SCHEMA = """
CREATE TABLE files (digest TEXT PRIMARY KEY, report TEXT NOT NULL) STRICT;
CREATE TABLE charges (
  file TEXT NOT NULL, row INTEGER NOT NULL,
  issuer TEXT NOT NULL, account TEXT NOT NULL, billing_start TEXT NOT NULL,
  charge_start TEXT NOT NULL, charge_end TEXT NOT NULL, day TEXT NOT NULL, short INTEGER NOT NULL,
  currency TEXT NOT NULL, billed TEXT NOT NULL, effective TEXT NOT NULL,
  service TEXT, category TEXT, provider TEXT, sub_account TEXT, region TEXT, tags TEXT, extra TEXT,
  PRIMARY KEY (file, row)
) STRICT, WITHOUT ROWID;
CREATE INDEX charges_by_day ON charges (day);
CREATE INDEX charges_by_period ON charges (issuer, account, billing_start);
"""
REJECTED_SCHEMA = """
CREATE TABLE rejected (
  file TEXT NOT NULL, issuer TEXT NOT NULL, account TEXT NOT NULL, billing_start TEXT NOT NULL, rows INTEGER NOT NULL,
  PRIMARY KEY (file, issuer, account, billing_start)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 2;
"""
VERSION = 2
BUSY_MILLISECONDS = 30_000
COPY_BYTES = 1024 * 1024
KERNEL_COPY_BYTES = 1024 * 1024 * 1024
LEDGER_SOURCE = "companyos/finops"
COSTLESS = frozenset({"repeated_header"})
"""Reasons of rejection that say the row carries no cost."""

_KEYS = {
    "service": "coalesce(service, '(none)')",
    "category": "coalesce(category, '(none)')",
    "provider": "coalesce(nullif(provider, ''), '(none)')",
    "account": "coalesce(nullif(account, ''), '(none)')",
    "sub_account": "coalesce(sub_account, '(none)')",
    "region": "coalesce(region, '(none)')",
    "day": "day",
    "week": "date(day, '-6 days', 'weekday 1')",
}
TAG_KEY = re.compile(r'tag:[^"\\\x00-\x1f]{1,256}')
# As text, because one tag may hold numbers in one row and words in another; JSON's truth values by their own names.
_TAG_VALUE = """
coalesce(CASE json_type(tags, :path) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false'
  ELSE CAST(json_extract(tags, :path) AS TEXT) END, '(none)')
"""
_SHARED_PERIODS = """
SELECT DISTINCT old.file, old.issuer, old.account, old.billing_start FROM charges AS old
JOIN (SELECT DISTINCT issuer, account, billing_start FROM charges WHERE file = :file) AS new
  USING (issuer, account, billing_start)
WHERE old.file <> :file
"""
# Rejected rows count until their billing period is replaced; those whose period cannot be told, until nothing of their
# file is left.
_REJECTED = """
SELECT coalesce(sum(rows), 0) FROM rejected
WHERE billing_start <> '' OR file IN (SELECT file FROM charges)
"""
_SHRUNK = """
WITH new AS (SELECT DISTINCT issuer, account, billing_start FROM charges WHERE file = :file),
  both AS (SELECT issuer, account, billing_start, currency, day, file = :file AS is_new, billed
    FROM charges JOIN new USING (issuer, account, billing_start)),
  days AS (SELECT issuer, account, billing_start, day, max(is_new) AS kept FROM both GROUP BY 1, 2, 3, 4)
SELECT issuer, account, billing_start, 'days without charges that had some: ' || group_concat(day, ', ')
FROM days WHERE NOT kept GROUP BY 1, 2, 3
UNION ALL
SELECT issuer, account, billing_start, was || ' ' || currency || ' become ' || now FROM (
  SELECT issuer, account, billing_start, currency, exact_sum(CASE WHEN is_new THEN '0' ELSE billed END) AS was,
    exact_sum(CASE WHEN is_new THEN billed ELSE '0' END) AS now, max(NOT is_new) AS had
  FROM both GROUP BY 1, 2, 3, 4)
WHERE had AND less_than(now, was)
ORDER BY 1, 2, 3, 4
"""
_INSERT_REJECTED = """
INSERT INTO rejected VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET rows = rows + excluded.rows
"""
_SOURCES = """
WITH known AS (SELECT provider, account, day, charge_end FROM charges WHERE short = 1 AND charge_end <= :limit),
  ends AS (SELECT provider, account, max(charge_end) AS through, min(day) AS first, max(day) AS last FROM known
    GROUP BY provider, account)
SELECT coalesce(nullif(provider, ''), '(none)') || ', account ' || coalesce(nullif(account, ''), '(none)'),
  through, first, last,
  (SELECT count(DISTINCT day) FROM known WHERE known.provider = ends.provider AND known.account = ends.account
    AND day > date(ends.last, '-28 days'))
FROM ends ORDER BY provider, account
"""
_DROP_PERIODS = """
DELETE FROM {table} WHERE file <> :file AND (issuer, account, billing_start) IN
  (SELECT DISTINCT issuer, account, billing_start FROM charges WHERE file = :file)
"""


class SqliteCostStore:
    """A `CostStore` in a directory; every ingested file leaves an entry in `ledger`, if one is given.

    Use it as a context manager or call `close()`. Safe for several processes: an ingest takes the write lock of the
    database for its whole length.

    Raises:
        StoreError: the directory or the database cannot be used.
    """

    DATABASE = "costs.db"
    DIRECTORIES: tuple[str, ...] = ("raw", "rejects")
    CHARGES = SCHEMA
    COUNT = "count(*)"
    """How many charges a row of the table stands for, summed: one each, here."""

    def __init__(self, directory: Path, *, ledger: LedgerPort | None = None, create: bool = True) -> None:
        self.directory = directory
        """Where it all lives."""
        self._ledger = ledger
        database = directory / self.DATABASE
        if not create and not database.is_file():
            raise StoreError(
                f"no cost data in {directory}", expected="a cost store", hint="companyos finops ingest FILE"
            )
        try:
            for part in self.DIRECTORIES:
                (directory / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot write to {directory}", got=error, expected="a writable directory") from error
        with _translated(database):
            self._db = sqlite3.connect(database, timeout=BUSY_MILLISECONDS / 1000, isolation_level=None)
            try:
                self._prepare(database)
            except BaseException:
                self._db.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def ingest(self, path: Path, *, overlap: Overlap = "refuse", number_style: NumberStyle = "auto") -> IngestReport:
        """Bring in a FOCUS file: all of it or nothing, and nothing twice; see `CostStore.ingest`."""
        with (
            _translated(self.directory),
            tempfile.TemporaryDirectory(prefix=".ingest-", dir=self.directory) as raw_dir,
            tempfile.TemporaryDirectory(prefix=".ingest-", dir=self.directory) as side_dir,
        ):
            raw = Path(raw_dir) / path.name
            digest_of_file = _copy(path, raw)
            with self._transaction():
                report = self._known(digest_of_file)
                if report is None:
                    report = self._bring_in(raw, digest_of_file, overlap, number_style, Path(side_dir) / "side.csv")
        self._record(report)
        return report

    def total(
        self,
        start: date | None = None,
        end: date | None = None,
        *,
        by: str | None = None,
        measure: Measure = "billed",
    ) -> tuple[CostLine, ...]:
        """Exact sums by key and currency; see `CostStore.total`."""
        lines = [
            CostLine(key, currency, amount, rows) for key, currency, amount, rows in self._sums(start, end, by, measure)
        ]
        if by in {"day", "week"}:
            return tuple(sorted(lines, key=lambda line: (line.key, line.currency)))
        return tuple(sorted(lines, key=lambda line: (-line.amount, line.key, line.currency)))

    def daily(
        self,
        start: date | None = None,
        end: date | None = None,
        *,
        by: str | None = None,
        measure: Measure = "billed",
        before_credits: bool = False,
    ) -> tuple[DayCost, ...]:
        """Exact sums by UTC day, key and currency; see `CostStore.daily`."""
        sums = self._sums(start, end, by, measure, per_day=True, before_credits=before_credits)
        days = [
            DayCost(date.fromisoformat(day), currency, amount, rows, key) for day, key, currency, amount, rows in sums
        ]
        return tuple(sorted(days, key=lambda cost: (cost.day, cost.key, cost.currency)))

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
        with _translated(self.directory):
            return sliced(self._db, self._raw, _key, keys, (start, end), measure=measure, metric=metric)

    def columns(self) -> frozenset[str]:
        """The columns that every file with charges has; see `Sliceable.columns`."""
        found = [frozenset(FocusFile(self._raw(file)).header) for file in self.coverage().files]
        return frozenset.intersection(*found) if found else frozenset()

    def consumed(self, start: date, end: date) -> tuple[Consumed, ...]:
        """What was consumed, read again from the raw files; see `CostStore.consumed`."""
        query = "SELECT file, row FROM charges WHERE day >= ? AND day < ?"
        rows: dict[str, set[int]] = {}
        with _translated(self.directory):
            for file, row in self._db.execute(query, (str(start), str(end))):
                rows.setdefault(file, set()).add(row)
            try:
                found = [_consumption(charge) for file in sorted(rows) for charge in self._again(file, rows[file])]
            except CostFileError as error:
                raise StoreError("a raw file of the cost store cannot be read again", got=error.what) from error
        sums: dict[tuple[str, str, bool, str], list[tuple[Decimal, Decimal]]] = {}
        for key, amount, quantity in filter(None, found):
            sums.setdefault(key, []).append((amount, quantity))
        return tuple(
            Consumed(*key, exact_sum(one for one, _ in own), exact_sum(one for _, one in own), len(own))
            for key, own in sorted(sums.items())
        )

    def _again(self, file: str, rows: set[int]) -> Iterator[Charge]:
        """The charges of those rows of a file that was ingested."""
        report = self._known(file)
        raw = self.directory / (report.raw_path if report is not None else file)
        styles: tuple[NumberStyle, ...] = ("auto", ",", ".")  # how it was ingested is not kept
        for style in styles:
            with suppress(AmbiguousNumbersError):
                charges = [item for item in FocusFile(raw, number_style=style).rows() if isinstance(item, Charge)]
                if rows <= {charge.row for charge in charges}:
                    yield from (charge for charge in charges if charge.row in rows)
                    return
        raise CostFileError(f"{raw.name} has other rows than when it was ingested")

    def coverage(self, *, until: datetime | None = None) -> Coverage:
        """What the store holds; charge periods ending after `until` do not count as reported."""
        limit = stamp(require_zone(until, "until")) if until else "9999"
        with _translated(self.directory), closing(self._db.cursor()) as cursor:
            files = tuple(row[0] for row in cursor.execute("SELECT DISTINCT file FROM charges ORDER BY file"))
            currencies = tuple(row[0] for row in cursor.execute("SELECT DISTINCT currency FROM charges ORDER BY 1"))
            rows, first = cursor.execute(f"SELECT {self.COUNT}, min(day) FROM charges").fetchone()  # noqa: S608 - a constant
            (rejected,) = cursor.execute(_REJECTED).fetchone()
            sources = [
                Source(name, _utc(through), date.fromisoformat(first), date.fromisoformat(last), days)
                for name, through, first, last, days in cursor.execute(_SOURCES, {"limit": limit})
            ]
        through, silent = reported_through(sources)
        return Coverage(
            digest=digest({"files": list(files)}) if files else None,
            files=files,
            rows=rows,
            first_day=date.fromisoformat(first) if first else None,
            data_through=through,
            currencies=currencies,
            rows_rejected=rejected,
            silent_sources=silent,
        )

    def files(self) -> tuple[IngestReport, ...]:
        """The reports of all files ever ingested, by digest."""
        with _translated(self.directory), closing(self._db.cursor()) as cursor:
            rows = cursor.execute("SELECT report FROM files ORDER BY digest").fetchall()
        return tuple(_load_report(row[0]) for row in rows)

    def _raw(self, file: str) -> Path:
        return self.directory / "raw" / f"{file.removeprefix('sha256:')}.csv"

    def _prepare(self, database: Path) -> None:
        self._db.create_aggregate("exact_sum", 1, _ExactSum)  # type: ignore[arg-type]
        self._db.create_function("less_than", 2, lambda one, other: Decimal(one) < Decimal(other), deterministic=True)
        self._db.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._execute_all(self.CHARGES + REJECTED_SCHEMA)
            elif version == 1:
                self._execute_all(REJECTED_SCHEMA)
                for report in self.files():
                    self._db.execute(_INSERT_REJECTED, (report.digest, "", "", "", _costly_rejections(report)))
            elif version != VERSION:
                raise StoreError(f"{database} has another format", got=version, expected=VERSION)

    def _execute_all(self, statements: str) -> None:
        for statement in filter(str.strip, statements.split(";")):
            self._db.execute(statement)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _translated(self.directory):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _known(self, file: str) -> IngestReport | None:
        row = self._db.execute("SELECT report FROM files WHERE digest = ?", (file,)).fetchone()
        return replace(_load_report(row[0]), unchanged=True) if row else None

    def _bring_in(
        self, raw: Path, file: str, overlap: Overlap, number_style: NumberStyle, rejects: Path
    ) -> IngestReport:
        focus = self._open(raw, number_style)
        reasons = self._insert_rows(focus, file, rejects)
        replaced, shrunk = self._settle_overlap(file, overlap)
        if reasons and focus.rows_read == sum(reasons.values()):
            raise CostFileError(
                f"no row of {raw.name} can be ingested",
                got=", ".join(f"{count} x {reason}" for reason, count in sorted(reasons.items())),
                expected="at least one good row",
            )
        hexadecimal = file.removeprefix("sha256:")
        name = f"{hexadecimal}{self._suffix(raw)}"
        ingested, first, last = self._db.execute(
            f"SELECT {self.COUNT}, min(day), max(day) FROM charges WHERE file = ?",  # noqa: S608 - a constant
            (file,),
        ).fetchone()
        sums = self._db.execute(
            "SELECT currency, exact_sum(billed) FROM charges WHERE file = ? GROUP BY currency ORDER BY currency",
            (file,),
        )
        report = IngestReport(
            digest=file,
            name=raw.name,
            version=focus.version,
            rows_read=focus.rows_read,
            rows_ingested=ingested,
            rows_rejected=sum(reasons.values()),
            mends=focus.tally.mends(),
            rejected_by_reason=dict(sorted(reasons.items())),
            stray_columns=focus.stray_columns,
            custom_columns=focus.custom_columns,
            totals=dict(sums.fetchall()),
            first_day=first,
            last_day=last,
            replaced=replaced,
            shrunk=shrunk,
            raw_path=f"raw/{name}",
            rejects_path=f"rejects/{hexadecimal}.csv" if reasons else None,
        )
        self._db.execute("INSERT INTO files VALUES (?, ?)", (file, json.dumps(report.to_dict())))
        if reasons:
            rejects.replace(self.directory / "rejects" / f"{hexadecimal}.csv")
        raw.replace(self.directory / "raw" / name)
        return report

    def _open(self, raw: Path, number_style: NumberStyle) -> Bill:
        return FocusFile(raw, number_style=number_style)

    def _suffix(self, raw: Path) -> str:  # noqa: ARG002 - stores that read more formats look at it
        return ".csv"

    def _insert_rows(self, focus: Bill, file: str, rejects: Path) -> dict[str, int]:
        reasons: dict[str, int] = {}
        insert = f"INSERT INTO charges VALUES ({', '.join('?' * 19)})"  # noqa: S608 - only question marks
        for charge in self._accepted(focus.rows(), focus.header, file, rejects, reasons):
            self._db.execute(insert, _columns(file, charge))
        return reasons

    def _accepted(
        self,
        items: Iterator[Charge | tuple[Rejection, list[str]]],
        header: tuple[str, ...],
        file: str,
        rejects: Path,
        reasons: dict[str, int],
    ) -> Iterator[Charge]:
        """The charges; rejections go to the side file `rejects`, into the table, and are counted in `reasons`."""
        with rejects.open("w", encoding="utf-8", newline="") as handle:
            side = csv.writer(handle)
            side.writerow(("row", "reason", "column", "detail", *header))
            for item in items:
                if isinstance(item, Charge):
                    yield item
                    continue
                rejection, fields = item
                reasons[rejection.reason] = reasons.get(rejection.reason, 0) + 1
                if rejection.reason not in COSTLESS:
                    self._db.execute(_INSERT_REJECTED, (file, *_period(rejection, header, fields), 1))
                side.writerow((rejection.row, rejection.reason, rejection.column, rejection.detail, *fields))

    def _settle_overlap(self, file: str, overlap: Overlap) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Make room for the file; the digests of those it replaces, and what shrinks."""
        shared = self._db.execute(_SHARED_PERIODS, {"file": file}).fetchall()
        if overlap == "add" or (overlap == "refuse" and not shared):
            return (), ()
        if overlap != "refuse":
            shrunk = self._shrunk(file)
            if shrunk and overlap == "replace":
                raise OverlapError(
                    "the file is smaller than what it would replace",
                    got="; ".join(shrunk),
                    expected="every day of what is dropped, and costs that are no lower",
                    hint="--overlap replace-smaller if that is right, for example after a credit",
                )
            for table in ("charges", "rejected"):
                self._db.execute(_DROP_PERIODS.format(table=table), {"file": file})
            return tuple(sorted({row[0] for row in shared})), shrunk
        old, issuer, account, billing_start = min(shared)
        raise OverlapError(
            "the file brings billing periods that are already there",
            got=f"{issuer}, account {account}, period from {billing_start[:10]}, already from {old[:19]}…",
            expected="billing periods that no other file has brought, so that no cost is counted twice",
            hint="--overlap replace for a corrected or longer extract, --overlap add for a further part of the same",
        )

    def _shrunk(self, file: str) -> tuple[str, ...]:
        rows = self._db.execute(_SHRUNK, {"file": file})
        return tuple(
            f"{issuer}, account {account}, period from {start[:10]}: {what}" for issuer, account, start, what in rows
        )

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
        key, parameters = _key(by)
        if measure not in {"billed", "effective"}:
            raise UserError("unknown measure", got=measure, expected="billed or effective")
        parameters |= {"start": str(start or "0000"), "end": str(end or "9999")}
        day = "day, " if per_day else ""
        amount = f"CASE WHEN {measure} LIKE '-%' THEN '0' ELSE {measure} END" if before_credits else measure
        # Only names out of the tables above reach the text of the query; values are parameters.
        query = (
            f"SELECT {day}{key} AS key, currency, exact_sum({amount}), count(*) FROM charges "  # noqa: S608
            f"WHERE day >= :start AND day < :end GROUP BY {day}key, currency"
        )
        with _translated(self.directory):
            rows = self._db.execute(query, parameters).fetchall()
        return [(*row[:-2], Decimal(row[-2]), row[-1]) for row in rows]

    def _record(self, report: IngestReport) -> None:
        if self._ledger is None:
            return
        # Also for a file that was there before: the entry is the same, so a crash before this line heals.
        data = replace(report, unchanged=False).to_dict() | {"mends": _shortened(report.mends)}
        self._ledger.append(
            "companyos.finops.ingested",
            data,
            id=f"ingested-{report.digest}",
            source=LEDGER_SOURCE,
            stream="finops.ingest",
            subject=report.digest,
        )


class _ExactSum:
    """SQL aggregate over decimals held as text."""

    def __init__(self) -> None:
        self._total = Decimal(0)

    def step(self, value: str) -> None:
        """Add one."""
        self._total = EXACT.add(self._total, Decimal(value))

    def finalize(self) -> str:
        """The sum as text."""
        return format(self._total, "f")


@contextmanager
def _translated(place: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"the cost store {place} does not work",
            got=f"{type(error).__name__}: {error}",
            expected="a readable and writable directory with a SQLite database",
            hint="restore it, or delete costs.db and ingest the files in raw/ again",
        ) from error


def _copy(path: Path, target: Path) -> str:
    """Copy a file and return the digest of exactly what was copied."""
    check_regular(path)
    try:
        with path.open("rb") as source, target.open("w+b") as copy:
            if not _copied_by_kernel(source, copy):
                shutil.copyfileobj(source, copy, COPY_BYTES)
            copy.flush()
            copy.seek(0)
            sha = hashlib.file_digest(copy, "sha256")
            os.fsync(copy.fileno())
    except OSError as error:
        raise CostFileError(f"cannot read {path}", got=error, expected="a readable file") from error
    return f"sha256:{sha.hexdigest()}"


def _copied_by_kernel(source: IO[bytes], copy: IO[bytes]) -> bool:
    """Let the kernel copy; False where it does not, and the bytes have to pass through here."""
    if not hasattr(os, "copy_file_range"):
        return False
    try:
        while os.copy_file_range(source.fileno(), copy.fileno(), KERNEL_COPY_BYTES):
            pass
    except OSError:
        source.seek(0)
        copy.seek(0)
        copy.truncate()
        return False
    return True


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _columns(file: str, charge: Charge) -> tuple[object, ...]:
    record = charge.record
    # Columns that FOCUS knows can be read again from the raw file; what only this file has is kept at hand.
    extra = {name: record[name] for name in record.keys() - KNOWN}
    return (
        file,
        charge.row,
        charge.issuer,
        charge.account,
        stamp(charge.billing_start),
        stamp(charge.start),
        stamp(charge.end),
        charge.start.date().isoformat(),
        int(is_short(charge)),
        charge.currency,
        format(charge.billed, "f"),
        format(charge.effective, "f"),
        record.get("ServiceName"),
        record.get("ServiceCategory"),
        charge.provider,
        record.get("SubAccountName") or record.get("SubAccountId"),
        record.get("RegionId") or record.get("RegionName"),
        charge.tags,
        json.dumps(extra, ensure_ascii=False, sort_keys=True) if extra else None,
    )


def _key(by: str | None) -> tuple[str, dict[str, str]]:
    if by is None:
        return "'all'", {}
    if by in _KEYS:
        return _KEYS[by], {}
    if TAG_KEY.fullmatch(by):
        return _TAG_VALUE, {"path": f'$."{by.removeprefix("tag:")}"'}
    raise UserError("unknown way to group costs", got=by, expected=f"{', '.join(_KEYS)} or tag:KEY")


def _consumption(charge: Charge) -> tuple[tuple[str, str, bool, str], Decimal, Decimal] | None:
    record = charge.record
    unit, quantity = record.get("ConsumedUnit"), record.get("ConsumedQuantity")
    if unit is None or quantity is None:
        return None
    value = json.loads(charge.tags or "{}").get("feature")
    feature = "(none)" if value is None else value if isinstance(value, str) else json.dumps(value)
    gpu = is_gpu(unit, record.get("SkuMeter"), record.get("ChargeDescription"))
    return (feature, unit, gpu, charge.currency), charge.billed, Decimal(quantity)


def _costly_rejections(report: IngestReport) -> int:
    return report.rows_rejected - sum(report.rejected_by_reason.get(reason, 0) for reason in COSTLESS)


def _period(rejection: Rejection, header: tuple[str, ...], fields: list[str]) -> tuple[str, str, str]:
    # Under a wrong number of fields every value may be another column's.
    return ("", "", "") if rejection.reason == "ragged" else billing_period(header, fields)


def _shortened(mends: tuple[Mend, ...]) -> list[dict[str, Any]]:
    return [mend.to_dict() for mend in mends[:200]]


def _load_report(text: str) -> IngestReport:
    values = json.loads(text)
    mends = tuple(
        Mend(mend["kind"], mend["column"], mend["count"], tuple(mend["first_rows"])) for mend in values.pop("mends")
    )
    for name in ("stray_columns", "custom_columns", "replaced", "shrunk"):
        values[name] = tuple(values.get(name, ()))
    return IngestReport(mends=mends, **values)
