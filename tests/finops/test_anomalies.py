"""Days that nobody expected: found, ranked, explained, and never passed over for want of history."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from companyos.cli import main
from companyos.controls import prove
from companyos.decision import Severity, Verdict
from companyos.errors import UserError
from companyos.finops import find_anomalies, judge_anomalies
from companyos.finops.anomaly_specimens import bill
from companyos.finops.plugin import FINOPS_ANOMALY
from companyos.finops.samples import made_up_costs, plant_overspend

FIRST = date(2023, 1, 1)
DAYS = 90
END = datetime(2023, 4, 1, tzinfo=UTC)


@pytest.fixture
def looked(tmp_path, store):
    """What is found in daily costs by service, in each kind of store."""

    def look(services, **options):
        store.ingest(bill(tmp_path / "made.csv", services))
        return find_anomalies(store, as_of=END, **options)

    return look


def steady(**changes):
    """Ninety days of two services, changed on the days given by number."""
    costs = made_up_costs("weekend", DAYS)
    for number, cost in changes.items():
        costs[FIRST + timedelta(days=int(number.removeprefix("d")))] = Decimal(cost)
    return {"Compute": costs, "Storage": made_up_costs("steady", DAYS, seed=2)}


def test_the_control_proves_itself():
    """Every planted anomaly is caught by its rule, and no seasonal bill is suspected."""
    proof = prove(FINOPS_ANOMALY)

    assert (proof.planted, 0) == (proof.caught, proof.false_alarms)
    assert proof.clean >= 6


def test_a_spike_is_described(looked):
    """Amount, expectation, first day, share of the bill and what moved."""
    report = looked(steady(d80=240, d81=250))

    (one,) = report.found
    assert ("spike", "Compute", "USD", 2) == (one.kind, one.key, one.currency, one.days)
    assert (date(2023, 3, 22), Decimal(490)) == (one.first_day, one.cost)
    assert 70 < one.expected < 90
    assert one.excess == one.cost - one.expected
    assert Decimal("0.6") < one.share < 1
    assert "acc-1" == one.driver
    assert 350 < one.driver_amount < 450
    assert Severity.CRITICAL is one.severity
    assert Verdict.DENY is judge_anomalies(report).verdict


def test_by_account_the_service_that_moved_is_named(looked):
    """Cut by account, the hint is a service."""
    (one,) = looked(steady(d80=300), by="account").found

    assert ("Compute", "spike") == (one.driver, one.kind)


def test_the_gravest_come_first(looked):
    """Ranked by severity, then by amount."""
    found = looked(steady(d66=90, d80=900)).found

    assert [Decimal(900), Decimal(90)] == [one.cost for one in found]
    assert found[0].severity > found[1].severity


def test_what_comes_later_changes_nothing(looked, store):
    """A day is judged by the days before it: seen from an earlier moment the finding is the same."""
    late = looked(steady(d70=200, d85=500)).found
    early = find_anomalies(store, as_of=datetime(2023, 3, 20, tzinfo=UTC)).found

    (same,) = [one for one in late if one.first_day == date(2023, 3, 12)]
    assert [same] == list(early)


def test_too_little_history_is_named(looked):
    """A group of three weeks is undetermined, and so is the judgement when nothing else was found."""
    services = steady()
    services["Storage"] = {day: cost for day, cost in services["Storage"].items() if day < date(2023, 1, 21)}
    services["Fresh"] = {FIRST + timedelta(days=n): Decimal("0.05") for n in range(78, DAYS)}
    report = looked({name: costs for name, costs in services.items() if name != "Storage"})

    assert ("Fresh (USD)",) == report.undetermined
    assert (1, ()) == (report.judged, report.found)
    assert ("anomaly.no_data", Verdict.UNDETERMINED) == (
        judge_anomalies(report).reason,
        judge_anomalies(report).verdict,
    )


def test_an_empty_store_is_undetermined(store):
    """Nothing to look at is not nothing found."""
    decision = judge_anomalies(find_anomalies(store, as_of=END))

    assert (Verdict.UNDETERMINED, "anomaly.no_data") == (decision.verdict, decision.reason)


def test_an_ordinary_quarter_passes(looked):
    """Two healthy services: no finding, everything judged."""
    report = looked(steady())

    assert ("anomaly.none", 2, ()) == (judge_anomalies(report).reason, report.judged, report.undetermined)


def test_days_that_may_still_grow_are_not_judged(looked, store):
    """With `late_days` an incomplete last day is no drop."""
    assert "drop" in {one.kind for one in looked(steady(d89="0.5")).found}
    assert () == find_anomalies(store, as_of=END, late_days=1).found


def test_seven_days_on_one_side_are_a_new_level(looked):
    """The finding spans the seven days; those after it are ordinary."""
    doubled = {
        day: cost * (2 if day >= date(2023, 3, 10) else 1) for day, cost in made_up_costs("weekend", DAYS).items()
    }

    (one,) = looked({"Compute": doubled}).found

    assert ("level-shift", date(2023, 3, 10), 7) == (one.kind, one.first_day, one.days)


@pytest.mark.parametrize("call", [{"by": "colour"}, {"as_of": datetime(2023, 4, 1)}])  # noqa: DTZ001 - to be refused
def test_wrong_calls_are_refused(store, call):
    """An unknown group and a moment without a zone."""
    with pytest.raises(UserError):
        find_anomalies(store, **{"as_of": END} | call)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run `companyos finops anomalies` over an overspend; gives status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    main(["finops", "ingest", str(plant_overspend(tmp_path / "over.csv")), "--store", "costs"])
    capsys.readouterr()

    def call(*arguments):
        status = main(["finops", "anomalies", "--store", "costs", "--as-of", "2024-10-05", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_the_command_reports_and_fails_when_asked(run):
    """A table and 0; with `--fail` 1; with `--json` one value."""
    status, out, _ = run()
    assert (0, True, True) == (status, "spike" in out, "2024-10-03" in out)

    assert 1 == run("--fail")[0]
    made = json.loads(run("--json")[1])
    assert "Amazon Elastic Compute Cloud" == made["found"][0]["key"]


def test_the_command_says_what_it_could_not_judge(run):
    """Looking only at days before any history names every group, and `--fail` exits 3."""
    status, out, err = run("--as-of", "2024-09-10", "--fail")

    assert (3, True, True) == (status, "0 groups judged" in out, "too little history to judge" in err)
