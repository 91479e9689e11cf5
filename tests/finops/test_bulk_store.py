# ruff: noqa: E501, S608 - tables of values, and queries over our own files
"""The store over DuckDB beside the small one: whatever the file, both give the same account of it."""

from __future__ import annotations

import csv
import gzip
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
import sqlglot
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from companyos.finops import CostFileError, SqliteCostStore, StoreError, open_store
from companyos.finops.bulk import QUERIES, aggregate, transpiled
from companyos.finops.bulk import scanning as scanner
from companyos.finops.bulk.leftovers import combined, split
from companyos.finops.bulk.queries import rollup_query
from companyos.finops.bulk.staging import charges_view
from companyos.finops.engines.duckdb import DuckCostStore
from companyos.finops.samples import plant_overspend, sample_path
from tests.services import not_run

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "focus" / "focus-1.0-sample.csv"
GROUPS = (
    None,
    "service",
    "category",
    "provider",
    "account",
    "sub_account",
    "region",
    "day",
    "week",
    "tag:team",
    "tag:x",
)
FEW = (None, "tag:team")


def account(store, path, groups=GROUPS, **options):
    """All that a store says about a file: its report, or its refusal, and every sum."""
    try:
        report = store.ingest(path, **options).to_dict()
    except CostFileError as error:
        return error.code
    report["totals"] = {currency: Decimal(amount) for currency, amount in report["totals"].items()}
    sums = {
        (by, measure, kind): lines
        for by in groups
        for measure in ("billed", "effective")
        for kind, lines in (
            ("total", store.total(by=by, measure=measure)),
            ("daily", store.daily(by=by, measure=measure, before_credits=True)),
        )
    }
    return report, sums, store.coverage()


def both(path, directory, **options):
    """The accounts of the small store and of the one over DuckDB."""
    with SqliteCostStore(directory / "small") as small, DuckCostStore(directory / "bulk") as bulk:
        return account(small, path, **options), account(bulk, path, **options)


@pytest.mark.outside
def test_the_real_sample_is_told_alike():
    """Every row, mend, first row and sum of the real sample is that of the small store."""
    with tempfile.TemporaryDirectory() as directory:
        small, bulk = both(SAMPLE, Path(directory))
    assert small == bulk


def test_the_shipped_sample_is_told_alike(tmp_path):
    """Rows, mends and sums equal those of the small store."""
    small, bulk = both(sample_path(), tmp_path)
    assert small == bulk


VALUES = {
    "BilledCost": ("1.50", "0", "-3", "1e-7", "+2", ".5", "7,5", "1.234,56", " 4 ", "x", "", "NULL", "0.1234567890123456789012"),
    "EffectiveCost": ("1.25", "-0.00", "1.234", "9223372036854775808", "null"),
    "ListCost": ("1", "", "NULL", "99999999999999999999999.5", "0.0000000000000000000000001"),
    "ConsumedQuantity": ("9223372036854775808", "-9223372036854775809", "", "many"),
    "BillingCurrency": ("USD", "EUR", "usd", "XQZ", " USD"),
    "ChargePeriodStart": (
        "2024-09-03T00:00:00Z", "2024-09-03 05:00:00", "2024-09-03", "2024-09-03T01:30:00+02:00", "2024-02-30", "2024-09-04",
        "2024-09-03T00:00:00.5Z", "2024-09-03T00:00", "NULL",
    ),
    "ChargeCategory": ("Usage", "usage", "Credit", "Bonus", ""),
    "ServiceName": ("Machines", " Machines", "Machines\u00a0", 'M\u00fcller, "x"', "NULL", "line\nbreak"),
    "AvailabilityZone": ("a", "1", "0.02", ".", "\u0663", ""),
    "Tags": ("", '{"team": "red"}', '{"team": 5, "x": true}', '{"team": "a\\u00e9"}', "{bad", "[1]", "NULL", '{"team": null}', '{"x": {"y": 1}}'),
    "x_note": ("", "kept", "NULL", "BilledCost"),
}  # fmt: skip
ROWS = st.lists(
    st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in VALUES.items()}),
    min_size=1,
    max_size=8,
)


@given(rows=ROWS, style=st.sampled_from(["auto", ".", ","]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mix_of_quirks_is_told_alike(focus_text, rows, style):
    """The same rows are ingested, mended, rejected and added up, whichever store reads them."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "bill.csv"
        path.write_text(
            focus_text({"x_note": "a", "Tags": "", "AvailabilityZone": ""}, *rows), encoding="utf-8", newline=""
        )
        small, bulk = both(path, Path(directory), groups=FEW, number_style=style)
    assert small == bulk


@given(damage=st.binary(max_size=3), position=st.integers(0, 3000))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_is_told_alike(focus_text, damage, position):
    """A file with bytes overwritten anywhere is the same ingest or the same refusal for both."""
    whole = focus_text({}, {"ServiceName": 'a "b", c'}, {"Tags": '{"team": "red"}'}).encode()
    position %= len(whole)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "bill.csv"
        path.write_bytes(whole[:position] + damage + whole[position + len(damage) :])
        small, bulk = both(path, Path(directory), groups=FEW)
    assert small == bulk


@pytest.mark.parametrize("tail", ['"never closed\n', '1.50,"never\nclosed', "1.50,acc-1\n", "1.50,acc-1"])
def test_a_last_row_that_is_broken_is_told_alike(focus_text, tmp_path, tail):
    """Also behind a line break inside quotes the last row is named, and never lost."""
    path = tmp_path / "bill.csv"
    path.write_text(focus_text({"ChargeDescription": "two\nlines"}) + tail, newline="")
    small, bulk = both(path, tmp_path, groups=FEW)
    assert small == bulk


@given(st.lists(st.decimals(Decimal("-1e19"), Decimal("1e19"), allow_nan=False, places=30), min_size=1, max_size=30))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sums_are_those_of_independent_arithmetic(focus_text, amounts):
    """The sum of any amounts equals integer arithmetic to the last digit."""
    from fractions import Fraction

    with tempfile.TemporaryDirectory() as directory, DuckCostStore(Path(directory)) as store:
        path = Path(directory) / "bill.csv"
        path.write_text(focus_text(*({"BilledCost": format(amount, "f")} for amount in amounts)), encoding="utf-8")
        try:
            store.ingest(path)
        except StoreError:
            assert abs(sum(map(Fraction, amounts))) > 10**19
            return
        assert sum(map(Fraction, amounts)) == Fraction(store.total()[0].amount)


@given(st.decimals(Decimal("-9e23"), Decimal("9e23"), allow_nan=False, allow_infinity=False, places=36))
def test_an_amount_in_two_parts_is_that_amount(value):
    """What is split comes together again."""
    whole, rest = split(value)
    assert value == combined(Decimal(whole), rest)


@pytest.mark.parametrize("name", ["bill.csv.gz", "bill.csv"])
def test_a_packed_file_is_read_whatever_its_name(focus_text, tmp_path, name):
    """Gzip is found by its bytes; the raw file is kept packed, byte for byte."""
    path = tmp_path / name
    path.write_bytes(gzip.compress(focus_text({}, {"BilledCost": "2"}).encode()))

    with DuckCostStore(tmp_path / "costs") as store:
        report = store.ingest(path)

        assert (2, Decimal("3.50")) == (report.rows_ingested, store.total()[0].amount)
        assert path.read_bytes() == (store.directory / report.raw_path).read_bytes()
        assert report.raw_path.endswith(".csv.gz")


PARQUET = """
COPY (SELECT * REPLACE (
  BilledCost::DECIMAL(20, 8) AS BilledCost, EffectiveCost::DOUBLE AS EffectiveCost,
  ChargePeriodStart::TIMESTAMPTZ AS ChargePeriodStart, ChargePeriodEnd::TIMESTAMPTZ AS ChargePeriodEnd,
  BillingPeriodStart::TIMESTAMP AS BillingPeriodStart, BillingPeriodEnd::DATE AS BillingPeriodEnd,
  MAP {'team': 'red'} AS Tags)
FROM read_csv('%s', all_varchar = true)) TO '%s' (FORMAT parquet)
"""


@pytest.fixture
def parquet(focus_file, tmp_path):
    """A typed Parquet bill of three charges."""
    path = tmp_path / "bill.parquet"
    text = focus_file({"Tags": "{}"}, {"BilledCost": "0.1"}, {"EffectiveCost": "1e-9", "BilledCost": "2"})
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(PARQUET % (text, path))
    return path


def test_a_typed_parquet_file_is_a_bill(parquet, tmp_path):
    """Decimals, floats, times with and without zone, dates and maps are read as what they are."""
    with DuckCostStore(tmp_path / "costs") as store:
        report = store.ingest(parquet)

        assert (3, 0, ".parquet") == (report.rows_ingested, report.rows_rejected, Path(report.raw_path).suffix)
        assert {"USD": Decimal("3.6")} == {name: Decimal(amount) for name, amount in report.totals.items()}
        assert Decimal("2.500000001") == store.total(by="tag:team", measure="effective")[0].amount
        assert {"date_only", "naive_time"} == {mend.kind for mend in report.mends} - {"required_null"}


@pytest.mark.parametrize("left", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["parquet", "gz"])
def test_a_file_cut_in_the_middle_is_named(parquet, focus_text, tmp_path, kind, left):
    """A cut Parquet or gzip file is one clear error, and nothing of it counts."""
    whole = parquet.read_bytes() if kind == "parquet" else gzip.compress((focus_text({}) * 50).encode())
    cut = tmp_path / f"cut.{kind}"
    cut.write_bytes(whole[: int(len(whole) * left)])

    with DuckCostStore(tmp_path / "costs") as store:
        with pytest.raises(CostFileError, match=f"not a whole {'Parquet' if kind == 'parquet' else 'gzip'} file"):
            store.ingest(cut)
        assert (0, ()) == (store.coverage().rows, store.files())


def test_costs_beyond_the_type_are_rejected_by_name(focus_file, tmp_path):
    """More than 20 digits before the mark do not fit: the row is in the side file, not in a sum."""
    with DuckCostStore(tmp_path / "costs") as store:
        report = store.ingest(focus_file({}, {"BilledCost": "1" + "0" * 20}))

        assert {"out_of_range": 1} == report.rejected_by_reason
        with (store.directory / report.rejects_path).open(newline="") as handle:
            (side,) = csv.DictReader(handle)
        assert ("2", "BilledCost", "1" + "0" * 20) == (side["row"], side["column"], side["BilledCost"])


def test_numbers_beyond_the_type_stay_as_text(focus_file, tmp_path):
    """A price with more digits than the column takes is kept beside it, digit for digit."""
    with DuckCostStore(tmp_path / "costs") as store:
        report = store.ingest(focus_file({"ListUnitPrice": "0.00000000000000000000123"}))
        place = store.directory / "charges" / f"{report.digest.removeprefix('sha256:')}-mended.parquet"

        (kept,) = duckdb.sql(f"SELECT ListUnitPrice, co_wide FROM '{place}'").fetchall()
    assert (None, '{"ListUnitPrice": "0.00000000000000000000123"}') == kept


def test_columns_that_differ_in_case_are_both_kept(focus_file, tmp_path):
    """SQL does not tell `Id` from `ID`; the stored rows do."""
    with DuckCostStore(tmp_path / "costs") as store:
        report = store.ingest(focus_file({"x_id": "a", "x_ID": "b", "co_row": "c"}))
        place = store.directory / "charges" / f"{report.digest.removeprefix('sha256:')}.parquet"

        assert [("a", "b", "c")] == duckdb.sql(f'SELECT x_id, "x_x_ID_2", "x_co_row_2" FROM \'{place}\'').fetchall()


def test_a_tag_gives_the_same_whether_it_was_extracted_or_not(focus_file, tmp_path):
    """Sums by a tag that was not rolled up are made from the charges, mended rows and replaced periods included."""
    path = focus_file({"Tags": '{"team": "red"}'}, {"Tags": '{"team": "a\\"b"}', "BilledCost": "-2"}, {"Tags": "{bad"})
    october = {"BillingPeriodStart": "2024-10-01T00:00:00Z", "BillingPeriodEnd": "2024-11-01T00:00:00Z"}
    later = focus_file({"Tags": '{"team": "red"}', "BilledCost": "9"} | october, name="later.csv")
    found = {}
    for tags in ((), ("team",)):
        with DuckCostStore(tmp_path / f"costs{len(tags)}", tags=tags) as store:
            store.ingest(path)
            store.ingest(later)
            store.ingest(focus_file({"BilledCost": "1"} | october, name="new.csv"), overlap="replace-smaller")
            found[tags] = (store.total(by="tag:team"), store.daily(by="tag:team", before_credits=True))
    assert found[()] == found["team",]
    assert 3 == len(found[()][0])


@pytest.mark.parametrize("dialect", ["spark", "postgres"])
def test_the_queries_are_written_once(dialect):
    """Each query becomes another engine's SQL, and parses there."""
    for text in transpiled(dialect).values():
        assert sqlglot.parse_one(text, read=dialect)


@pytest.fixture
def spark():
    """A session of PySpark in this process; there is none without PySpark and a Java runtime."""
    if shutil.which("java") is None:
        not_run("there is no Java runtime for PySpark")
    try:
        import pyspark.sql as pyspark
    except ImportError:
        not_run("PySpark is not installed: pip install pyspark")
    builder = pyspark.SparkSession.builder.master("local[1]").config("spark.sql.shuffle.partitions", 1)
    session = builder.config("spark.ui.enabled", "false").config("spark.sql.session.timeZone", "UTC").getOrCreate()
    yield session
    session.stop()


@pytest.mark.soak
def test_spark_gives_the_same_rows(spark, tmp_path):
    """Every query over the sample gives row by row the same in Spark, to the last digit."""
    with DuckCostStore(tmp_path / "costs") as store:
        store.ingest(sample_path())
    bounds = {"$dimension": "'service'", "$first": "DATE '1900-01-01'", "$end": "DATE '2900-01-01'"}
    with duckdb.connect() as connection:
        files = sorted((tmp_path / "costs" / "charges").glob("*.parquet"))
        header = [row[0] for row in connection.execute(f"DESCRIBE FROM '{files[0]}'").fetchall()]
        connection.execute(f"CREATE TABLE charges AS {charges_view(files, header, ())}")
        connection.execute(f"CREATE TABLE rollups AS {rollup_query()}")
        for name in ("charges", "rollups"):
            place = str(tmp_path / f"{name}.parquet")
            connection.execute(f"COPY {name} TO '{place}' (FORMAT parquet)")
            spark.read.parquet(place).createOrReplaceTempView(name)
        for name, text in transpiled("spark").items():
            ours = rollup_query() if name == "rollups" else QUERIES[name].format(key="cost_key", amount="billed")
            for parameter, value in bounds.items():
                ours = ours.replace(parameter, value)
                text = text.replace(parameter, value).replace(f":{parameter[1:]}", value)  # noqa: PLW2901 - a query
            expected = connection.execute(ours).fetchall()
            assert expected, name
            assert Counter(expected) == Counter(tuple(row) for row in spark.sql(text).collect()), name


REPLACING = """
import os, signal, sys
from pathlib import Path
from companyos.finops.bulk import bills
from companyos.finops.bulk.staging import Staging
from companyos.finops.engines import sqlite
from companyos.finops.engines.duckdb import DuckCostStore
owner, name, before = eval(sys.argv[3]), sys.argv[4], sys.argv[5] == "before"
step = getattr(owner, name)
def killed(*arguments, **options):
    if not before:
        step(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, name, killed)
with DuckCostStore(Path(sys.argv[1])) as store:
    store.ingest(Path(sys.argv[2]), overlap="replace")
"""
STEPS = (
    ("sqlite", "_copy", "after", "old"),
    ("Staging", "_clean_in_bulk", "after", "old"),
    ("Staging", "add_up", "before", "old"),
    ("Path", "replace", "after", "old"),
    ("DuckCostStore", "_keep", "after", "old"),
    ("DuckCostStore", "_settle_overlap", "after", "old"),
    ("DuckCostStore", "_record", "before", "new"),
)


@pytest.mark.parametrize(("owner", "name", "side", "left"), STEPS)
def test_a_killed_replacement_is_the_old_or_the_new(tmp_path, owner, name, side, left):
    """After SIGKILL in any step the sums are those of before, or in the last one those of after; the next try succeeds."""
    place, over = tmp_path / "costs", plant_overspend(tmp_path / "over.csv")
    with DuckCostStore(place) as store:
        store.ingest(sample_path())
        before = store.total(by="service")

    process = subprocess.run([sys.executable, "-c", REPLACING, place, over, owner, name, side], check=False)

    with DuckCostStore(place) as store:
        after = store.total(by="service")
        store.ingest(over, overlap="replace")
        wanted = store.total(by="service")
    assert -signal.SIGKILL == process.returncode
    assert {"old": before, "new": wanted}[left] == after
    assert before != wanted


def test_a_look_gives_what_an_ingest_gives(focus_file, tmp_path):
    """What is added up without storing anything equals the sums of the store over the same plain file, day by day."""
    rows = ({"BilledCost": f"{n}.000000000000000{n:03}", "Tags": f'{{"team": "t{n % 3}"}}'} for n in range(40))
    path = focus_file(*rows)
    with DuckCostStore(tmp_path / "costs") as store:
        store.ingest(path)
        kept = {("2024-09-03", line.key): (line.amount, line.rows) for line in store.total(by="tag:team")}

    looked = {tuple(line.key.split("|")[1:]): (line.amount, line.rows) for line in aggregate(path, tag="team")}
    assert kept == looked
    assert 3 == len(kept)


@pytest.mark.parametrize(
    "row",
    [
        {"BilledCost": "1e3"},
        {"BillingCurrency": "usd"},
        {"ChargePeriodStart": "2024-02-30T00:00:00Z"},
        {"ServiceName": "NULL"},
        {"ServiceName": "Mach\0ines"},
        {"ChargeDescription": "\x01"},
        pytest.param({"ChargeDescription": "x" * scanner.LONGEST}, id="endless"),
    ],
)
def test_a_look_refuses_what_is_not_plain(focus_file, row):
    """A row that an ingest would mend or reject is never silently in a sum."""
    with pytest.raises(CostFileError, match="cannot be added up as it stands"):
        aggregate(focus_file({}, row))


def test_what_a_killed_ingest_left_is_swept_later(tmp_path):
    """Scratch directories older than a day go; a younger one may be somebody's."""
    with DuckCostStore(tmp_path / "costs") as store:
        old, young = store.directory / ".ingest-old", store.directory / ".ingest-young"
        for left in (old, young):
            left.mkdir()
        os.utime(old, (0, 0))
        store.ingest(sample_path())
    assert (False, True) == (old.exists(), young.exists())


def test_a_lost_partition_is_undeterminable(tmp_path):
    """Sums without a file that the catalogue counts are refused, never smaller."""
    with DuckCostStore(tmp_path / "costs") as store:
        store.ingest(sample_path())
        shutil.rmtree(store.directory / "rollups")
        with pytest.raises(StoreError, match="does not work"):
            store.total()


def test_a_store_is_opened_as_what_it_is(tmp_path):
    """The engine is chosen once, and asking for another is refused."""
    open_store(tmp_path / "small", engine="sqlite").close()
    open_store(tmp_path / "new").close()

    with open_store(tmp_path / "small") as small, open_store(tmp_path / "new") as new:
        assert (SqliteCostStore, DuckCostStore) == (type(small), type(new))
    with pytest.raises(StoreError, match="another engine"):
        open_store(tmp_path / "small", engine="duckdb")


def test_progress_is_told(tmp_path):
    """Each step is told from its start to its end."""
    told = []
    with DuckCostStore(tmp_path / "costs", progress=lambda step, share: told.append((step, share))) as store:
        store.ingest(sample_path())
    assert [("reading", 0.0), ("reading", 1.0), ("adding up", 0.0), ("adding up", 1.0)] == [
        entry for entry in told if entry[1] in {0.0, 1.0}
    ]


@given(content=st.text("a\r\n\0NUL,", max_size=40), block=st.integers(4, 9))
@example(content="a\naaaaaa\r\na", block=6)
@settings(deadline=None)
def test_a_look_at_bytes_does_not_depend_on_where_blocks_end(content, block):
    """What one look at a whole file finds is found in any blocks."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        path = Path(directory) / "bytes"
        path.write_bytes(content.encode())
        whole = scanner.scan(path)
        patch.setattr(scanner, "BLOCK", block)
        assert whole == scanner.scan(path)
