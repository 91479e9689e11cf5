"""What bills and clocks do at their worst: each case is named, and nothing is lost."""

from __future__ import annotations

from decimal import Decimal

import pytest

from companyos.finops import BudgetRefusedError, CostFileError
from companyos.finops.allocation import AllocationRules, allocate
from companyos.finops.budgets import BudgetPolicy
from companyos.finops.budgets.specimens import Scene

D = Decimal
HUGE = 50 * 1024 * 1024


@pytest.mark.parametrize("quote", ['"', ""], ids=["quoted", "bare"])
def test_one_field_of_50_megabytes_stops_the_file(tmp_path, focus_text, store, quote):
    """In quotes it is well-formed CSV, and still no bill: nothing of it is taken, and the store goes on working."""
    good, path = focus_text({}), tmp_path / "bill.csv"
    header, row = good.splitlines()
    with path.open("w", encoding="utf-8") as handle:
        handle.write(f"{header}\n{row}\n")
        handle.write(row.replace("an hour", f"{quote}{'y' * HUGE}{quote}") + "\n")

    with pytest.raises(CostFileError, match=r"too long|not well-formed"):
        store.ingest(path)

    assert store.coverage().rows == 0
    path.write_text(good)
    assert store.ingest(path).rows_ingested == 1


def test_prices_and_costs_of_zero_and_below_are_kept_as_they_are(focus_file, store):
    """Zero and negative unit prices, a refund, a credit, a correction: each is a row, and they add up with sign."""
    rows = (
        {"ListUnitPrice": "0", "BilledCost": "0", "EffectiveCost": "0"},
        {"ListUnitPrice": "-0.25", "PricingQuantity": "4", "BilledCost": "-1.00"},
        {"ListUnitPrice": "2", "PricingQuantity": "-3", "BilledCost": "-6.00"},
        {"ChargeCategory": "Credit", "BilledCost": "-0.01"},
        {"ChargeClass": "Correction", "BilledCost": "-0.99", "ConsumedQuantity": "-9223372036854775808"},
        {"BilledCost": "10.00"},
    )
    report = store.ingest(focus_file(*rows))

    assert (report.rows_read, report.rows_ingested, report.mends) == (6, 6, ())
    assert [line.amount for line in store.total()] == [D("2.00")]
    (prices,) = store.slices((), metric="ListUnitPrice")
    assert (prices.quantity, prices.rows) == (D("1.75"), 6)
    (used,) = store.slices((), metric="ConsumedQuantity")
    assert used.quantity == -(D(2) ** 63)


def test_refunds_are_allocated_like_costs(focus_file, store, tmp_path):
    """A pool of refunds is shared out with its sign; who has more refunds than costs gets no share of a pool."""
    store.ingest(
        focus_file(
            {"Tags": '{"team": "a"}', "BilledCost": "3"},
            {"Tags": '{"team": "b"}', "BilledCost": "-5"},
            {"Tags": '{"team": "c"}', "BilledCost": "6"},
            {"ServiceName": "Pool", "BilledCost": "-1.00"},
            {"ServiceName": "Pool", "BilledCost": "7", "BillingCurrency": "EUR"},
        )
    )
    path = tmp_path / "allocation.yaml"
    path.write_text(
        "rules:\n  - {name: p, match: {service: Pool}, to: {pool: p}}\n"
        "  - {name: own, match: {'tag:team': '*'}, to: {team: '{tag:team}'}}\npools: {p: {split: proportional}}\n"
    )

    made = allocate(store, AllocationRules.load(path))

    assert {(line.key, line.currency): line.amount for line in made.lines} == {
        ("a", "USD"): D("2.67"),
        ("b", "USD"): D(-5),
        ("c", "USD"): D("5.33"),
        ("(unsplit p)", "EUR"): D(7),  # in euros nobody has direct costs
    }


@pytest.mark.parametrize(
    ("before", "after", "days"),
    [
        (("2026-10-25 02:30", 0), ("2026-10-25 02:30", 1), ["2026-10-25"]),  # the hour that comes twice
        (("2026-03-29 01:59", 0), ("2026-03-29 03:00", 0), ["2026-03-29"]),  # the hour that is left out
        (("2026-10-25 23:59", 0), ("2026-10-26 00:00", 0), ["2026-10-25", "2026-10-26"]),  # a day of 25 hours ends
        (("2026-03-28 23:59", 0), ("2026-03-29 00:00", 0), ["2026-03-28", "2026-03-29"]),  # one of 23 begins
    ],
    ids=["twice", "skipped", "midnight after", "midnight before"],
)
def test_a_cap_by_day_holds_when_clocks_are_changed(tmp_path, before, after, days):
    """What is spent on both sides of the jump counts on the local day it falls on; a day's cap is given out once."""
    policy = {"timezone": "Europe/Berlin", "levels": {"acme": [{"period": "day", "limit": 100}]}}
    scene = Scene(tmp_path, BudgetPolicy.parse(policy))
    try:
        scene.at(before[0], fold=before[1])
        scene.spend(60)
        scene.at(after[0], fold=after[1])
        if len(days) == 1:
            with pytest.raises(BudgetRefusedError):
                scene.spend(60)
            scene.spend(40)
        else:
            scene.spend(100)
        spent = {one.key.rpartition(":")[2]: one.spent // 10**8 for one in scene.budget.levels()}
        assert spent == dict(zip(days, [100] if len(days) == 1 else [60, 100], strict=True))
    finally:
        scene.close()
