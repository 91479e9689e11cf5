# ruff: noqa: E501, S608 - the columns of a bill, one a line, and queries of our own
"""Bringing in a FOCUS bill of millions of rows, adding one up without storing it, and reporting.

    .venv/bin/python benchmarks/bench_focus.py [--rows N] [--rounds N] [--gate]

Each case runs in a process of its own, which tells its time and its peak memory. The file has the 57 columns of FOCUS 1.2.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.interleaved import Bar, measure, report

if TYPE_CHECKING:
    from collections.abc import Callable

MEGABYTES = 600
READ_ALL, READ_FOUR, GROUPED = (
    "typed read of all columns",
    "typed read of four columns",
    "hand-written query over Parquet",
)
INGEST, LOOK, REPORT = "ingest and report", "aggregate without storing", "report over what is ingested"
BARS = (
    Bar(INGEST, READ_ALL, at_most=4),
    Bar(LOOK, READ_FOUR, at_most=1.6),
    Bar(REPORT, GROUPED, at_most=0.5),
)
COST = "CAST(CAST(i * 7919 % 100000 AS DECIMAL(18, 9)) / {} AS DECIMAL(18, 9))"
COLUMNS = {
    "AvailabilityZone": "'us-east-1' || chr(97 + CAST(i % 3 AS INTEGER))", "BilledCost": COST.format(100000),
    "BillingAccountId": "'acc-' || i % 5", "BillingAccountName": "'Account ' || i % 5", "BillingAccountType": "'Payer'",
    "BillingCurrency": "'USD'", "BillingPeriodEnd": "'2025-02-01T00:00:00Z'",
    "BillingPeriodStart": "'2025-01-01T00:00:00Z'", "CapacityReservationId": "NULL", "CapacityReservationStatus": "NULL",
    "ChargeCategory": "'Usage'", "ChargeClass": "NULL", "ChargeDescription": "'Usage of SKU ' || i % 2000 || ' in region'",
    "ChargeFrequency": "'Usage-Based'", "ChargePeriodEnd": "strftime(hour + INTERVAL 1 HOUR, '%Y-%m-%dT%H:%M:%SZ')",
    "ChargePeriodStart": "strftime(hour, '%Y-%m-%dT%H:%M:%SZ')", "CommitmentDiscountCategory": "NULL",
    "CommitmentDiscountId": "NULL", "CommitmentDiscountName": "NULL", "CommitmentDiscountQuantity": "NULL",
    "CommitmentDiscountStatus": "NULL", "CommitmentDiscountType": "NULL", "CommitmentDiscountUnit": "NULL",
    "ConsumedQuantity": "CAST(i % 997 AS DECIMAL(18, 4))", "ConsumedUnit": "'Hours'", "ContractedCost": COST.format(100000),
    "ContractedUnitPrice": "0.0104", "EffectiveCost": COST.format(110000), "InvoiceId": "'INV-2025-01'",
    "InvoiceIssuerName": "'Cloud Inc.'", "ListCost": COST.format(90000), "ListUnitPrice": "0.0116",
    "PricingCategory": "'Standard'", "PricingCurrency": "'USD'", "PricingCurrencyContractedUnitPrice": "0.0104",
    "PricingCurrencyEffectiveCost": COST.format(110000), "PricingCurrencyListUnitPrice": "0.0116",
    "PricingQuantity": "CAST(i % 997 AS DECIMAL(18, 4))", "PricingUnit": "'Hours'", "ProviderName": "'Cloud'",
    "PublisherName": "'Cloud Inc.'", "RegionId": "'us-east-' || i % 4", "RegionName": "'US East ' || i % 4",
    "ResourceId": "'arn:cloud:compute:us-east-1:0123456789:instance/i-' || i % 50000",
    "ResourceName": "'node-' || i % 50000", "ResourceType": "'Instance'", "ServiceCategory": "'Compute'",
    "ServiceName": "'Service ' || i % 30", "ServiceSubcategory": "'Virtual Machines'", "SkuId": "'SKU' || i % 2000",
    "SkuMeter": "'Compute'", "SkuPriceDetails": "'{\"CoreCount\": 4}'", "SkuPriceId": "'SKU' || i % 2000 || '.P1'",
    "SubAccountId": "'sub-' || i % 40", "SubAccountName": "'Team account ' || i % 40", "SubAccountType": "'Project'",
    "Tags": "'{\"team\": \"team-' || i % 50 || '\", \"environment\": \"prod\", \"CostCenter\": \"cc-' || i % 20 || '\"}'",
}  # fmt: skip
PREAMBLE = """
import sys, time, shutil
from pathlib import Path
import duckdb
from companyos.finops.columns import NUMBERS, TIMES
bill, root = Path(sys.argv[1]), Path(sys.argv[2])
header = bill.open().readline().strip().split(",")
kinds = {n: "DECIMAL(38,18)" if n in NUMBERS else "TIMESTAMP" if n in TIMES else "VARCHAR" for n in header}
q = chr(34)
typed = f"read_csv('{bill}', auto_detect=false, header=true, delim=',', quote='{q}', escape='{q}', columns={kinds})"
def connect():
    return duckdb.connect(config={"memory_limit": "400MB", "temp_directory": str(root / "spill")})
def run():
"""
CASES = {
    READ_ALL: "  connect().execute(f'SELECT {chr(44).join(f\"max({n})\" for n in header)} FROM {typed}').fetchall()",
    READ_FOUR: """  connect().execute("SELECT ServiceName, CAST(ChargePeriodStart AS DATE), json_extract_string(Tags, '$.team'),"
    f" sum(BilledCost) FROM {typed} GROUP BY ALL").fetchall()""",
    GROUPED: """  connect().execute("SELECT ServiceName, CAST(ChargePeriodStart AS DATE), json_extract_string(Tags, '$.team'),"
    f" sum(BilledCost) FROM read_parquet('{root}/raw.parquet') GROUP BY ALL").fetchall()""",
    INGEST: """  from companyos.finops.engines.duckdb import DuckCostStore
  with DuckCostStore(root / "new") as store:
    report = store.ingest(bill); store.total(by="service")
  assert report.rows_rejected == 0""",
    LOOK: "  from companyos.finops.bulk import aggregate\n  aggregate(bill, tag='team')",
    REPORT: """  from companyos.finops.engines.duckdb import DuckCostStore
  with DuckCostStore(root / "kept") as store: store.total(by="tag:team")""",
}
EPILOGUE = """
shutil.rmtree(root / "new", ignore_errors=True)
started = time.perf_counter(); run(); taken = time.perf_counter() - started
# Of this program alone: what getrusage says was once that of the process it was forked from.
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(taken, int(peak) // 1024)
"""


def prepare(root: Path, rows: int) -> Path:
    """Write the bill, the same as raw Parquet, and a store that holds it."""
    import duckdb

    from companyos.finops.engines.duckdb import DuckCostStore

    bill = root / "bill.csv"
    columns = ", ".join(f'{text} AS "{name}"' for name, text in COLUMNS.items())
    hours = (
        f"SELECT i, TIMESTAMP '2025-01-01' + INTERVAL 1 HOUR * (i * 744 // {rows}) AS hour FROM range({rows}) AS of(i)"
    )
    duckdb.sql(f"COPY (SELECT {columns} FROM ({hours})) TO '{bill}' (HEADER)")
    costs = (
        "CAST(BilledCost AS DECIMAL(38, 18)) AS BilledCost, CAST(ChargePeriodStart AS TIMESTAMP) AS ChargePeriodStart"
    )
    duckdb.sql(
        f"COPY (SELECT * REPLACE ({costs}) FROM read_csv('{bill}', all_varchar = true))"
        f" TO '{root}/raw.parquet' (FORMAT parquet)"
    )
    with DuckCostStore(root / "kept") as store:
        store.ingest(bill)
    return bill


def case(name: str, bill: Path, root: Path, memory: dict[str, int]) -> Callable[[], float]:
    """Seconds of one run in a process of its own."""

    def run() -> float:
        program = PREAMBLE + CASES[name] + EPILOGUE
        told = subprocess.run([sys.executable, "-c", program, bill, root], check=True, capture_output=True, text=True)
        seconds, megabytes = told.stdout.split()[-2:]  # DuckDB may have drawn a bar before
        memory[name] = max(memory.get(name, 0), int(megabytes))
        return float(seconds)

    return run


def main(arguments: list[str]) -> int:
    """Measure, print, write, and judge if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gate", action="store_true")
    given = parser.parse_args(arguments)
    if importlib.util.find_spec("duckdb") is None:
        print("not measured: DuckDB is not installed")
        return 1 if given.gate else 0
    memory: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as scratch:
        bill = prepare(Path(scratch), given.rows)
        cases = {name: case(name, bill, Path(scratch), memory) for name in CASES}
        seconds = measure(cases, rounds=given.rounds, warm_up=0)
    missed = report("focus", seconds, BARS, rows=given.rows, peak_megabytes=memory)
    for name, megabytes in memory.items():
        print(f"{name:44}  {megabytes:8} MB at most")
    return 1 if given.gate and (missed or memory[INGEST] > MEGABYTES) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
