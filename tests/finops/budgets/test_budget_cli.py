"""`companyos budget`: reserve, settle, refund, show, watch, gate and rebuild."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from companyos.cli import main

POLICY = """
timezone: Europe/Berlin
levels:
  acme: [{period: month, limit: 100}]
  acme/search: [{period: month, limit: 50}, {period: month, limit: 1000, unit: tokens}]
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in a company's directory; its exit status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "companyos.yaml").write_text("company:\n  name: acme\n", encoding="utf-8")
    (tmp_path / "finops.yaml").write_text(POLICY, encoding="utf-8")

    def call(*arguments):
        capsys.readouterr()
        status = main(["budget", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def levels(run):
    """Spent, reserved and left by key without its window."""
    _, out, _ = run("show", "--json")
    return {
        one["key"].rsplit(":", 1)[0]: (one["spent"], one["reserved"], one["left"]) for one in json.loads(out)["levels"]
    }


def test_reserve_settle_and_show(run):
    """What is reserved and settled in commands of their own is in the table, with a bar."""
    status, out, _ = run("reserve", "30", "--task", "acme", "--id", "job", "--json")
    assert (status, json.loads(out)["charges"][0]["reserved"]) == (0, "30.00 EUR")
    assert levels(run) == {"acme:EUR:month": ("0.00", "30.00", "70.00")}

    assert run("settle", "job", "12.345")[0] == 0
    assert levels(run) == {"acme:EUR:month": ("12.345", "0.00", "87.655")}
    status, out, _ = run("show")
    assert (status, "12 %" in out, "██░" in out) == (0, True, True)


def test_a_refusal_exits_with_1(run):
    """A refusal is shown as a decision, and holds nothing."""
    status, out, _ = run("reserve", "60", "--tokens", "5", "--task", "acme/search", "--json")
    decision = json.loads(out)

    assert (status, decision["decision"], decision["reason"]) == (1, "deny", "budget.exceeded")
    assert decision["audit_id"]
    assert levels(run)["acme:EUR:month"] == ("0.00", "0.00", "100.00")


def test_refunds_and_conflicts(run):
    """A refund gives back; settling what was refunded counts, and settling otherwise again exits with 2."""
    run("reserve", "30", "--task", "acme", "--id", "job")
    assert run("refund", "job")[:2] == (0, "job refunded\n")
    assert run("settle", "job", "5")[0] == 0
    status, _, err = run("settle", "job", "6")
    assert (status, "budget.conflict" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("reserve", "--task", "acme"), "budget.request"),
        (("reserve", "1", "--task", "nobody"), "budget.request"),
        (("reserve", "1", "--task", "acme/search"), "budget.request"),
        (("settle", "nobody", "1"), "budget.unknown"),
        (("--policy", "none.yaml", "show"), "budget.policy"),
        (("--store", "mysql://x", "show"), "config.invalid"),
    ],
)
def test_what_makes_no_sense_exits_with_2(run, arguments, code):
    """Each mistake by the name of its error."""
    status, _, err = run(*arguments)

    assert (status, f"[{code}]" in err) == (2, True)


def test_a_number_that_is_none_is_a_usage_error(run):
    """An amount that cannot be read never reaches the budget."""
    assert run("reserve", "12,50", "--task", "acme")[0] == 2


def test_a_lost_store_exits_with_3_until_it_is_rebuilt(run, tmp_path):
    """A store that was deleted is refused, rebuilt from the ledger, and holds what it held."""
    run("reserve", "30", "--task", "acme", "--id", "job")
    for file in (tmp_path / ".companyos").glob("budget.db*"):
        file.unlink()
    status, _, err = run("reserve", "30", "--task", "acme")
    assert (status, "budget.store_lost" in err) == (3, True)

    status, out, _ = run("rebuild", "--json")
    assert (status, json.loads(out)["changed"], json.loads(out)["reservations"]) == (0, True, 1)
    assert levels(run) == {"acme:EUR:month": ("0.00", "30.00", "70.00")}
    assert run("rebuild")[1].startswith("whole, and in agreement")


def test_the_gate_blocks_what_is_not_critical(run):
    """With a cap used up, a pipeline exits with 1, a critical one with 0; both verdicts are on the ledger."""
    run("reserve", "100", "--task", "acme", "--id", "job")
    found = [run("gate", *more, "--json") for more in ((), ("--critical",))]

    assert [status for status, _, _ in found] == [1, 0]
    assert [json.loads(out)["reason"] for _, out, _ in found] == ["budget.exhausted", "budget.critical"]
    assert all(json.loads(out)["audit_id"] for _, out, _ in found)


def test_the_gate_judges_costs_too(run, tmp_path):
    """With `costs` in the policy and no bill ingested, the gate cannot judge, and says so."""
    costs = "costs: [{name: all-costs, period: week, currency: USD, target: 300, ceiling: 500}]\n"
    (tmp_path / "finops.yaml").write_text(POLICY + costs, encoding="utf-8")
    status, out, _ = run("gate", "--json")

    assert (status, json.loads(out)["reason"]) == (3, "budget.no_data")


def test_watching(run):
    """A watch shows the levels as often as it is told."""
    run("reserve", "30", "--task", "acme")
    status, out, _ = run("watch", "--count", "2", "--interval", "0.1")

    assert (status, out.count("acme month")) == (0, 2)


def test_alerts_go_to_the_channels(run, caplog):
    """At 80 % the configured channel, here the log, is told, once."""
    run("reserve", "81", "--task", "acme")
    run("reserve", "1", "--task", "acme")
    told = [record.getMessage() for record in caplog.records]

    assert [text.startswith("budget.alert") for text in told if "80 %" in text] == [True]


def test_help_names_every_command():
    """Each command has a line of help."""
    from companyos.cli.budget import budget

    out = CliRunner().invoke(budget, ["--help"]).output
    names = ("alerts", "gate", "purge", "rebuild", "refund", "reserve", "settle", "show", "variance", "watch")
    assert all(name in out for name in names)
