"""Whatever bytes come in: rows add up, sums are exact, errors are ours."""

from __future__ import annotations

import csv
import io
import tempfile
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from companyos.finops import CostFileError, OverlapError, SqliteCostStore
from companyos.finops.money import parse_number
from companyos.finops.samples import sample_path

SAMPLE = sample_path().read_bytes()
LINES = SAMPLE.splitlines(keepends=True)
AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False, places=11, min_value=-(10**9), max_value=10**9)
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def ingest(content: bytes):
    """The report on a file with that content and the sum that the store then gives, or the error."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "bill.csv"
        path.write_bytes(content)
        with SqliteCostStore(Path(directory) / "costs") as store:
            try:
                report = store.ingest(path)
            except (CostFileError, OverlapError) as error:
                assert 0 == store.coverage().rows
                return error, None
            lines = 0
            if report.rejects_path:
                with (store.directory / report.rejects_path).open(encoding="utf-8", newline="") as handle:
                    lines = sum(1 for _ in csv.reader(handle)) - 1
            assert report.rows_rejected == lines
            return report, store.total()


def check(content: bytes) -> None:
    report, totals = ingest(content)
    if totals is not None:
        assert report.rows_read == report.rows_ingested + report.rows_rejected
        assert report.rows_ingested == sum(line.rows for line in totals)


@QUICK
@given(st.binary(max_size=400))
def test_any_bytes_are_an_ingest_or_an_error_of_ours(content):
    """No input makes the parser fail in another way."""
    check(content)


@QUICK
@given(st.text(max_size=300))
def test_any_text_under_a_real_header_keeps_the_books(text):
    """Rows read are rows ingested plus rows rejected, whatever stands below the header."""
    check(LINES[0] + LINES[1] + text.encode("utf-8", "surrogatepass"))


@QUICK
@given(st.integers(0, 5000), st.binary(min_size=1, max_size=8))
def test_a_damaged_real_file_keeps_the_books(position, damage):
    """Overwriting bytes anywhere in a real file is noticed as an error, a rejection, or harmless text."""
    content = b"".join(LINES[:12])
    position %= len(content)
    check(content[:position] + damage + content[position + len(damage) :])


@QUICK
@given(st.integers(0, 5000))
def test_a_file_cut_anywhere_keeps_the_books(length):
    """No cut makes rows vanish without a word."""
    check(b"".join(LINES[:12])[:length])


@QUICK
@given(st.lists(AMOUNTS, min_size=1, max_size=20))
def test_sums_equal_rational_arithmetic(amounts):
    """The total is the mathematical sum of what was written."""
    header = next(csv.reader(io.StringIO(LINES[0].decode())))
    values = next(csv.reader(io.StringIO(LINES[1].decode())))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    for amount in amounts:
        writer.writerow(
            [f"{amount:f}" if name == "BilledCost" else value for name, value in zip(header, values, strict=True)]
        )

    _, (line,) = ingest(text.getvalue().encode())

    assert sum(map(Fraction, amounts)) == Fraction(line.amount)


@given(st.text(max_size=40), st.sampled_from(["auto", ".", ","]))
def test_any_text_is_a_number_or_a_value_error(text, style):
    """The number reader gives finite decimals or says no."""
    try:
        value, _ = parse_number(text, style)
    except ValueError:
        return
    assert value.is_finite()


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=6))
def test_every_notation_of_a_number_reads_back_as_itself(value):
    """Plain, grouped with a dot mark and grouped with a comma mark are the same number."""
    grouped = f"{value:,f}"
    swapped = grouped.translate(str.maketrans(",.", ".,"))

    assert value == Decimal(parse_number(f"{value:f}", ".")[0])
    assert value == Decimal(parse_number(grouped, ".")[0])
    assert value == Decimal(parse_number(swapped, ",")[0])
