"""The weekly digest, and the Cost Notes of a pull request."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from companyos.cli import main
from companyos.config import Settings
from companyos.errors import UserError
from companyos.finops import SqliteCostStore, cost_note, period_at
from companyos.finops.budgets import SOURCE
from companyos.finops.budgets.specimens import Scene
from companyos.finops.digest import NotSupplied, build_digest, ledger_view, to_html, to_markdown, week_of
from companyos.finops.samples import AS_OF, plant_overspend, sample_path

BUDGETS = Settings().finops.budgets
WEEK = week_of("2024-W40", AS_OF)


@pytest.fixture
def sampled(tmp_path):
    """A store with the sample: six weeks that end on Sunday 2024-10-06."""
    with SqliteCostStore(tmp_path / "sampled") as store:
        store.ingest(sample_path())
        yield store


def test_the_week_is_compared_over_the_days_that_are_reported(sampled):
    """Totals are exact sums of the store over the same days of both weeks; the forecast is that of the gate."""
    digest = build_digest(sampled, BUDGETS, week=WEEK, as_of=AS_OF)
    (total,) = digest.totals

    assert (digest.label, digest.through) == ("2024-W40", date(2024, 10, 5))
    assert total.amount == sampled.total(date(2024, 9, 30), date(2024, 10, 5))[0].amount
    assert total.before == sampled.total(date(2024, 9, 23), date(2024, 9, 28))[0].amount
    assert total.before_whole == sampled.total(date(2024, 9, 23), date(2024, 9, 30))[0].amount
    assert [one.reason for one in digest.budgets] == ["budget.within"]
    assert (BUDGETS[0].target, digest.budgets[0].facts["target"]) == (300, "300.00")
    assert max(digest.moves, key=lambda move: abs(move.change)) == digest.moves[0]


def test_a_week_that_is_over_is_told_as_of_its_end(sampled):
    """However late it is asked for, a past week has the same digest, byte for byte, with no day left open."""
    late = datetime(2026, 1, 1, tzinfo=UTC)
    digest = build_digest(sampled, BUDGETS, week=week_of("2024-W39", late), as_of=late)
    again = build_digest(sampled, BUDGETS, week=week_of("2024-W39", AS_OF), as_of=AS_OF)

    assert digest == again
    assert (to_markdown(digest), to_html(digest)) == (to_markdown(again), to_html(again))
    assert digest.budgets[0].facts["method"] == "all_reported"
    assert digest.through == date(2024, 9, 30)


def test_what_is_missing_is_said_and_never_a_zero(tmp_path):
    """Without costs, ledger or releases each part says what it lacks, and the gate could not judge."""
    with SqliteCostStore(tmp_path / "empty") as store:
        digest = build_digest(store, BUDGETS, week=WEEK, as_of=AS_OF)
    parts = (digest.totals, digest.levels, digest.units, digest.anomalies, digest.releases)

    assert all(isinstance(part, NotSupplied) for part in parts)
    assert digest.budgets[0].exit_status == 3
    assert to_markdown(digest).count("Not supplied: ") == 5
    assert [digest.to_dict()[name]["supplied"] for name in ("totals", "dora", "units")] == [False] * 3


@pytest.mark.parametrize("text", ["2024-W54", "2024-40", "2024-W00", "week 40", "2024-W41"])
def test_a_week_that_is_none_is_refused(text):
    """So is one that has not begun."""
    with pytest.raises(UserError, match="no week"):
        week_of(text, AS_OF)


def test_without_a_week_it_is_the_last_that_is_over():
    """On any day of week 40 that is week 39."""
    assert {week_of(None, datetime(2024, 10, day, tzinfo=UTC)).start for day in (1, 5, 6)} == {date(2024, 9, 23)}
    assert period_at("week", AS_OF) == WEEK


CONSUMED = (
    ("rank", "Tokens", "2000000", "4.00", "input tokens", 1, "tokens", "0.002000"),
    ("chat", "1K Tokens", "500", "2.50", "output tokens", 1, "tokens", "0.005000"),
    ("train", "Hours", "12.5", "40.00", "p4d with 8 GPU", 1, "gpu_hours", "3.200000"),
    ("rank", "GPU-Hours", "2", "5.00", "", 1, "gpu_hours", "2.500000"),
    ("chat", "Requests", "1000", "0.50", "", 1, "requests", "0.000500"),
    ("web", "Hours", "24", "3.00", "m5.large", 0, None, None),
    ("web", "Hours", "24", "3.00", "gpuless", 0, None, None),
)


@pytest.fixture
def llm_bill(focus_file):
    """A bill of one day in week 40 with tokens, requests and hours of GPUs; and the week before, twice as dear."""

    def row(day, feature, unit, quantity, cost, text):
        return {
            "BillingPeriodStart": f"{day[:8]}01T00:00:00Z",
            "BillingPeriodEnd": "2024-10-01T00:00:00Z" if day < "2024-10" else "2024-11-01T00:00:00Z",
            "ChargePeriodStart": f"{day}T00:00:00Z",
            "ChargePeriodEnd": f"{day}T23:00:00Z",
            "BilledCost": cost,
            "EffectiveCost": cost,
            "ConsumedUnit": unit,
            "ConsumedQuantity": quantity,
            "ChargeDescription": text,
            "Tags": json.dumps({"feature": feature, "team": "ai"}),
        }

    rows = [row("2024-10-01", *one[:5]) for one in CONSUMED]
    rows += [row("2024-09-24", one[0], one[1], one[2], str(2 * Decimal(one[3])), one[4]) for one in CONSUMED]
    further = [row("2024-10-06", "web", "GB", "1", "0", ""), row("2024-10-07", "rank", "Tokens", "1", "9", "")]
    return focus_file(*rows, *further)


def test_unit_costs_by_feature(store, llm_bill):
    """Both stores tell what 1,000 tokens, a request and an hour of a GPU cost, of the week alone, and nothing else."""
    store.ingest(llm_bill)
    late = datetime(2024, 10, 8, tzinfo=UTC)
    digest = build_digest(store, BUDGETS, week=WEEK, as_of=late)
    found = {(one.feature, one.kind): str(one.cost) for one in digest.units}

    assert found == {(one[0], one[6]): one[7] for one in CONSUMED if one[5]}
    assert [(move.by, move.key, move.change) for move in digest.moves if move.by == "team"] == [
        ("team", "ai", Decimal("-58.00"))
    ]


def test_consumption_follows_what_counts(store, llm_bill, focus_text, tmp_path):
    """A corrected file takes the place of the first, and what was consumed under the first is gone."""
    store.ingest(llm_bill)
    text = llm_bill.read_text().replace("2000000", "1000000")
    corrected = tmp_path / "corrected.csv"
    corrected.write_text(text)
    store.ingest(corrected, overlap="replace")
    tokens = [one for one in store.consumed(WEEK.start, WEEK.end) if one.unit == "Tokens"]

    assert [(one.feature, one.quantity, one.rows) for one in tokens] == [("rank", 1_000_000, 1)]


def test_consumption_of_a_file_that_needed_its_decimal_mark_told(store, focus_file):
    """A file that could be read in one way only when told how is read again in that way."""
    row = {"ConsumedUnit": "Tokens", "ConsumedQuantity": "1.500", "BilledCost": "2,25", "EffectiveCost": "2,25"}
    rest = dict.fromkeys(("ListCost", "ContractedCost"), "2,25")
    store.ingest(focus_file(row | rest), number_style=",")
    (found,) = store.consumed(date(2024, 9, 1), date(2024, 10, 1))

    assert (found.quantity, found.amount) == (1500, Decimal("2.25"))


def marker(ledger, kind, environment, at):
    """Leave a release marker on the ledger as the real ones are."""
    from companyos.observability.markers import Marker, mark

    mark(ledger, Marker("shop", "1.2.3", environment, kind=kind, at=at))


def test_budgets_unit_costs_and_releases_come_from_the_ledger(tmp_path, sampled):
    """What was reserved and settled until the moment, per feature, and DORA figures out of release markers."""
    from companyos.finops.budgets import BudgetPolicy

    levels = {
        "acme": [{"period": "week", "limit": 100}, {"period": "week", "limit": 9000, "unit": "tokens"}],
        "acme/*/*/*": [{"period": "total", "limit": 60}],
    }
    scene = Scene(tmp_path, BudgetPolicy.parse({"levels": levels}))
    try:
        scene.budget.reserve(Decimal(20), tokens=3000, task="acme/search/rank/r1").settle(Decimal(6), tokens=2000)
        scene.budget.reserve(Decimal(5), tokens=10, task="acme/search/rank/r2")
        at = datetime.fromtimestamp(scene.now, UTC)
        for kind in ("deployed", "upgraded", "upgraded", "rolledback"):
            marker(scene.ledger, kind, "production", at)
        week = period_at("week", at)
        scene.now += 3600
        scene.budget.reserve(Decimal(50), tokens=1, task="acme/x/later/r3")
        view = ledger_view(scene.ledger.read(), SOURCE, until=datetime.fromtimestamp(scene.now, UTC))
        digest = build_digest(sampled, BUDGETS, week=week, as_of=datetime.fromtimestamp(scene.now, UTC), ledger=view)
    finally:
        scene.close()

    assert [(one.unit, one.spent, one.reserved, one.used_percent) for one in digest.levels] == [
        ("EUR", "6.00", "5.00", 11),
        ("tokens", "2000", "10", 22),
    ]
    assert digest.levels[0].days_left == Decimal("6.5")
    units = {one.kind: one for one in digest.units}
    assert (units["tokens"].feature, units["tokens"].cost, units["requests"].cost) == ("rank", 3, 6)
    (releases,) = digest.releases
    assert (releases.environment, releases.deployments, releases.rollbacks) == ("production", 3, 1)
    assert releases.change_failure_percent == "33.3"
    assert releases.to_dict()["lead_time"] is None
    assert "Lead time and time to restore: not supplied" in to_markdown(digest)


def test_names_from_a_bill_cannot_break_out(store, focus_file):
    """A service's name with Markdown and HTML in it stays text, and the page is well-formed, without scripts."""
    nasty = "<script>alert(1)</script> | [x](javascript:y) `z`"
    store.ingest(
        focus_file(
            {
                "ServiceName": nasty,
                "ChargePeriodStart": "2024-10-01T00:00:00Z",
                "ChargePeriodEnd": "2024-10-02T00:00:00Z",
            }
        )
    )
    digest = build_digest(store, BUDGETS, week=WEEK, as_of=AS_OF)
    page = to_html(digest)

    assert "<script" not in page
    assert not re.search(r"(?:src|href)=|url\(", page)
    body = page[page.index("<body>") : page.index("</html>")]
    assert len(ET.fromstring(body).findall(".//svg")) == 2
    assert r"\<script\>alert(1)\</script\> \| \[x\](javascript:y) \`z\`" in to_markdown(digest)


def test_anomalies_of_the_week_are_shown(tmp_path):
    """A planted spike is named; where nothing could be judged that is said, and is another thing than no anomaly."""
    with SqliteCostStore(tmp_path / "sampled") as store:
        store.ingest(sample_path())
        quiet = to_markdown(build_digest(store, BUDGETS, week=WEEK, as_of=AS_OF))
    with SqliteCostStore(tmp_path / "planted") as store:
        store.ingest(plant_overspend(tmp_path / "overspent.csv"))
        spiked = build_digest(store, BUDGETS, week=WEEK, as_of=AS_OF)
    with SqliteCostStore(tmp_path / "empty") as store:
        unknown = to_markdown(build_digest(store, BUDGETS, week=WEEK, as_of=AS_OF))

    assert "## Anomalies\n\nNone among" in quiet
    assert "| spike |" in to_markdown(spiked)
    assert "spike" in {one["kind"] for one in spiked.to_dict()["anomalies"]["found"]}
    assert "## Anomalies\n\nNot supplied: no service has enough history" in unknown


def test_the_command(tmp_path, monkeypatch, capsys):
    """Markdown on stdout, JSON for machines, both files on request, the same bytes each time."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "companyos.yaml").write_text("company: {name: acme}\n")
    main(["finops", "ingest", str(sample_path())])
    capsys.readouterr()
    arguments = ("finops", "digest", "--as-of", "2024-10-05", "--week", "2024-W40")

    assert main([*arguments, "--html", "d.html", "--md", "d.md"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# Digest of 2024-W40\n")
    assert Path("d.md").read_text() == out
    first = Path("d.html").read_bytes()
    assert main([*arguments, "--json", "--html", "d.html"]) == 0
    assert json.loads(capsys.readouterr().out)["dora"]["supplied"] is False
    assert Path("d.html").read_bytes() == first
    assert main([*arguments[:-1], "2024-W99"]) == 2


def test_cost_notes_hold_the_digests_of_the_raw_files_and_the_bound(sampled):
    """Every raw file that the figures rest on is named by its digest, and lies in the store under that name."""
    import hashlib

    note = cost_note(sampled, BUDGETS, as_of=AS_OF)
    digest = f"sha256:{hashlib.sha256(sample_path().read_bytes()).hexdigest()}"

    assert note.files == (digest,)
    assert f"- File: `{digest}`" in note.to_markdown()
    assert note.to_dict()["files"] == [digest]
    assert (sampled.directory / "raw" / f"{digest.removeprefix('sha256:')}.csv").exists()
    assert "interval not calibrated" in note.to_markdown()  # six weeks are too few
    assert "| Forecast | Upper bound |" in note.to_markdown()
