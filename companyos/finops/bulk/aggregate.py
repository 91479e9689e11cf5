"""The sums of one bill, without storing anything: for a look at a file before it is brought in."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from companyos.finops.bulk.bills import open_bill
from companyos.finops.bulk.cleaning import DECIMAL, FRACTION_DIGITS, INTEGER_DIGITS
from companyos.finops.bulk.connection import connect, duckdb, literal, literals
from companyos.finops.errors import CostFileError
from companyos.finops.interface import CostLine
from companyos.finops.money import ISO_4217, plain

if TYPE_CHECKING:
    from typing import Any

__all__ = ("aggregate",)

_NUMBER = f"-?[0-9]{{1,{INTEGER_DIGITS}}}([.][0-9]{{0,{FRACTION_DIGITS}}})?"


def aggregate(path: Path, *, tag: str | None = None) -> tuple[CostLine, ...]:
    """BilledCost by service, UTC day and, if named, the value of a tag; keys are `service|day` or `service|day|value`.

    Only a file in which cost, currency, start, service and the number of fields are plain in every row is added up.

    Raises:
        CostFileError: it cannot be read, or some rows are not plain: those are mended only by an ingest.
    """
    with tempfile.TemporaryDirectory(prefix="companyos-look-") as scratch, connect(Path(scratch)) as connection:
        bill = open_bill(path, Path(scratch))
        if bill.is_hiding:
            raise _unclear(path.name, "bytes 0 or 1 or an endless line, which no bill has")
        at = {name: f"c{number}" for number, name in enumerate(bill.header)}
        start, cost, currency, service = (
            at[name] for name in ("ChargePeriodStart", "BilledCost", "BillingCurrency", "ServiceName")
        )
        key = literal(f'$."{tag}"')
        value = f", json_extract_string({at['Tags']}, {key})" if tag and "Tags" in at else ""
        plainly = (
            f"{at[bill.header[-1]]} IS NOT NULL AND c{len(at)} IS NULL AND {currency} IN ({literals(sorted(ISO_4217))})"
            f" AND regexp_full_match({cost}, {literal(_NUMBER)}) AND TRY_CAST({start} AS TIMESTAMP) IS NOT NULL"
            f" AND strlen({start}) = 20 AND {service} NOT IN ('', 'NULL', 'null')"
        )
        query = (
            f"SELECT {service}, substr({start}, 1, 10){value}, {currency}, sum(TRY_CAST({cost} AS {DECIMAL})),"  # noqa: S608 - our columns
            f" count(*), count(*) - count_if({plainly}) FROM {{}} GROUP BY ALL"
        )
        rows = _run(connection, query, bill, path.name)
    unclear = sum(row[-1] for row in rows)
    if unclear:
        raise _unclear(path.name, f"{unclear} rows that have to be mended or rejected")
    lines = (
        CostLine("|".join(part or "(none)" for part in row[:-4]), row[-4], Decimal(plain(row[-3])), row[-2])
        for row in rows
    )
    return tuple(sorted(lines, key=lambda line: (line.key, line.currency)))


def _unclear(name: str, got: str) -> CostFileError:
    return CostFileError(
        f"{name} cannot be added up as it stands",
        got=got,
        expected="plain numbers, times and currencies in every row",
        hint="companyos finops ingest mends, and names each bad row",
    )


def _run(connection: Any, query: str, bill: Any, name: str) -> list[tuple[Any, ...]]:
    try:
        return list(connection.execute(query.replace("{}", bill.relation())).fetchall())
    except duckdb().Error as error:
        raise CostFileError(
            f"{name} cannot be read",
            got=str(error).splitlines()[0],
            expected="well-formed CSV or Parquet, plain JSON tags",
        ) from error
