"""Reports: CSV and HTML, and costs converted by dated rates."""

from __future__ import annotations

import csv
import io
from datetime import date
from decimal import Decimal
from xml.etree import ElementTree as ET

import pytest

from companyos.cli import main
from companyos.finops import RateError, Rates
from companyos.finops.charts import html_report
from companyos.finops.interface import CostLine

RATES = "date,from,to,rate\n2024-09-02,USD,EUR,0.90\n2024-09-05,USD,EUR,0.8\n"


@pytest.fixture
def rates(tmp_path):
    """A file of rates from dollars to euros."""
    path = tmp_path / "rates.csv"
    path.write_text(RATES)
    return path


def test_the_latest_rate_before_a_day_holds_for_a_week(rates):
    """On its day and over a weekend; before the first, after a week, and backwards there is none."""
    table = Rates.load(rates)

    found = [table.rate("USD", "EUR", date(2024, 9, day)) for day in (2, 4, 5, 12)]
    assert [Decimal("0.90"), Decimal("0.90"), Decimal("0.8"), Decimal("0.8")] == found
    assert Decimal(1) == table.rate("EUR", "EUR", date(2020, 1, 1))
    for currency, target, day in (("USD", "EUR", 1), ("USD", "EUR", 13), ("EUR", "USD", 5)):
        with pytest.raises(RateError, match="no rate from"):
            table.rate(currency, target, date(2024, 9, day))


@pytest.mark.parametrize(
    "text",
    [
        "", "day,rate\n", "date,from,to,rate\n2024-13-01,USD,EUR,1\n", "date,from,to,rate\n2024-09-02,USD,XQZ,1\n",
        "date,from,to,rate\n2024-09-02,USD,EUR,-1\n", "date,from,to,rate\n2024-09-02,USD,EUR,NaN\n",
        "date,from,to,rate\n2024-09-02,USD\n", RATES + "2024-09-05,USD,EUR,0.7\n",
    ],
)  # fmt: skip
def test_a_table_that_is_wrong_anywhere_is_refused(tmp_path, text):
    """Days, codes, amounts and doubles are named with their line."""
    path = tmp_path / "rates.csv"
    path.write_text(text)
    with pytest.raises(RateError, match=r"rates\.csv"):
        Rates.load(path)


@pytest.fixture
def mixed(focus_file, tmp_path, monkeypatch, capsys):
    """The command line over a store with charges in two currencies; gives status and stdout."""
    monkeypatch.chdir(tmp_path)
    dollars = {
        "BilledCost": "10",
        "ChargePeriodStart": "2024-09-04T00:00:00Z",
        "ChargePeriodEnd": "2024-09-05T00:00:00Z",
    }
    euros = {"BilledCost": "1", "BillingCurrency": "EUR", "Tags": '{"team": "<b>red</b>"}'}
    assert 0 == main(["finops", "ingest", str(focus_file(dollars, euros)), "--store", "costs"])
    capsys.readouterr()

    def call(*arguments):
        code = main(["finops", "report", "--store", "costs", *map(str, arguments)])
        return code, capsys.readouterr().out

    return call


def test_currencies_are_added_only_by_dated_rates(mixed, rates):
    """Without rates each currency has its line; with them each day is converted at its own rate, exactly."""
    _, separate = mixed("--csv")
    assert {("Machines", "USD", "10.00"), ("Machines", "EUR", "1.00")} == {
        (row["service"], row["currency"], f"{Decimal(row['billed']):.2f}")
        for row in csv.DictReader(io.StringIO(separate))
    }

    _, together = mixed("--csv", "--in", "EUR", "--rates", rates)
    (row,) = csv.DictReader(io.StringIO(together))
    assert ("EUR", Decimal(10), "2") == (row["currency"], Decimal(row["billed"]), row["charges"])


def test_a_rate_that_is_missing_refuses_the_report(mixed, rates):
    """No sum is made of a part of the costs."""
    rates.write_text("date,from,to,rate\n2024-01-01,USD,EUR,0.9\n")
    assert 2 == mixed("--in", "EUR", "--rates", rates)[0]
    assert 2 == mixed("--in", "EUR")[0]
    assert 2 == mixed("--csv", "--json")[0]


def test_team_and_feature_are_tags(mixed):
    """`--by team` is `--by tag:team`."""
    assert mixed("--by", "tag:team") == mixed("--by", "team")
    assert "<b>red</b>" in mixed("--by", "team")[1]


def test_the_html_report_stands_alone(mixed, tmp_path):
    """One file without scripts or addresses, what comes from bills escaped, a titled chart and a table a currency."""
    assert 0 == mixed("--by", "team", "--html", tmp_path / "report.html")[0]
    text = (tmp_path / "report.html").read_text()

    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert "&lt;b&gt;red&lt;/b&gt;" in text
    assert (4, 2, 4) == (text.count("<svg role="), text.count("<table>"), text.count("<figcaption>"))
    ET.fromstring(f"<body>{text.split('<body>')[1].split('</body>')[0]}</body>")


def test_bars_show_credits_and_nothing():
    """A credit has its own colour; no costs say so."""
    credit = CostLine("refund", "USD", Decimal(-5), 1)
    assert 'class="credit"' in html_report([credit], [], by="service", measure="billed", extract="x")
    assert "No costs." in html_report([], [], by="service", measure="billed", extract="x")
