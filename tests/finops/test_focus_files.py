"""Reading FOCUS files: what is mended, what is rejected, what is an error."""

from __future__ import annotations

import csv
from decimal import Decimal

import pytest

from companyos.finops import AmbiguousNumbersError, CostFileError, FocusFile, MissingColumnsError
from companyos.finops.columns import KNOWN, VERSIONS, detect_version, mandatory
from companyos.finops.money import parse_number, plain


def mends_of(report):
    return {(mend.kind, mend.column): (mend.count, mend.first_rows) for mend in report.mends}


@pytest.mark.parametrize(
    ("column", "text", "kind", "kept"),
    [
        ("ChargeClass", "NULL", "text_null", None),
        ("ChargeClass", "null", "text_null", None),
        ("ChargePeriodStart", "2024-09-03 00:00:00", "space_date", "2024-09-03T00:00:00Z"),
        ("ChargePeriodStart", "2024-09-03T00:00:00", "naive_time", "2024-09-03T00:00:00Z"),
        ("ChargePeriodStart", "2024-09-03", "date_only", "2024-09-03T00:00:00Z"),
        ("ChargePeriodStart", "2024-09-03T01:30:00+02:00", "offset_time", "2024-09-02T23:30:00Z"),
        ("ChargePeriodStart", "2024-09-03T00:00:00.250Z", "fraction_of_second", "2024-09-03T00:00:00Z"),
        ("BilledCost", "1.234,56", "grouped_comma_mark", "1234.56"),
        ("BilledCost", "-1.234.567,8", "grouped_comma_mark", "-1234567.8"),
        ("BilledCost", "1,234.56", "grouped_dot_mark", "1234.56"),
        ("BilledCost", "0,125", "decimal_comma", "0.125"),
        ("BilledCost", " 7.5 ", "white_space", "7.5"),
        ("BillingCurrency", "usd", "value_case", "USD"),
        ("ChargeCategory", "usage", "value_case", "Usage"),
        ("ChargeCategory", "Bonus", "unknown_value", "Bonus"),
        ("ListCost", "", "required_null", None),
        ("Tags", "{not json", "bad_tags", "{not json"),
        ("AvailabilityZone", "0.02", "number_for_text", "0.02"),
    ],
)
def test_what_has_one_meaning_is_mended_and_reported(focus_file, store, column, text, kind, kept):
    """A quirk with one possible meaning is mended, counted, and named with its first row."""
    report = store.ingest(focus_file({}, {column: text}))

    assert (1, (2,)) == mends_of(report)[kind, column]
    (charge,) = [item for item in FocusFile(store.directory / report.raw_path).rows() if item.row == 2]
    assert kept == charge.record.get(column)


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        ("BilledCost", "twelve", "bad_number"),
        ("BilledCost", "1,234", "bad_number"),
        ("BilledCost", "NaN", "bad_number"),
        ("BilledCost", "Infinity", "bad_number"),
        ("BilledCost", "$5", "bad_number"),
        ("BilledCost", "1e99", "bad_number"),
        ("BilledCost", "٣", "bad_number"),
        ("BilledCost", "9" * 5000, "bad_number"),
        ("ConsumedQuantity", "many", "bad_number"),
        ("BilledCost", "", "missing_value"),
        ("EffectiveCost", "NULL", "missing_value"),
        ("BillingCurrency", "NULL", "missing_value"),
        ("BillingCurrency", "XQZ", "unknown_currency"),
        ("BillingCurrency", "dollars", "unknown_currency"),
        ("ChargePeriodStart", "03/09/2024", "bad_time"),
        ("ChargePeriodStart", "2024-02-30T00:00:00Z", "bad_time"),
        ("ChargePeriodStart", "0001-01-01T00:00:00+10:00", "bad_time"),
        ("ChargePeriodEnd", "2024-09-03T00:00:00Z", "period_reversed"),
        ("BillingPeriodEnd", "2024-08-01T00:00:00Z", "period_reversed"),
        ("ServiceName", "a\0b", "nul_byte"),
    ],
)
def test_what_has_no_certain_meaning_is_rejected_with_its_reason(focus_file, store, column, text, reason):
    """A row that cannot be trusted goes to the side file with number, reason and content, and is not added up."""
    report = store.ingest(focus_file({}, {column: text}, {}))

    assert (3, 2, 1) == (report.rows_read, report.rows_ingested, report.rows_rejected)
    assert {reason: 1} == report.rejected_by_reason
    with (store.directory / report.rejects_path).open(newline="") as handle:
        (side,) = csv.DictReader(handle)
    assert ("2", reason) == (side["row"], side["reason"])
    assert Decimal(3) == store.total()[0].amount


@pytest.mark.parametrize("quantity", ["9223372036854775808", "-9223372036854775809", "1E-7", "+.5", "3."])
def test_numbers_of_any_plain_size_are_kept_exactly(focus_file, store, quantity):
    """Quantities beyond 64 bits and exponents are ordinary FOCUS numbers."""
    report = store.ingest(focus_file({"ConsumedQuantity": quantity}))

    assert 1 == report.rows_ingested
    (charge,) = FocusFile(store.directory / report.raw_path).rows()
    assert Decimal(quantity) == Decimal(charge.record["ConsumedQuantity"])


def test_a_number_is_not_read_two_ways_in_one_file(focus_file, store):
    """Where a decimal comma meets a number like 1.234, the file is refused until its mark is stated."""
    whole = dict.fromkeys(("ContractedCost", "EffectiveCost", "ListCost"), "1")
    path = focus_file(whole | {"BilledCost": "12,5"}, whole | {"BilledCost": "1.234"})

    with pytest.raises(AmbiguousNumbersError, match="row 2"):
        store.ingest(path)
    assert () == store.total()
    assert Decimal("1246.5") == Decimal(store.ingest(path, number_style=",").totals["USD"])


@pytest.mark.parametrize(
    ("text", "style", "value"),
    [("1.234", ".", "1.234"), ("1.234", ",", "1234"), ("1,234", ".", "1234"), ("1,234", ",", "1.234"), ("5", ",", "5")],
)
def test_a_stated_decimal_mark_settles_every_number(text, style, value):
    """With the mark stated, each number has exactly one reading."""
    assert Decimal(value) == parse_number(text, style)[0]


@pytest.mark.parametrize(
    ("amount", "text"), [("1", "1.00"), ("1.50", "1.50"), ("0.00000080000", "0.0000008"), ("-2E+3", "-2000.00")]
)
def test_amounts_are_shown_plainly(amount, text):
    """No exponents, at least cents, no noise behind."""
    assert text == plain(Decimal(amount))


@pytest.mark.parametrize(
    ("encode", "kind"),
    [
        (lambda text: b"\xef\xbb\xbf" + text.encode(), "byte_order_mark"),
        (lambda text: text.encode("utf-16"), "utf_16"),
        (lambda text: text.rstrip("\n").encode(), "no_final_newline"),
        (lambda text: text.replace("\n", "\n\n", 1).encode(), "blank_line"),
        (lambda text: text.replace("BilledCost", "billedcost").encode(), "column_name"),
    ],
)
def test_quirks_of_the_whole_file_are_mended(tmp_path, focus_text, store, encode, kind):
    """Byte order marks, UTF-16, blank lines and other spellings of column names do not change the result."""
    path = tmp_path / "bill.csv"
    path.write_bytes(encode(focus_text({}, {"ServiceName": 'Máquinas, "grandes"'})))

    report = store.ingest(path)

    assert kind in {mend.kind for mend in report.mends}
    assert 2 == report.rows_ingested
    assert {"Machines", 'Máquinas, "grandes"'} == {line.key for line in store.total(by="service")}


@pytest.mark.parametrize("ending", ["\r\n", "\r"])
def test_line_ends_of_other_systems_are_plain_csv(tmp_path, focus_text, store, ending):
    """CRLF is what RFC 4180 says and CR alone is harmless: neither is a mend."""
    path = tmp_path / "bill.csv"
    path.write_bytes(focus_text({}, {}).replace("\n", ending).encode())

    report = store.ingest(path)

    assert (2, ()) == (report.rows_ingested, report.mends)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_are_found_from_the_header(focus_file, store, delimiter):
    """The delimiter is the one that yields known column names."""
    assert 1 == store.ingest(focus_file({}, delimiter=delimiter)).rows_ingested


def test_a_line_break_inside_quotes_stays_inside_its_field(focus_file, store):
    """A quoted field may span lines without becoming rows."""
    report = store.ingest(focus_file({"ServiceName": "two\nlines"}, {}))

    assert 2 == report.rows_read
    assert "two\nlines" in {line.key for line in store.total(by="service")}


def test_ragged_rows_are_rejected_one_by_one(tmp_path, focus_text, store):
    """A row with too many or too few fields cannot be placed under the header."""
    path = tmp_path / "bill.csv"
    good = focus_text({})
    path.write_text(good + "1,2,3\n" + good.splitlines()[1] + ",more\n" + good.splitlines()[1] + "\n")

    report = store.ingest(path)

    assert ({"ragged": 2}, 2) == (report.rejected_by_reason, report.rows_ingested)


def test_a_file_cut_in_the_middle_of_a_row_says_so(tmp_path, focus_text, store):
    """The last, incomplete row is rejected as truncated, not as merely ragged."""
    path = tmp_path / "bill.csv"
    path.write_text(focus_text({}, {})[:-60])

    report = store.ingest(path)

    assert {"truncated": 1} == report.rejected_by_reason
    assert "no_final_newline" in {mend.kind for mend in report.mends}


def test_files_joined_end_to_end_lose_only_the_second_header(tmp_path, focus_text, store):
    """A header in the middle is set aside and the rows after it count."""
    path = tmp_path / "bill.csv"
    path.write_text(focus_text({}) + focus_text({}))

    report = store.ingest(path)

    assert ({"repeated_header": 1}, 2) == (report.rejected_by_reason, report.rows_ingested)
    assert 0 == store.coverage().rows_rejected


GOOD = "BilledCost"
BAD_FILES = {
    "empty": (b"", "is empty"),
    "latin-1": ("Bill\xe9\n".encode("latin-1") * 3, "not utf-8 text"),
    "gzip": (b"\x1f\x8b\x08\x00rest", "is gzip|not a whole gzip file"),
    "parquet": (b"PAR1rest", "is Parquet|not a whole Parquet file"),
    "spreadsheet": (b"PK\x03\x04rest", "spreadsheet"),
    "utf-16 without mark": ("BilledCost,x\n".encode("utf-16-le"), "NUL bytes in its header"),
    "no columns of ours": (b"a,b\n1,2\n", "lacks mandatory columns"),
    "a million columns": (b"c," * 1_000_000 + b"c\n", "too many columns"),
    "one endless line": (b"BilledCost\n" + b"x" * 5_000_000, "lacks mandatory columns"),
    "twice the same column": (b"BilledCost,BilledCost\n1,2\n", "names columns twice"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_not_focus_csv_is_one_clear_error(tmp_path, store, name):
    """Whatever is wrong with the file as a whole is named, and nothing of it stays behind."""
    content, message = BAD_FILES[name]
    path = tmp_path / "bill.csv"
    path.write_bytes(content)

    with pytest.raises(CostFileError, match=message):
        store.ingest(path)
    assert [] == [
        p for p in store.directory.rglob("*") if p.is_file() and not p.name.startswith(("costs.db", "catalog.db"))
    ]
    assert 0 == store.coverage().rows


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        ('"never closed\n', "not well-formed CSV"),
        ('"closed" then more,\n', "not well-formed CSV"),
        (f'"{"y" * 200_000}"\n', "not well-formed CSV"),
        (f"{'z' * 5_000_000}\n", "line that is too long"),
        ("\udce9\n", "not utf-8 text"),
    ],
)
def test_broken_quoting_and_huge_fields_stop_the_whole_file(tmp_path, focus_text, store, tail, message):
    """Behind a broken quote text could pass for rows, so nothing of the file is taken."""
    path = tmp_path / "bill.csv"
    path.write_bytes((focus_text({}, {}) + tail).encode("utf-8", "surrogateescape"))

    with pytest.raises(CostFileError, match=message):
        store.ingest(path)
    assert 0 == store.coverage().rows


def test_a_file_of_which_nothing_can_be_read_is_an_error(focus_file, store):
    """Rejecting every row is no ingest."""
    with pytest.raises(CostFileError, match=r"no row of bill\.csv") as caught:
        store.ingest(focus_file({"BilledCost": "x"}, {"BillingCurrency": ""}))
    assert "1 x bad_number, 1 x missing_value" == caught.value.got


def test_missing_mandatory_columns_are_all_named(focus_file, store):
    """The error lists every column that is missing."""
    with pytest.raises(MissingColumnsError) as caught:
        store.ingest(focus_file({}, drop=("BilledCost", "PricingUnit")))
    assert "19 columns; missing: BilledCost, PricingUnit" == caught.value.got


@pytest.mark.parametrize(
    ("add", "drop", "version"),
    [
        ({}, (), "1.0"),
        ({"SkuMeter": "m"}, (), "1.1"),
        ({"InvoiceId": "i"}, (), "1.2"),
        ({"ServiceProviderName": "S", "HostProviderName": "H"}, (), "1.3"),
        ({"ServiceProviderName": "S", "HostProviderName": "H"}, ("ProviderName", "PublisherName"), "1.4"),
    ],
)
def test_the_version_is_found_from_the_columns(focus_file, store, add, drop, version):
    """The lowest version that knows all the columns is recorded, and the provider found under its name."""
    report = store.ingest(focus_file(add, drop=drop))

    assert version == report.version
    assert add.get("ServiceProviderName", "Cloud") == store.total(by="provider")[0].key


def test_the_column_counts_are_those_of_the_specification():
    """43, 50, 57 and 65 columns; 21 mandatory ones in 1.0 to 1.2."""
    assert [21, 21, 21, 23, 21] == [len(mandatory(version)) for version in VERSIONS]
    assert all(mandatory(version) <= KNOWN for version in VERSIONS)
    assert "1.0" == detect_version([])


def test_custom_and_stray_columns_are_kept_and_told_apart(focus_file, store):
    """`x_` columns are custom, others that FOCUS does not know are stray; both stay with their row."""
    report = store.ingest(focus_file({"x_team": "red", "Id": "7"}))

    assert (("x_team",), ("Id",)) == (report.custom_columns, report.stray_columns)
    (charge,) = FocusFile(store.directory / report.raw_path).rows()
    assert ("red", "7") == (charge.record["x_team"], charge.record["Id"])
