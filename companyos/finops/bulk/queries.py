"""The queries over charges and rollups, each written once: for DuckDB, and through sqlglot for a distributed engine.

They stand on two tables: `charges`, one row a charge with the columns of `cleaning.derived`, and `rollups`, what a
charge costs added up by day and by one dimension at a time. `{…}` are names and expressions of ours, never input; what
callers bring is bound to the parameters `$…`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos._extras import require
from companyos.finops.bulk.connection import EXTRA

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("CONSUMPTION", "DIMENSIONS", "QUERIES", "SUMS", "rollup_query", "transpiled")

DIMENSIONS = {
    "all": "'all'",
    "service": "coalesce(co_service, '(none)')",
    "category": "coalesce(co_category, '(none)')",
    "provider": "coalesce(nullif(co_provider, ''), '(none)')",
    "account": "coalesce(nullif(co_account, ''), '(none)')",
    "sub_account": "coalesce(co_sub_account, '(none)')",
    "region": "coalesce(co_region, '(none)')",
}
"""What costs are rolled up by, beside tags."""

CONSUMPTION = ("ConsumedUnit", "ConsumedQuantity", "SkuMeter", "ChargeDescription")
"""The columns that say what a charge consumed."""

PERIOD = "co_issuer, co_account, co_billing_start, co_day, co_currency"

# The rests as decimals: Parquet would hold DuckDB's sum of integers as a float.
SUMS = """
  sum(co_billed) AS billed, CAST(sum(co_billed_rest) AS DECIMAL(38, 0)) AS billed_rest,
  sum(co_effective) AS effective, CAST(sum(co_effective_rest) AS DECIMAL(38, 0)) AS effective_rest,
  sum(greatest(co_billed, 0)) AS billed_up,
  CAST(sum(greatest(co_billed_rest, 0)) AS DECIMAL(38, 0)) AS billed_up_rest,
  sum(greatest(co_effective, 0)) AS effective_up,
  CAST(sum(greatest(co_effective_rest, 0)) AS DECIMAL(38, 0)) AS effective_up_rest,
  count(*) AS charges
"""

QUERIES = {
    # Every charge, added up by what it was grouped by; the amounts are in two parts (see leftovers.split).
    "report": """
SELECT {key} AS cost_key, co_currency, sum({amount}) AS amount, sum({amount}_rest) AS rest, sum(charges) AS charges
FROM rollups
WHERE dimension = $dimension AND co_day >= $first AND co_day < $end
GROUP BY {key}, co_currency
""",
    "report_by_day": """
SELECT co_day, {key} AS cost_key, co_currency, sum({amount}) AS amount, sum({amount}_rest) AS rest,
  sum(charges) AS charges
FROM rollups
WHERE dimension = $dimension AND co_day >= $first AND co_day < $end
GROUP BY co_day, {key}, co_currency
""",
    # How far each source has reported: the latest end of a charge in each hour, with what was charged until then.
    "spans": """
SELECT co_issuer, co_account, co_billing_start, min(co_start) AS co_start, max(co_end) AS co_end, co_day, co_short,
  co_currency, co_provider, sum(co_billed) AS billed, sum(co_billed_rest) AS billed_rest,
  sum(co_effective) AS effective, sum(co_effective_rest) AS effective_rest, count(*) AS charges
FROM charges
GROUP BY co_issuer, co_account, co_billing_start, co_day, co_short, co_currency, co_provider,
  date_trunc('hour', co_end)
ORDER BY co_issuer, co_account, co_billing_start, co_day, co_end
""",
    # What was consumed, by feature and unit; the texts tell whether it was a GPU.
    "consumed": """
SELECT coalesce(json_extract_string(co_json, '$.feature'), '(none)') AS feature, ConsumedUnit AS unit,
  SkuMeter AS sku_meter, ChargeDescription AS description, co_currency, sum(co_billed) AS billed,
  CAST(sum(co_billed_rest) AS DECIMAL(38, 0)) AS billed_rest, sum(ConsumedQuantity) AS quantity, count(*) AS charges
FROM ({charges}) SEMI JOIN live USING (file, co_issuer, co_account, co_billing_start)
WHERE ConsumedUnit IS NOT NULL AND ConsumedQuantity IS NOT NULL AND co_day >= $first AND co_day < $end
GROUP BY ALL
""",
}
"""Queries by name."""

KEYS = {None: "cost_key", "day": "CAST(co_day AS VARCHAR)", "week": "CAST(date_trunc('week', co_day) AS DATE)"}
"""How the key of a report is made from a row of `rollups`."""


def rollup_query(tags: Sequence[str] = ()) -> str:
    """The query that makes `rollups` of `charges`: one pass, one dimension or tag after the other."""
    keys = [
        *DIMENSIONS.items(),
        *((f"tag:{key}", f"coalesce(co_tags[{at}], '(none)')") for at, key in enumerate(tags, 1)),
    ]
    columns = ", ".join(f"{expression} AS k{at}" for at, (_, expression) in enumerate(keys))
    sets = ", ".join(f"({PERIOD}, k{at})" for at in range(len(keys)))
    grouped = [f"grouping(k{at}) = 0" for at in range(len(keys))]
    names = " ".join(
        f"WHEN {test} THEN '{name.replace(chr(39), chr(39) * 2)}'"
        for test, (name, _) in zip(grouped, keys, strict=True)
    )
    key = " ".join(f"WHEN {test} THEN k{at}" for at, test in enumerate(grouped))
    return (
        f"SELECT {PERIOD}, CASE {names} END AS dimension, CASE {key} END AS cost_key, {SUMS.strip()} "  # noqa: S608
        f"FROM (SELECT *, {columns} FROM charges) AS keyed GROUP BY GROUPING SETS ({sets})"
    )


def transpiled(dialect: str) -> dict[str, str]:
    """Every query in another engine's SQL, for example `spark`; the report is by key, as billed.

    Raises:
        MissingExtraError: sqlglot is not installed.
    """
    sqlglot = require("sqlglot", extra=EXTRA)
    texts = {name: text.format(key="cost_key", amount="billed") for name, text in QUERIES.items() if name != "consumed"}
    texts["rollups"] = rollup_query()
    return {
        name: sqlglot.transpile(
            text, read="duckdb", write=dialect, pretty=True, unsupported_level=sqlglot.ErrorLevel.RAISE
        )[0]
        for name, text in texts.items()
    }
