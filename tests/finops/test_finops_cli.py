"""`companyos finops`, as typed."""

from __future__ import annotations

import json

import pytest

from companyos.cli import main
from companyos.finops.samples import plant_overspend, sample_path

AS_OF = ("--as-of", "2024-10-05")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command line in an empty directory; gives status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        status = main(["finops", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_a_bill_goes_all_the_way_to_a_verdict(run):
    """Ingest, report, forecast, gate and notes work on a bare directory with `--store`."""
    status, out, _ = run("ingest", sample_path(), "--store", "costs")
    assert 0 == status
    assert "rows read 378 = ingested 378 + rejected 0" in out
    assert "text_null" in out
    assert "stray columns kept: Id" in out

    status, out, err = run("report", "--store", "costs")
    assert (0, True, True) == (status, "Amazon Elastic Compute Cloud" in out, "███" in out)
    assert "extract sha256:" in err

    status, out, _ = run("forecast", "--store", "costs", *AS_OF)
    assert (0, True) == (status, "229.83" in out)

    status, out, _ = run("gate", "--store", "costs", *AS_OF)
    assert (0, True) == (status, out.startswith("ALLOW  budget.within"))

    status, out, _ = run("notes", "--store", "costs", *AS_OF)
    assert (0, True) == (status, out.startswith("## Cost Notes"))


@pytest.mark.parametrize("command", ["report", "forecast", "gate", "notes"])
def test_every_command_speaks_json(run, command):
    """With `--json` stdout is one JSON value and nothing else."""
    run("ingest", sample_path(), "--store", "costs")

    moment = () if command == "report" else AS_OF
    status, out, _ = run(command, "--store", "costs", "--json", *moment)

    assert 0 == status
    json.loads(out)


def test_the_gate_refuses_an_overspend_and_hears_a_plan(run, tmp_path):
    """Over the ceiling is 1; over the target is 1 without a plan and 0 with one."""
    run("ingest", plant_overspend(tmp_path / "over.csv"), "--store", "over")
    status, out, _ = run("gate", "--store", "over", *AS_OF)
    assert 1 == status
    assert "budget.over_ceiling" in out
    assert "scope_or_capacity_change" in out

    days = ("2024-09-30", "2024-10-01", "2024-10-02", "2024-10-03")
    run("ingest", plant_overspend(tmp_path / "some.csv", 30, days=days), "--store", "some")
    assert 1 == run("gate", "--store", "some", *AS_OF)[0]
    (tmp_path / "plan.yaml").write_text("owner: ops\nactions: [resize]\ndue: 2024-10-31\n")
    status, out, _ = run("gate", "--store", "some", *AS_OF, "--plan", "plan.yaml")
    assert (0, True) == (status, "accepted with a remediation plan" in out)


def test_a_decision_that_is_not_recorded_says_so(run, tmp_path):
    """Without companyos.yaml there is no ledger, and stderr says it; with one it is silent."""
    run("ingest", sample_path(), "--store", "costs")
    assert "this decision is not recorded" in run("gate", "--store", "costs", *AS_OF)[2]

    (tmp_path / "companyos.yaml").write_text("{}\n")
    status, out, err = run("gate", "--store", "costs", *AS_OF, "--json")
    assert (0, True) == (status, json.loads(out)["audit_id"] is not None)
    assert "not recorded" not in err


def test_what_cannot_be_judged_exits_3(run):
    """No store and stale data are not a pass."""
    status, _, err = run("gate", "--store", "nowhere", *AS_OF)
    assert (3, True) == (status, "finops.store" in err)

    run("ingest", sample_path(), "--store", "costs")
    status, out, _ = run("gate", "--store", "costs", "--as-of", "2024-11-30")
    assert (3, True) == (status, "budget.no_data" in out)


def test_rejected_rows_are_a_finding(run, focus_file):
    """The command exits 1 and says where the rejected rows are."""
    status, out, _ = run("ingest", focus_file({}, {"BilledCost": "x"}), "--store", "costs")

    assert 1 == status
    assert "rows read 2 = ingested 1 + rejected 1" in out
    assert "1 bad_number" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gate",), "add --store DIR"),
        (("gate", "--store", "costs", "--as-of", "yesterday"), "yesterday"),
        (("report", "--store", "costs", "--by", "colour"), "unknown way to group costs"),
        (("ingest", "missing.csv", "--store", "costs"), "cannot read missing.csv"),
        (("gate", "--store", "costs", "--plan", "missing.yaml"), "cannot read the plan"),
        (("ingest", "x.csv", "--overlap", "guess"), "guess"),
    ],
)
def test_wrong_calls_exit_2_with_one_clear_message(run, arguments, message):
    """Usage errors name what is wrong, on stderr."""
    run("ingest", sample_path(), "--store", "costs")

    status, out, err = run(*arguments)

    assert (2, "") == (status, out)
    assert message in err
    assert "Traceback" not in err


def test_a_second_file_of_the_period_needs_a_word(run, tmp_path):
    """The overlap is refused with the option that settles it, and settled by it."""
    run("ingest", sample_path(), "--store", "costs")
    over = plant_overspend(tmp_path / "over.csv")

    status, _, err = run("ingest", over, "--store", "costs")
    assert (2, True) == (status, "--overlap replace" in err)
    status, out, _ = run("ingest", over, "--store", "costs", "--overlap", "replace")
    assert (0, True) == (status, "replaced billing periods of sha256:" in out)


def test_a_smaller_file_needs_another_word(run, tmp_path):
    """What is lost is named in the refusal, and in the report when it was told so."""
    run("ingest", plant_overspend(tmp_path / "over.csv"), "--store", "costs")

    status, _, err = run("ingest", sample_path(), "--store", "costs", "--overlap", "replace")
    assert (2, True, True) == (status, "USD become" in err, "--overlap replace-smaller" in err)
    status, out, _ = run("ingest", sample_path(), "--store", "costs", "--overlap", "replace-smaller")
    assert (0, True) == (status, "smaller than before: Amazon Web Services" in out)


def test_with_a_company_every_step_is_on_its_ledger(run, tmp_path):
    """In a directory with companyos.yaml nothing else is needed, budgets come from it, and the ledger verifies."""
    (tmp_path / "companyos.yaml").write_text(
        "finops: {budgets: [{name: small, period: week, currency: USD, target: 100, ceiling: 150}]}\n"
    )
    assert 0 == run("ingest", sample_path())[0]

    status, out, _ = run("gate", *AS_OF, "--json")

    decision = json.loads(out)
    assert (1, "budget.over_ceiling") == (status, decision["reason"])
    from companyos.company import Company

    with Company.open(tmp_path) as company:
        entries = {entry.type: entry for entry in company.ledger.read()}
    assert decision["audit_id"] == entries["companyos.finops.gate"].id
    assert 378 == entries["companyos.finops.ingested"].data["rows_ingested"]
