"""Charges by several keys at once: the same from both stores, and equal to a plain sum over the file."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from companyos.errors import UserError
from companyos.finops import StoreError

D = Decimal


def rows():
    """Charges with tags, resources, quantities beyond every fixed width, and an `x_` metric."""
    return (
        {"Tags": '{"team": "a"}', "ResourceId": "r1", "ConsumedQuantity": "9223372036854775808", "x_calls": "10"},
        {"Tags": '{"team": "a"}', "ResourceId": "r1", "ConsumedQuantity": "0.000000000000000000000001", "x_calls": "5"},
        {"Tags": '{"team": "b"}', "ResourceId": "r2", "ConsumedQuantity": "2", "BilledCost": "-0.10", "x_calls": ""},
        {"Tags": "", "ResourceId": "", "ConsumedQuantity": "", "ServiceName": "Disks", "x_calls": "1e3"},
        {"BillingCurrency": "EUR", "Tags": '{"team": "a"}', "ChargePeriodStart": "2024-09-03T05:00:00Z"},
    )


def told(slices):
    """What a slice says, without the place of its first charge."""
    return [(one.keys, one.currency, one.amount, one.quantity, one.rows) for one in slices]


def test_slices_add_up_by_every_key_at_once(focus_file, store):
    """Amounts and quantities are exact, keys without a value are `(none)`, currencies stay apart."""
    store.ingest(focus_file(*rows()))

    found = store.slices(("tag:team", "column:ResourceId", "service"), metric="ConsumedQuantity")

    wide = D("9223372036854775808.000000000000000000000001")
    assert told(found) == [
        (("(none)", "(none)", "Disks"), "USD", D("1.50"), None, 1),
        (("a", "(none)", "Machines"), "EUR", D("1.50"), None, 1),
        (("a", "r1", "Machines"), "USD", D("3.00"), wide, 2),
        (("b", "r2", "Machines"), "USD", D("-0.10"), D(2), 1),
    ]
    assert [one.first.partition("#")[2] for one in found] == ["4", "5", "1", "3"]


def test_a_custom_metric_is_a_number_in_every_charge(focus_file, store):
    """An `x_` column adds up, in any notation of a number; a word in it is an error and not a zero."""
    store.ingest(focus_file(*rows()))

    assert {
        one.keys: one.quantity for one in store.slices(("tag:team",), metric="x_calls") if one.currency == "USD"
    } == {
        ("(none)",): D(1000),
        ("a",): D(15),
        ("b",): None,
    }
    store.ingest(focus_file({"x_calls": "many", "BillingAccountId": "other"}, name="other.csv"))
    with pytest.raises(UserError, match="x_calls"):
        store.slices(("tag:team",), metric="x_calls")


def test_hours_days_and_columns(focus_file, store):
    """Days are half-open, hours are UTC, and a column counts as there only when every file has it."""
    store.ingest(focus_file(*rows()))
    store.ingest(focus_file({"BillingAccountId": "other", "ChargePeriodStart": "2024-09-02"}, name="other.csv"))

    assert [one.keys[0] for one in store.slices(("hour",))] == ["2024-09-02T00", "2024-09-03T00", "2024-09-03T05"]
    assert [one.rows for one in store.slices(("day",), date(2024, 9, 2), date(2024, 9, 3))] == [1]
    assert "BilledCost" in store.columns()
    assert "ResourceId" not in store.columns()


def test_charges_that_were_replaced_are_in_no_slice(focus_file, store):
    """What counts for a report counts for a slice."""
    store.ingest(focus_file({"ResourceId": "old"}))
    store.ingest(focus_file({"ResourceId": "new", "BilledCost": "2"}, name="new.csv"), overlap="replace")

    assert [one.keys for one in store.slices(("column:ResourceId",))] == [("new",)]


@pytest.mark.parametrize("key", ["services", "column:BilledCost", "column:a b", 'tag:"', "column:ChargePeriodStart"])
def test_a_key_that_is_none_is_refused(store, key):
    """By name, whatever is in the store."""
    with pytest.raises(UserError):
        store.slices((key,))


def test_a_kept_file_that_was_changed_is_no_source(focus_file, tmp_path):
    """The small store reads columns again from the kept file, and holds it against what it knows."""
    from companyos.finops import SqliteCostStore

    with SqliteCostStore(tmp_path / "costs") as store:
        report = store.ingest(focus_file({"ResourceId": "r1"}))
        kept = tmp_path / "costs" / report.raw_path
        kept.write_text(kept.read_text().replace("1.50", "1.60"))
        with pytest.raises(StoreError, match="does not say"):
            store.slices(("column:ResourceId",))


def test_a_stated_decimal_mark_is_found_again(focus_file, store):
    """A file that was read with a stated mark is read with it again."""
    comma = dict.fromkeys(("ContractedCost", "EffectiveCost", "ListCost"), "1,5")
    store.ingest(focus_file(comma | {"BilledCost": "1.234", "ResourceId": "r1"}), number_style=",")

    assert told(store.slices(("column:ResourceId",))) == [(("r1",), "USD", D(1234), None, 1)]
