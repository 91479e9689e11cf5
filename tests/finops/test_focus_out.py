"""Our own spending leaves as FOCUS rows that stand up to the same rules as everybody's."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest

from companyos.cli import main
from companyos.errors import UserError
from companyos.finops.budgets import BudgetPolicy
from companyos.finops.budgets.specimens import Scene
from companyos.finops.columns import mandatory
from companyos.finops.conformance import load_model, validate
from companyos.finops.focus_out import LlmSpend, focus_csv, settled_spend

D = Decimal
POLICY = {
    "timezone": "Europe/Berlin",
    "levels": {
        "acme": [{"period": "month", "limit": 1000}, {"period": "month", "limit": 10**6, "unit": "tokens"}],
        "acme/search": [{"period": "day", "limit": 100}],
        "lab": [{"period": "day", "limit": 10**6, "unit": "tokens"}],
    },
}


@pytest.fixture
def scene(tmp_path):
    """A budget whose spending is settled in two months, by two providers, refunded once, without money once."""
    (tmp_path / "scene").mkdir()
    scene = Scene(tmp_path / "scene", BudgetPolicy.parse(POLICY))

    def spend(amount, tokens, at, task="acme/search/ranking/r1", provider="openai", model="gpt-4o"):
        scene.at(at)
        held = scene.budget.reserve(D(50), tokens=9000, task=task, currency="EUR", provider=provider, model=model)
        held.settle(D(amount), tokens=tokens)

    spend("0.12345678", 1200, "2026-03-31 23:30")
    spend("0.000000019", 7, "2026-04-01 01:59")
    spend("3.10", 800, "2026-04-01 02:00", task="acme/sales", provider="anthropic", model="claude")
    spend("0", 0, "2026-04-02 12:00", task="acme", provider=None, model=None)
    scene.budget.reserve(D(9), tokens=9, task="acme", currency="EUR").refund()
    scene.budget.reserve(tokens=500, task="lab").settle(tokens=400)
    yield scene
    scene.close()


def read(text):
    """The rows of a CSV text."""
    return list(csv.DictReader(io.StringIO(text)))


def test_settlements_become_rows(scene):
    """Amounts as the budget counts them (rounded up at the eighth digit), hours and months in UTC, names in tags."""
    spend, moneyless = settled_spend(scene.ledger.read())
    rows = read(focus_csv(spend))

    assert moneyless == 1
    assert [row["BilledCost"] for row in rows] == ["0.12345678", "0.00000002", "3.10", "0.00"]
    assert [row["ChargePeriodStart"] for row in rows[:3]] == [
        "2026-03-31T21:00:00Z",
        "2026-03-31T23:00:00Z",
        "2026-04-01T00:00:00Z",
    ]
    assert [row["BillingPeriodStart"][:7] for row in rows] == ["2026-03", "2026-03", "2026-04", "2026-04"]
    assert [row["BillingPeriodEnd"][:10] for row in rows] == ["2026-04-01", "2026-04-01", "2026-05-01", "2026-05-01"]
    assert [row["ConsumedQuantity"] for row in rows] == ["1200.00", "7.00", "800.00", "0.00"]
    assert json.loads(rows[0]["Tags"]) == {"company": "acme", "team": "search", "feature": "ranking", "run": "r1"}
    assert (rows[0]["ServiceCategory"], rows[0]["ConsumedUnit"], rows[0]["SkuMeter"]) == (
        "AI and Machine Learning",
        "Tokens",
        "Tokens",
    )
    assert (rows[2]["ProviderName"], rows[3]["ProviderName"]) == ("anthropic", "(unspecified)")


def test_days_are_half_open_and_utc(scene):
    """An hour after midnight in Berlin is the day before."""
    entries = list(scene.ledger.read())
    days = date(2026, 4, 1), date(2026, 4, 2)

    assert [one.amount for one in settled_spend(entries, *days)[0]] == [D("3.10")]
    assert len(settled_spend(entries, None, days[0])[0]) == 2


@pytest.mark.parametrize("version", ["1.2", "1.4"])
def test_the_rows_go_into_the_same_store_exactly(scene, store, tmp_path, version):
    """Nothing is mended or rejected, the version is found again, and sums equal what the budget says was spent."""
    path = tmp_path / "llm.csv"
    path.write_text(focus_csv(settled_spend(scene.ledger.read())[0], version), encoding="utf-8")

    report = store.ingest(path)

    assert (report.version, report.rows_ingested, report.rows_rejected, report.mends, report.stray_columns) == (
        version,
        4,
        0,
        (),
        (),
    )
    spent = sum(one.spent for one in scene.budget.levels() if one.key.startswith("acme:EUR:"))
    assert [line.amount for line in store.total()] == [D(spent).scaleb(-8)] == [D("3.2234568")]
    assert {line.key: line.amount for line in store.total(by="tag:team")} == {
        "search": D("0.1234568"),
        "sales": D("3.1"),
        "(none)": D(0),
    }


def test_the_rows_stand_up_to_the_rules(scene, tmp_path):
    """No rule of FOCUS 1.2 is violated; we have no price lists, regions or resources."""
    path = tmp_path / "llm.csv"
    path.write_text(focus_csv(settled_spend(scene.ledger.read())[0]), encoding="utf-8")

    found = validate(path, load_model(), lacks=["ALL"])

    assert found.of("failed") == ()
    assert [one.id for one in found.of("warned")] == ["CostAndUsage-D-033-O"]  # no InvoiceId: nobody sends us one
    assert found.counts["passed"] > 100
    tokens = path.read_text().replace("Usage-Based", "Per-Token")
    path.write_text(tokens)
    assert validate(path, load_model(), lacks=["ALL"]).of("failed")


def test_every_mandatory_column_of_1_4_is_there():
    """And those that 1.4 dropped are not."""
    header = set(focus_csv([], "1.4").strip().split(","))
    assert mandatory("1.4") <= header
    assert not header & {"ProviderName", "PublisherName"}


def test_the_same_spending_is_the_same_file():
    """In whatever order it comes; tokens that are told apart are in columns of their own."""
    at = datetime(2026, 3, 2, 11, 5, tzinfo=UTC)
    some = [
        LlmSpend(
            name, at, D(1), "EUR", "openai", "gpt-4o", "a/b", tokens=6, input_tokens=3, output_tokens=2, cache_tokens=1
        )
        for name in "cab"
    ]

    assert focus_csv(some) == focus_csv(reversed(some))
    (row, *_) = read(focus_csv(some))
    assert (row["x_ReservationId"], row["x_InputTokens"], row["x_OutputTokens"], row["x_CacheTokens"]) == (
        "a",
        "3",
        "2",
        "1",
    )


def test_a_settlement_that_was_written_twice_counts_once(scene):
    """With the larger amount, as the budget counts it."""
    entries = [one for one in scene.ledger.read() if one.type.endswith(".settled")]
    charges = entries[0].data["charges"]
    more = dict(entries[0].data) | {"actual": [[key, 5 * 10**8] for key, *_ in charges]}
    twice = SimpleNamespace(type=entries[0].type, source=entries[0].source, data=more)

    once = settled_spend(entries)[0]
    both = settled_spend([*entries, twice])[0]

    assert len(both) == len(once)
    assert both[0].amount == D(5)


@pytest.mark.parametrize(
    "wrong",
    [{"currency": "TOK"}, {"at": datetime.fromisoformat("2026-01-01")}, {"tokens": -1}],
    ids=["currency", "zone", "tokens"],
)
def test_spending_that_makes_no_sense_is_refused(wrong):
    """Before it is in any file."""
    good = {"id": "a", "at": datetime(2026, 1, 1, tzinfo=UTC), "amount": D(1), "currency": "EUR"}
    with pytest.raises(UserError):
        LlmSpend(**good | {"provider": None, "model": None, "task": "a"} | wrong)


def test_the_command_writes_the_same_bytes_again(tmp_path, monkeypatch, capsys):
    """From the ledger of a company; the file is a bill that is ingested like any other."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "companyos.yaml").write_text("company:\n  name: acme\n", encoding="utf-8")
    (tmp_path / "finops.yaml").write_text("timezone: UTC\nlevels:\n  acme: [{period: month, limit: 100}]\n")
    assert main(["budget", "reserve", "20", "--task", "acme/search", "--id", "job-1"]) == 0
    assert main(["budget", "settle", "job-1", "12.5"]) == 0
    capsys.readouterr()

    assert main(["finops", "export-llm", "-o", "a.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 1
    assert main(["finops", "export-llm", "-o", "b.csv", "--from", "2020-01-01"]) == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert main(["finops", "ingest", "a.csv"]) == 0
    capsys.readouterr()
    assert main(["finops", "report", "--by", "team", "--csv"]) == 0
    assert "search,EUR,12.5" in capsys.readouterr().out
