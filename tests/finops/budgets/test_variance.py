"""What was settled against what was planned, by day and phase; and forgetting what is long over."""

from __future__ import annotations

import copy
import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path

import pytest

from companyos.cli import main
from companyos.finops import BudgetRequestError, BudgetUnknownError
from companyos.finops.budgets import (
    SOURCE,
    BudgetPolicy,
    assess_variance,
    differences,
    read_history,
    rebuild,
    report_csv,
    runs_csv,
    settlements,
    variances,
)

PAGES = sorted((Path(__file__).resolve().parents[3] / "docs").glob("*.md"))
PRICE = Decimal("0.0004")
"""EUR a word, made up, so that a day of pages costs some euros."""
ANSWER_WORDS = 30
DAYS = 24


def work_through_the_pages(scene):
    """The reference workload: each day a few pages are read and cut to their first words; each word costs.

    What is reserved is the page, whose length is known, and the longest answer. What is settled is what it took.
    """
    scene.at("2026-03-02 09:00")
    for day in range(DAYS):
        for number in range(4):
            words = PAGES[(4 * day + number) % len(PAGES)].read_text(encoding="utf-8").split()
            planned = len(words) + ANSWER_WORDS
            answer = " ".join(words).split(". ")[0].split()[:ANSWER_WORDS]
            took = len(words) + len(answer)
            held = scene.budget.reserve(
                planned * PRICE,
                tokens=planned,
                task=f"acme/docs/summaries/day-{day}",
                provider="local",
                model="first-words",
            )
            held.settle(took * PRICE, tokens=took)
            scene.now += 600
        scene.now += 86_400 - 2400


def test_the_reference_workload_stays_within_five_percent(make_scene, seed):
    """24 days of real work: every day's settled cost is within 5 % of what had been planned, and the report says so."""
    scene = make_scene(seed)
    work_through_the_pages(scene)
    history = read_history(scene.ledger.read(), SOURCE)
    days = variances(scene.policy, history, scene.now)
    decision = assess_variance(days)

    assert (decision.reason, len(days)) == ("variance.within", DAYS)
    assert any(one.percent for one in days), "a workload that hits its plan to the cent proves nothing"
    assert assess_variance(days, Decimal(0)).reason == "variance.exceeded"
    assert (days[0].daily_cap, days[0].monthly_cap, days[0].phase) == (450, 12000, 1)


def test_the_report_can_be_worked_out_again_from_its_runs(make_scene, seed):
    """Every figure of the report is a sum over the settlements in the file beside it."""
    scene = make_scene(seed)
    work_through_the_pages(scene)
    history = read_history(scene.ledger.read(), SOURCE)
    report = list(csv.DictReader(io.StringIO(report_csv(variances(scene.policy, history, scene.now)))))
    runs = list(csv.DictReader(io.StringIO(runs_csv(scene.policy, history))))

    names = "date,phase,daily_spend_eur,daily_cap_eur,monthly_spend_eur,monthly_cap_eur"
    assert ",".join(report[0]) == names
    by_day = {
        day: sum(Decimal(run["settled"]) for run in own) for day, own in groupby(runs, key=lambda run: run["date"])
    }
    assert {row["date"]: Decimal(row["daily_spend_eur"]) for row in report} == by_day
    assert Decimal(report[-1]["monthly_spend_eur"]) == sum(by_day.values())
    assert {(row["daily_cap_eur"], row["monthly_cap_eur"]) for row in report} == {("450.00", "12000.00")}


def test_a_target_is_the_plan_where_the_policy_has_one(make_scene, seed):
    """With `daily_eur_target`, a day is held against it once it is over."""
    values = copy.deepcopy(seed)
    values["phases"][1]["daily_eur_target"] = 100
    scene = make_scene(values)
    model = {"provider": "openai", "model": "gpt-4o", "task": "acme/a/b/c"}
    for amount in (98, 90, 50):
        scene.budget.reserve(Decimal(200), tokens=1, **model).settle(Decimal(amount), tokens=1)
        scene.now += 86_400
    history = read_history(scene.ledger.read(), SOURCE)
    days = variances(scene.policy, history, scene.now - 86_400)
    decision = assess_variance(days)

    assert [(str(one.percent), one.plan, one.judged) for one in days] == [
        ("-2.00", "target", True),
        ("-10.00", "target", True),
        ("-50.00", "target", False),
    ]
    assert (decision.reason, [found.rule for found in decision.findings]) == (
        "variance.exceeded",
        ["BUDGET-NOTICE.variance"],
    )
    assert [one.day for one in variances(scene.policy, history, scene.now, start=date(2026, 3, 3))] == [
        "2026-03-03",
        "2026-03-04",
    ]


def test_a_target_beyond_the_cap_is_refused(seed):
    """Such a policy contradicts itself."""
    from companyos.finops.budgets import BudgetPolicyError

    values = copy.deepcopy(seed)
    values["phases"][2]["daily_eur_target"] = 651
    with pytest.raises(BudgetPolicyError, match="beyond its cap"):
        BudgetPolicy.parse(values)


def test_nothing_settled_is_nothing_checked(scene):
    """Without a settled day the answer is undetermined, never a pass."""
    history = read_history(scene.ledger.read(), SOURCE)

    assert assess_variance(variances(scene.policy, history, scene.now)).exit_status == 3


def test_a_settlement_says_what_it_was_for(scene):
    """When, for which feature, planned and settled, out of the ledger alone; refunds and open ones are none."""
    scene.budget.reserve(Decimal(5), task="acme/search/rank/run-1").settle(Decimal("4.5"))
    scene.budget.reserve(Decimal(5), task="acme").refund()
    scene.budget.reserve(Decimal(5), task="acme")
    (found,) = settlements(read_history(scene.ledger.read(), SOURCE))

    assert (found.feature, found.planned, found.amount, found.tokens) == ("rank", 5, Decimal("4.5"), None)
    assert found.at == datetime(2026, 3, 2, 11, tzinfo=UTC)


def test_the_command_writes_the_report_and_exits_by_it(tmp_path, monkeypatch, capsys):
    """`companyos budget variance` exits 3 without data, 1 over the tolerance, 0 within, and writes both files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "companyos.yaml").write_text("company: {name: acme}\n")
    (tmp_path / "finops.yaml").write_text("levels: {acme: [{period: day, limit: 100}]}\n")
    assert main(["budget", "variance"]) == 3
    main(["budget", "reserve", "10", "--task", "acme", "--id", "a"])
    main(["budget", "settle", "a", "9"])
    capsys.readouterr()

    assert main(["budget", "variance", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["facts"]["days"][0]["variance_percent"] == "-10.00"
    assert main(["budget", "variance", "--tolerance", "10", "--csv", "metrics/budget_report.csv"]) == 0
    assert "-10.00 %" in capsys.readouterr().out
    (row,) = csv.DictReader(io.StringIO((tmp_path / "metrics/budget_report.csv").read_text()))
    assert (row["daily_spend_eur"], row["daily_cap_eur"]) == ("9.00", "")
    (run,) = csv.DictReader(io.StringIO((tmp_path / "metrics/budget_report.runs.csv").read_text()))
    assert (run["reservation"], run["planned"], run["settled"]) == ("a", "10.00", "9.00")


def old_and_new(scene):
    """A month of reservations, settled, refunded, expired and open; the clock stands on 15 April."""
    for number in range(30):
        held = scene.budget.reserve(Decimal(2), task="acme/search", id=f"r{number}")
        if number % 3 == 0:
            held.settle(Decimal(1))
        elif number % 3 == 1:
            held.refund()
        scene.now += 86_400
    scene.budget.reserve(Decimal(2), task="acme/search/rank/run-1", id="run").settle()
    scene.at("2026-04-15 12:00")
    scene.budget.reserve(Decimal(2), task="acme", id="open")


def test_what_is_long_over_is_forgotten_and_the_sums_stay(scene):
    """Reservations of past windows go, the levels keep what they add up to, and store and ledger still agree."""
    old_and_new(scene)
    before = datetime(2026, 4, 6, tzinfo=UTC)
    sums = {one.key: (one.spent, one.reserved) for one in scene.budget.levels()}
    would = scene.budget.purge(before, dry_run=True)
    assert scene.budget.find("r0") is not None

    assert scene.budget.purge(before) == would == (False, {"settled": 10, "refunded": 10, "expired": 10}, 1)
    assert [name for name in ("r0", "r28", "run", "open") if scene.budget.find(name)] == ["run", "open"]
    assert {one.key: (one.spent, one.reserved) for one in scene.budget.levels()} == sums
    assert differences(scene.budget.levels(), read_history(scene.ledger.read(), SOURCE)) == []
    purged = [entry.data["removed"] for entry in scene.ledger.read() if entry.type.endswith(".purged")]
    assert purged == [{"expired": 10, "refunded": 10, "settled": 10}]
    with pytest.raises(BudgetUnknownError):
        scene.budget.settle("r0", Decimal(1))


def test_a_purged_store_needs_no_rebuild(scene):
    """It is whole and agrees with the ledger, so a rebuild does nothing."""
    old_and_new(scene)
    scene.budget.purge(datetime(2026, 4, 6, tzinfo=UTC))

    assert not rebuild(scene.policy, scene.budget._store, scene.ledger).changed


def test_what_may_still_be_settled_is_not_purged(scene):
    """Nothing that was over less than a day ago, the longest lease."""
    now = datetime.fromtimestamp(scene.now, UTC)
    with pytest.raises(BudgetRequestError, match="for a day"):
        scene.budget.purge(now - timedelta(hours=23))


def test_purging_on_the_command_line_is_a_dry_run_unless_it_is_meant(tmp_path, monkeypatch, capsys):
    """Without --apply it only says what would go."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "companyos.yaml").write_text("company: {name: acme}\n")
    (tmp_path / "finops.yaml").write_text("levels: {acme: [{period: day, limit: 100}]}\n")
    main(["budget", "reserve", "10", "--task", "acme", "--id", "a"])
    main(["budget", "settle", "a", "9"])
    capsys.readouterr()

    assert main(["budget", "purge", "--before", "2020-01-01"]) == 0
    assert "would remove 0 reservations" in capsys.readouterr().out
    assert main(["budget", "purge", "--before", "2020-01-01", "--apply", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"applied": True, "removed": {}, "kept": 1}
    assert main(["budget", "purge", "--before", "2999-01-01"]) == 2
