"""The cost store: exact, idempotent, all or nothing."""

from __future__ import annotations

import csv
import hashlib
import os
import random
import re
import sqlite3
import threading
from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from companyos.errors import UserError
from companyos.finops import (
    CostFileError,
    FocusFile,
    MixedCurrencyError,
    OverlapError,
    SqliteCostStore,
    StoreError,
    exact_sum,
    single_currency,
)
from companyos.finops.samples import sample_path


class Recorder:
    """A ledger that keeps what it is given, as the protocol asks: the same id gives the same receipt."""

    def __init__(self):
        self.entries = {}

    def append(self, type, data, *, id=None, source=None, stream=None, subject=None):  # noqa: A002
        from companyos.ports import Receipt

        id = id or f"entry-{len(self.entries)}"  # noqa: A001
        assert self.entries.setdefault(id, (type, data)) == (type, data)
        return Receipt(id, list(self.entries).index(id), b"", len(self.entries))


def day(number, cost="1.00", **more):
    start, end = (f"2024-09-{n:02}T00:00:00Z" for n in (number, number + 1))
    return {"ChargePeriodStart": start, "ChargePeriodEnd": end, "BilledCost": cost} | more


def test_sums_are_exact_to_the_last_digit(focus_file, store):
    """Three thousand awkward amounts add up to what rational arithmetic says, by every grouping."""
    chance = random.Random(7)
    rows, oracle = [], defaultdict(Fraction)
    for _ in range(3_000):
        cost = Decimal(chance.randrange(-(10**15), 10**15)).scaleb(-chance.randrange(0, 16))
        service, number = chance.choice("abc"), chance.randrange(1, 29)
        rows.append(day(number, f"{cost:f}", ServiceName=service))
        for key in ("all", service, f"2024-09-{number:02}"):
            oracle[key] += Fraction(cost)

    store.ingest(focus_file(*rows))

    for by in (None, "service", "day"):
        for line in store.total(by=by):
            assert oracle[line.key] == Fraction(line.amount)
    assert oracle["all"] == Fraction(exact_sum(cost.amount for cost in store.daily()))


def test_the_same_file_again_changes_nothing(focus_file, store, tmp_path):
    """A second ingest of the same bytes, under any name, gives the first report and leaves every file as it was."""
    path = focus_file({}, {"BilledCost": "bad"}, {})
    first = store.ingest(path)
    before = {p: p.read_bytes() for p in store.directory.rglob("*.csv")}
    copy = tmp_path / "again.csv"
    copy.write_bytes(path.read_bytes())

    second = store.ingest(copy)

    assert second.unchanged
    assert not first.unchanged
    assert first.to_dict() == second.to_dict() | {"unchanged": False}
    assert before == {p: p.read_bytes() for p in store.directory.rglob("*.csv")}
    assert 2 == store.coverage().rows


def test_the_raw_file_is_kept_byte_for_byte_by_its_digest(focus_file, store):
    """The kept file is what came in, and its name is its SHA-256."""
    path = focus_file({})

    report = store.ingest(path)

    kept = store.directory / report.raw_path
    assert path.read_bytes() == kept.read_bytes()
    assert f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" == report.digest == f"sha256:{kept.stem}"


def test_no_billing_period_is_counted_twice_by_accident(focus_file, store):
    """A second file for the same account and billing period is refused as a whole until one says what it is."""
    store.ingest(focus_file(day(1, "5")))
    longer = focus_file(day(1, "5"), day(2, "6"), name="longer.csv")

    with pytest.raises(OverlapError, match=r"Cloud Inc\., account acc-1, period from 2024-09-01"):
        store.ingest(longer)
    assert Decimal(5) == store.total()[0].amount
    report = store.ingest(longer, overlap="replace")
    assert (Decimal(11), 1) == (store.total()[0].amount, len(report.replaced))


def test_replacing_touches_only_the_billing_periods_of_the_new_file(focus_file, store):
    """Another month and another account of the old file stay."""
    august = {"BillingPeriodStart": "2024-08-01T00:00:00Z", "BillingPeriodEnd": "2024-09-01T00:00:00Z"}
    store.ingest(focus_file(day(1, "5"), day(1, "7", **august), day(1, "9", BillingAccountId="acc-2")))

    store.ingest(focus_file(day(1, "50"), name="corrected.csv"), overlap="replace")

    assert Decimal(66) == store.total()[0].amount


SMALLER = {
    "fewer days": ([day(1, "10")], "days without charges that had some: 2024-09-02"),
    "other days": ([day(1, "5"), day(3, "6")], "days without charges that had some: 2024-09-02"),
    "a lower total": ([day(1, "5"), day(2, "4.99")], "10(.00)? USD become 9.99"),
    "another currency": ([day(1, "5", BillingCurrency="EUR"), day(2, "5")], "10(.00)? USD become 5(.00)?"),
}


@pytest.mark.parametrize("name", SMALLER)
def test_a_smaller_file_replaces_only_when_told_so(focus_file, store, name):
    """A cut or emptied extract does not silently take costs away; told so, it does and the report says what shrank."""
    rows, message = SMALLER[name]
    store.ingest(focus_file(day(1, "5"), day(2, "5")))
    before = store.total()
    smaller = focus_file(*rows, name="smaller.csv")

    with pytest.raises(OverlapError, match=message):
        store.ingest(smaller, overlap="replace")
    assert before == store.total()

    report = store.ingest(smaller, overlap="replace-smaller")
    (shrunk,) = report.shrunk
    assert re.fullmatch(f"Cloud Inc., account acc-1, period from 2024-09-01: {message}", shrunk)
    assert report.shrunk in {known.shrunk for known in store.files()}


AUGUST = {"BillingPeriodStart": "2024-08-01T00:00:00Z", "BillingPeriodEnd": "2024-09-01T00:00:00Z"}
BAD = {"BillingCurrency": "XXQ"}


def test_rejected_rows_count_until_their_period_is_replaced(focus_file, store):
    """A corrected month heals its own rejections, and only those, though other months of the file stay."""
    store.ingest(focus_file(day(1), day(2, **BAD), day(1, **AUGUST), day(2, **AUGUST, **BAD)))
    assert 2 == store.coverage().rows_rejected

    store.ingest(focus_file(day(1), day(2), name="september.csv"), overlap="replace")
    assert 1 == store.coverage().rows_rejected
    store.ingest(focus_file(day(1, **AUGUST), day(2, **AUGUST, **BAD), name="august.csv"), overlap="replace")
    assert 1 == store.coverage().rows_rejected
    store.ingest(focus_file(day(1, **AUGUST), day(2, **AUGUST), name="august2.csv"), overlap="replace")
    assert 0 == store.coverage().rows_rejected


def test_a_period_that_was_rejected_whole_is_still_missing(focus_file, store):
    """Rows without a single good neighbour in their period are not forgotten, and a clean file brings them in."""
    store.ingest(focus_file(day(1), day(1, **AUGUST, **BAD)))
    store.ingest(focus_file(day(1, "2"), name="september.csv"), overlap="replace")
    assert 1 == store.coverage().rows_rejected

    store.ingest(focus_file(day(1, **AUGUST), name="august.csv"), overlap="replace")

    assert 0 == store.coverage().rows_rejected


def test_rejected_rows_of_no_known_period_count_while_their_file_does(focus_file, store):
    """Where the period itself is unreadable, replacing one month of two heals nothing."""
    store.ingest(focus_file(day(1), day(1, **AUGUST), day(2, BillingPeriodStart="soon")))

    store.ingest(focus_file(day(1, "2"), name="september.csv"), overlap="replace")
    assert 1 == store.coverage().rows_rejected
    store.ingest(focus_file(day(1, "2", **AUGUST), name="august.csv"), overlap="replace")
    assert 0 == store.coverage().rows_rejected


@pytest.mark.parametrize("store_class", [SqliteCostStore])
def test_a_store_of_the_first_format_is_taken_on(focus_file, store, tmp_path):
    """Rejections of files from before are counted as before."""
    store.ingest(focus_file(day(1), day(2, **BAD)))
    store.close()
    with sqlite3.connect(store.directory / "costs.db") as database:
        database.execute("DROP TABLE rejected")
        database.execute("PRAGMA user_version = 1")
    database.close()

    with SqliteCostStore(store.directory) as opened:
        assert (1, 1) == (opened.coverage().rows_rejected, opened.coverage().rows)


def test_parts_of_one_extract_can_be_added(focus_file, store):
    """With `add`, further files of the same period add up."""
    store.ingest(focus_file(day(1, "5")))

    store.ingest(focus_file(day(2, "6"), name="part2.csv"), overlap="add")

    assert Decimal(11) == store.total()[0].amount


def test_currencies_are_never_added_up(focus_file, store):
    """Each currency has lines of its own, and asking for one sum over both is an error."""
    store.ingest(focus_file(day(1, "5"), day(1, "7", BillingCurrency="EUR")))

    lines = store.total()

    assert {("USD", Decimal(5)), ("EUR", Decimal(7))} == {(line.currency, line.amount) for line in lines}
    assert ("EUR", "USD") == store.coverage().currencies
    with pytest.raises(MixedCurrencyError, match="EUR, USD"):
        single_currency(line.currency for line in lines)
    assert "USD" == single_currency(["USD", "USD"])


def test_costs_group_by_every_dimension_and_by_tag(focus_file, store):
    """Services, weeks and tags; what has no value is shown as such and never dropped."""
    store.ingest(
        focus_file(
            day(1, "1", Tags='{"team": "red"}'),
            day(2, "2", Tags='{"team": "blue"}', SubAccountName="prod", RegionId="eu"),
            day(9, "4", ServiceName=""),
        )
    )

    found = {by: {line.key: line.amount for line in store.total(by=by)} for by in ("week", "tag:team", "service")}
    assert {"2024-08-26": 1, "2024-09-02": 2, "2024-09-09": 4} == found["week"]
    assert {"red": 1, "blue": 2, "(none)": 4} == found["tag:team"]
    assert {"Machines": 3, "(none)": 4} == found["service"]
    for by in ("category", "provider", "account", "sub_account", "region"):
        assert Decimal(7) == exact_sum(line.amount for line in store.total(by=by))


def test_a_tag_may_hold_numbers_and_words(focus_file, store):
    """Values of every JSON type become text, and equal texts one line."""
    values = ("5", '"5"', '"x"', "true", "null", "[1]", "1.5")
    store.ingest(focus_file(*(day(1, Tags=f'{{"app": {value}}}') for value in values)))

    found = {line.key: line.rows for line in store.total(by="tag:app")}
    assert {"5": 2, "x": 1, "true": 1, "(none)": 1, "[1]": 1, "1.5": 1} == found
    assert 6 == len(store.daily(by="tag:app"))


@pytest.mark.parametrize("by", ["colour", "tag:", 'tag:a"b', "service; DROP TABLE charges", "tag:a\\b"])
def test_an_unknown_grouping_is_refused(store, by):
    """Groupings are names from a list; anything else is an error, not SQL."""
    with pytest.raises(UserError, match="unknown way to group costs"):
        store.total(by=by)


def test_ranges_are_half_open_and_measures_are_told_apart(focus_file, store):
    """The end day is excluded; effective cost is its own sum."""
    store.ingest(focus_file(day(1, "1", EffectiveCost="10"), day(2, "2", EffectiveCost="20")))

    assert Decimal(1) == store.total(date(2024, 9, 1), date(2024, 9, 2))[0].amount
    assert Decimal(30) == store.total(measure="effective")[0].amount
    assert [date(2024, 9, 1), date(2024, 9, 2)] == [cost.day for cost in store.daily()]
    with pytest.raises(UserError, match="unknown measure"):
        store.total(measure="listed")


def test_credits_and_refunds_lower_the_sum(focus_file, store):
    """Negative and zero costs are ordinary rows."""
    report = store.ingest(focus_file(day(1, "10"), day(1, "-4.25", ChargeCategory="Credit"), day(1, "0")))

    assert (3, Decimal("5.75")) == (report.rows_ingested, store.total()[0].amount)


def test_identical_rows_of_one_file_are_all_kept(focus_file, store):
    """FOCUS has no key for rows: two equal charges are two charges."""
    store.ingest(focus_file(day(1, "3"), day(1, "3")))

    assert Decimal(6) == store.total()[0].amount


def test_coverage_tells_up_to_when_usage_was_reported(focus_file, store):
    """A monthly charge or one from the future does not make old data look fresh."""
    month = {"ChargePeriodStart": "2024-09-01T00:00:00Z", "ChargePeriodEnd": "2024-10-01T00:00:00Z"}
    store.ingest(focus_file(day(1), day(5), day(28), month))

    everything = store.coverage()
    known = store.coverage(until=datetime(2024, 9, 10, tzinfo=UTC))

    assert datetime(2024, 9, 29, tzinfo=UTC) == everything.data_through
    assert datetime(2024, 9, 6, tzinfo=UTC) == known.data_through
    assert (4, date(2024, 9, 1)) == (everything.rows, everything.first_day)


def test_the_extract_digest_changes_with_the_data_and_only_then(focus_file, store):
    """The digest covers exactly the files that contribute rows."""
    store.ingest(focus_file(day(1)))
    first = store.coverage()
    store.ingest(focus_file(day(1), name="same.csv"))
    assert first == store.coverage()

    store.ingest(focus_file(day(1, "2"), name="new.csv"), overlap="replace")

    assert first.digest != store.coverage().digest
    assert 1 == len(store.coverage().files)
    assert 2 == len(store.files())


def test_each_file_leaves_one_entry_in_the_ledger(focus_file, tmp_path):
    """The entry holds the report; ingesting again appends the same entry, so a lost one is healed."""
    ledger, path = Recorder(), focus_file(day(1), {"BilledCost": "bad"})
    with SqliteCostStore(tmp_path / "costs", ledger=ledger) as store:
        report = store.ingest(path)
        store.ingest(path)

    ((kind, data),) = ledger.entries.values()
    assert "companyos.finops.ingested" == kind
    assert (report.digest, 2, 1, {"bad_number": 1}) == (
        data["digest"],
        data["rows_read"],
        data["rows_ingested"],
        data["rejected_by_reason"],
    )


def test_the_side_file_holds_the_whole_rejected_row(focus_file, store):
    """What is rejected can be mended by hand: number, reason and every field are there."""
    report = store.ingest(focus_file({}, {"BilledCost": "abc", "x_team": "red"}))

    with (store.directory / report.rejects_path).open(newline="") as handle:
        (row,) = csv.DictReader(handle)
    assert ("2", "bad_number", "BilledCost", "abc", "red") == (
        *(row[name] for name in ("row", "reason", "column")),
        row["BilledCost"],
        row["x_team"],
    )


def test_a_store_survives_being_closed(focus_file, tmp_path):
    """What was ingested is there when the store is opened again."""
    with SqliteCostStore(tmp_path / "costs") as store:
        store.ingest(focus_file(day(1, "5")))
    with SqliteCostStore(tmp_path / "costs", create=False) as store:
        assert Decimal(5) == store.total()[0].amount


def test_ingests_at_the_same_time_wait_for_each_other(tmp_path, focus_file):
    """Eight connections bringing the same file leave its rows once."""
    path, reports = focus_file(day(1, "5")), []

    def bring_in():
        with SqliteCostStore(tmp_path / "costs") as store:
            reports.append(store.ingest(path).unchanged)

    threads = [threading.Thread(target=bring_in) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [False] + [True] * 7 == sorted(reports)
    with SqliteCostStore(tmp_path / "costs") as store:
        assert Decimal(5) == store.total()[0].amount


def test_a_store_that_is_not_one_is_undeterminable(tmp_path, focus_file):
    """Garbage, another format and a missing store are errors of their own, never an empty sum."""
    with pytest.raises(StoreError, match="no cost data"):
        SqliteCostStore(tmp_path / "nowhere", create=False)
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage" / "costs.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="not a database"):
        SqliteCostStore(tmp_path / "garbage")
    SqliteCostStore(tmp_path / "newer").close()
    with sqlite3.connect(tmp_path / "newer" / "costs.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="another format"):
        SqliteCostStore(tmp_path / "newer")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write"):
        SqliteCostStore(tmp_path / "file")


def test_a_file_that_is_not_there_is_named(store, tmp_path):
    """A missing file, a directory, a pipe and a device are refused in words, before anything is read."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "missing.csv", tmp_path, tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(CostFileError, match="cannot read"):
            store.ingest(path)
        with pytest.raises(CostFileError, match="cannot read"):
            FocusFile(path)


def test_white_space_makes_no_other_account(focus_file, store):
    """The same bill with a space behind its account is the same bill; the mend is counted."""
    spaced = {"BillingAccountId": " acc-1 ", "InvoiceIssuerName": "Cloud Inc.\u00a0", "ServiceName": "Machines "}
    report = store.ingest(focus_file(day(1, **spaced), name="spaced.csv"))

    assert {"BillingAccountId", "InvoiceIssuerName", "ServiceName"} == {
        mend.column for mend in report.mends if mend.kind == "white_space"
    }
    with pytest.raises(OverlapError):
        store.ingest(focus_file(day(1)))
    assert ["Machines"] == [line.key for line in store.total(by="service")]


def test_a_failing_disk_leaves_nothing_half_written(focus_file, store):
    """When the raw file cannot be put in place, the rows are not there either."""
    (store.directory / "raw").rmdir()

    with pytest.raises(StoreError, match="does not work"):
        store.ingest(focus_file(day(1)))

    assert 0 == store.coverage().rows
    assert () == store.files()


def test_the_shipped_sample_accounts_for_every_row_and_mend(store):
    """The sample's quirks are those of the real extract, and all are counted."""
    report = store.ingest(sample_path())

    assert (378, 378, 0, ("Id",), "1.0") == (
        report.rows_read,
        report.rows_ingested,
        report.rows_rejected,
        report.stray_columns,
        report.version,
    )
    kinds = {mend.kind for mend in report.mends}
    assert {"text_null", "space_date", "naive_time", "value_case", "required_null", "number_for_text"} == kinds
    with sample_path().open(newline="") as handle:
        oracle = sum((Decimal(row["BilledCost"]) for row in csv.DictReader(handle)), Decimal(0))
    assert oracle == store.total()[0].amount
