"""Slices of the small store: what its table holds, and for all other columns the raw files, read again."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from companyos.errors import UserError
from companyos.finops.errors import AmbiguousNumbersError, CostFileError, StoreError
from companyos.finops.focus import FocusFile
from companyos.finops.money import EXACT, NumberStyle, parse_number
from companyos.finops.rows import Charge
from companyos.finops.slices import NONE, Slice, check_keys, check_metric

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import date
    from pathlib import Path

__all__ = ("metric_value", "sliced")

STYLES: tuple[NumberStyle, ...] = ("auto", ".", ",")
Records = dict[int, dict[str, str]]
_OWN = {"column": "NULL", "hour": "substr(charge_start, 1, 13)"}
"""Keys that the table is not grouped by elsewhere; columns come from the raw files."""


def sliced(
    connection: sqlite3.Connection,
    raw_of: Callable[[str], Path],
    expression: Callable[[str], tuple[str, dict[str, str]]],
    keys: Sequence[str],
    days: tuple[date | None, date | None],
    *,
    measure: Literal["billed", "effective"],
    metric: str | None,
) -> tuple[Slice, ...]:
    """The slices of the table `charges`; `expression` gives the SQL of a key, `raw_of` the kept file of a digest."""
    check_keys(keys)
    check_metric(metric)
    wanted = [key.removeprefix("column:") for key in keys if key.startswith("column:")]
    again = _Again(connection, raw_of, [*wanted, *([metric] if metric else [])])
    rows = _rows(connection, expression, keys, days, measure)
    return _grouped(again.complete(rows, keys, metric))


def metric_value(text: str | None, metric: str) -> Decimal | None:
    """The number in a column that is used as metric.

    Raises:
        UserError: it is none, so that nothing may be divided by it.
    """
    if text is None:
        return None
    try:
        return parse_number(text, ".")[0]
    except ValueError as error:
        raise UserError(
            f"{metric} cannot be added up", got=repr(text[:80]), expected="a number in every charge that has one"
        ) from error


def _rows(
    connection: sqlite3.Connection,
    expression: Callable[[str], tuple[str, dict[str, str]]],
    keys: Sequence[str],
    days: tuple[date | None, date | None],
    measure: str,
) -> Iterator[tuple[Any, ...]]:
    parameters = {"start": str(days[0] or "0000"), "end": str(days[1] or "9999")}
    columns = []
    for at, key in enumerate(keys):
        own: dict[str, str] = {}
        text = _OWN.get(key.partition(":")[0])
        if text is None:
            text, own = expression(key)
        columns.append(text.replace(":path", f":path{at}"))
        parameters |= {f"path{at}": value for value in own.values()}
    # Only names out of tables of ours reach the text of the query; values are parameters.
    query = (
        f"SELECT {', '.join(['file', 'row', 'currency', measure, *columns])} FROM charges "  # noqa: S608
        "WHERE day >= :start AND day < :end ORDER BY file, row"
    )
    yield from connection.execute(query, parameters)


class _Again:
    """The columns that the table does not hold, one file at a time."""

    def __init__(self, connection: sqlite3.Connection, raw_of: Callable[[str], Path], names: Sequence[str]) -> None:
        self._connection, self._raw_of, self._names = connection, raw_of, frozenset(names)

    def complete(
        self, rows: Iterable[tuple[Any, ...]], keys: Sequence[str], metric: str | None
    ) -> Iterator[tuple[tuple[str, ...], str, Decimal, Decimal | None, str]]:
        file, records = "", Records()
        for name, row, currency, amount, *values in rows:
            if self._names and name != file:
                file, records = name, self._read(name)
            record = records.get(row, {})
            found = tuple(
                record.get(key.removeprefix("column:"), NONE) if key.startswith("column:") else str(value)
                for key, value in zip(keys, values, strict=True)
            )
            quantity = metric_value(record.get(metric), metric) if metric else None
            yield found, currency, Decimal(amount), quantity, f"{name}#{row}"

    def _read(self, file: str) -> Records:
        kept = self._connection.execute("SELECT row, billed, effective FROM charges WHERE file = ?", (file,)).fetchall()
        told = {row: (Decimal(billed), Decimal(effective)) for row, billed, effective in kept}
        path = self._raw_of(file)
        for style in STYLES:  # the decimal mark that was stated at ingest shows in the costs
            records = self._reading(path, style, told)
            if records is not None:
                return records
        raise StoreError(
            f"the kept file of {file[:19]}… does not say what the store says",
            got=path.name,
            expected="the file as it was ingested",
            hint="put it back, or make the store anew from the bills",
        )

    def _reading(self, path: Path, style: NumberStyle, told: dict[int, tuple[Decimal, Decimal]]) -> Records | None:
        records, met = Records(), 0
        try:
            for item in FocusFile(path, number_style=style).rows():
                if isinstance(item, Charge) and item.row in told:
                    if (item.billed, item.effective) != told[item.row]:
                        return None
                    met += 1
                    records[item.row] = {name: item.record[name] for name in self._names & item.record.keys()}
        except (AmbiguousNumbersError, CostFileError):
            return None
        return records if met == len(told) else None


def _grouped(
    charges: Iterable[tuple[tuple[str, ...], str, Decimal, Decimal | None, str]],
) -> tuple[Slice, ...]:
    found: dict[tuple[tuple[str, ...], str], list[Any]] = {}
    for keys, currency, amount, quantity, place in charges:
        known = found.setdefault((keys, currency), [Decimal(0), None, 0, place])
        known[0] = EXACT.add(known[0], amount)
        if quantity is not None:
            known[1] = EXACT.add(known[1] or Decimal(0), quantity)
        known[2] += 1
    return tuple(Slice(*group, *values) for group, values in sorted(found.items(), key=lambda item: item[0]))
