"""Slices of the store over DuckDB: one query over the charges of every file that counts."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from companyos.finops.bulk.cleaning import DECIMAL, derived, plainly_numeric
from companyos.finops.bulk.connection import literal, quoted
from companyos.finops.bulk.leftovers import combined
from companyos.finops.columns import NUMBERS
from companyos.finops.engines.slicing import metric_value
from companyos.finops.money import EXACT, exact_sum
from companyos.finops.slices import Slice

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date
    from pathlib import Path

__all__ = ("columns_of", "sliced")

ROW_DIGITS = 12
_KEYS = {
    "service": "co_service",
    "category": "co_category",
    "provider": "nullif(co_provider, '')",
    "account": "nullif(co_account, '')",
    "sub_account": "co_sub_account",
    "region": "co_region",
    "day": "strftime(ChargePeriodStart, '%Y-%m-%d')",
    "hour": "strftime(ChargePeriodStart, '%Y-%m-%dT%H')",
}


def sliced(
    connection: Any,
    files: Iterable[tuple[str, Path]],
    keys: Sequence[str],
    days: tuple[date, date],
    *,
    measure: str,
    metric: str | None,
) -> tuple[Slice, ...]:
    """The slices of Parquet files of charges, each with the digest of its bill; the table `live` says which count."""
    parts = [_charges(connection, bill, keys, measure=measure, metric=metric) for bill in files]
    names = ", ".join(f"k{at}" for at in range(len(keys)))
    query = (
        f"SELECT {names + ', ' if names else ''}co_currency, sum(amount), sum(rest), sum(quantity), count(quantity),"  # noqa: S608
        " string_agg(doubtful, ' '), count(*), min(place)"
        f" FROM ({' UNION ALL '.join(parts)}) SEMI JOIN live USING (file, co_issuer, co_account, co_billing_start)"
        " WHERE co_day >= $first AND co_day < $end GROUP BY ALL"
    )
    rows = connection.execute(query, {"first": days[0], "end": days[1]}).fetchall()
    return tuple(sorted((_slice(row, metric) for row in rows), key=lambda found: (found.keys, found.currency)))


def columns_of(connection: Any, path: Path) -> tuple[str, ...]:
    """The names of the columns of a Parquet file."""
    return tuple(row[0] for row in connection.execute(f"DESCRIBE FROM read_parquet({literal(path)})").fetchall())


def _slice(row: tuple[Any, ...], metric: str | None) -> Slice:
    *keys, currency, amount, rest, quantity, counted, doubtful, charges, place = row
    sums = [Decimal(quantity)] if counted else []
    sums += [value for text in (doubtful or "").split() if (value := metric_value(text, metric or "")) is not None]
    file, _, number = place.partition("#")
    total = combined(EXACT.plus(exact_sum(sums)), 0) if counted or doubtful else None
    return Slice(tuple(keys), currency, combined(amount, int(rest)), total, charges, f"{file}#{int(number)}")


def _charges(connection: Any, bill: tuple[str, Path], keys: Sequence[str], *, measure: str, metric: str | None) -> str:
    file, path = bill
    stored = columns_of(connection, path)
    mended = path.name.endswith("-mended.parquet")
    json = "co_json" if mended else "Tags" if "Tags" in stored else "CAST(NULL AS VARCHAR)"
    row = "co_row" if mended else "file_row_number + 1"
    cost = {"billed": "BilledCost", "effective": "EffectiveCost"}[measure]
    quantity, doubtful = _metric(metric, stored, mended=mended)
    columns = [
        f"{literal(file)} AS file",
        "strftime(BillingPeriodStart, '%Y-%m-%dT%H:%M:%SZ') AS co_billing_start",
        "CAST(ChargePeriodStart AS DATE) AS co_day",
        "BillingCurrency AS co_currency",
        f"{cost} AS amount",
        f"{f'co_{measure}_rest' if mended else 'CAST(0 AS BIGINT)'} AS rest",
        f"{quantity} AS quantity",
        f"{doubtful} AS doubtful",
        f"{literal(file + '#')} || lpad(CAST({row} AS VARCHAR), {ROW_DIGITS}, '0') AS place",
        *(f"coalesce({_key(key, stored, json)}, '(none)') AS k{at}" for at, key in enumerate(keys)),
        "co_issuer",
        "co_account",
    ]
    where = "" if mended else " WHERE co_fields IS NULL"
    return (
        f"SELECT {', '.join(columns)} FROM (SELECT *, {', '.join(derived(stored, (), json))}"  # noqa: S608 - quoted names
        f" FROM read_parquet({literal(path)}, file_row_number = true)){where}"
    )


def _key(key: str, stored: Sequence[str], json: str) -> str:
    if key.startswith("tag:"):
        path = literal(f'$."{key.removeprefix("tag:")}"')
        return f"json_extract_string({json}, {path})"
    if key.startswith("column:"):
        name = key.removeprefix("column:")
        return quoted(name) if name in stored else "CAST(NULL AS VARCHAR)"
    return _KEYS[key]


def _metric(metric: str | None, stored: Sequence[str], *, mended: bool) -> tuple[str, str]:
    """The metric as a decimal, and as text where it is none or too wide to be one; Python looks at that."""
    nothing = f"CAST(NULL AS {DECIMAL})", "CAST(NULL AS VARCHAR)"
    if metric is None or metric not in stored:
        return nothing
    name = quoted(metric)
    if metric in NUMBERS:
        wide = f"json_extract_string(co_wide, {literal(f'$.{metric}')})" if mended else nothing[1]
        return name, wide
    number = plainly_numeric(name)
    text = f"nullif(replace({name}, ' ', '_'), '')"  # blanks part the texts that Python will look at
    return f"CASE WHEN {number} THEN CAST({name} AS {DECIMAL}) END", f"CASE WHEN NOT {number} THEN {text} END"
