"""The real FOCUS 1.0 sample, when it is there."""

from __future__ import annotations

import csv
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "focus" / "focus-1.0-sample.csv"


@pytest.mark.outside
def test_every_mend_and_cent_of_the_real_sample_is_accounted_for(store):
    """All 1,000 rows are ingested; each mend count equals a plain count over the file; sums equal a plain sum."""
    with SAMPLE.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))

    report = store.ingest(SAMPLE)

    assert (1000, 1000, 0, "1.0", ("Id",)) == (
        report.rows_read,
        report.rows_ingested,
        report.rows_rejected,
        report.version,
        report.stray_columns,
    )
    counted = {(mend.kind, mend.column): mend.count for mend in report.mends}
    nulls = {("text_null", name): sum(row[name] == "NULL" for row in rows) for name in rows[0]}
    times = ("BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart")
    expected = {key: count for key, count in nulls.items() if count}
    expected |= {(kind, name): 1000 for kind in ("space_date", "naive_time") for name in times}
    expected |= {("required_null", "ContractedCost"): 7, ("value_case", "ChargeFrequency"): 7}
    expected |= {("number_for_text", "AvailabilityZone"): 51}
    assert expected == counted
    by_service, by_day = defaultdict(Decimal), defaultdict(Decimal)
    for row in rows:
        by_service[row["ServiceName"]] += Decimal(row["BilledCost"])
        by_day[row["ChargePeriodStart"][:10]] += Decimal(row["BilledCost"])
    assert dict(by_service) == {line.key: line.amount for line in store.total(by="service")}
    assert dict(by_day) == {line.key: line.amount for line in store.total(by="day")}
    assert {"USD": "20.52022672899"} == report.totals
