"""Tags, lifetimes and spot capacity before anything is created: what is found, and what could not be told."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from companyos.cli import main
from companyos.controls import prove
from companyos.finops.infrastructure import Policy, check_infrastructure, check_spending_tags
from companyos.finops.infrastructure.judging import lifetime
from companyos.finops.plugin import FINOPS_TAGS


def test_the_control_proves_itself():
    """Every planted shape is caught by its own rule, every look-alike is let through."""
    proof = prove(FINOPS_TAGS)
    assert (proof.caught, proof.false_alarms) == (proof.planted, 0), proof.to_dict()
    assert min(proof.planted, proof.clean) >= 5


HCL = """
locals {
  common = { CostCenter = "CRM" }
}

variable "stage" { default = "preview" }

provider "aws" {
  alias = "tagged"
  default_tags {
    tags = local.common
  }
}

resource "aws_instance" "merged" {
  tags = merge(local.common, { Name = "a, (b)", TTL = "4h", environment = var.stage })
}

resource "aws_instance" "by_provider" {
  provider = aws.tagged
}

resource "aws_instance" "bare" {
  ami = "ami-1"
}

resource "aws_autoscaling_group" "group" {
  tag {
    key                 = "CostCenter"
    value               = "CRM"
    propagate_at_launch = true
  }
}

resource "aws_iam_role" "free" {
  name = "costs nothing"
}
"""


def test_hcl_is_read_with_its_locals_providers_and_blocks(tmp_path):
    """The one resource without the tag is found, with its line."""
    (tmp_path / "main.tf").write_text(HCL)

    decision = check_infrastructure([tmp_path])

    assert [(one.message, one.path, one.line) for one in decision.findings] == [
        ("aws_instance.bare has no CostCenter", "main.tf", 23)
    ]
    assert (decision.exit_status, decision.facts["resources"]) == (1, 4)


UNREADABLE = {
    "broken.tf": 'resource "aws_instance" {{{',
    "unknown.tf": 'resource "aws_instance" "a" {\n  tags = module.labels.tags\n}\n',
    "variable.tf": 'variable "tags" {}\nresource "aws_instance" "a" {\n  tags = merge(var.tags, { a = "b" })\n}\n',
    "stage.tf": 'variable "s" {}\nresource "aws_instance" "a" {\n  tags = { CostCenter = "1", env = var.s }\n}\n',
    "compose.yaml": "services:\n  a: &a {image: x}\n  b: *a\n",
    "chart.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {{ include }}\n",
    "twice.tf.json": '{"resource": {}, "resource": {}}',
    "plan.json": '{"planned_values": {"root_module": {"resources": [{"type": "aws_instance"}]}}}',
    "odd.yaml": "apiVersion: v1\nkind: Pod\n\x00",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_or_evaluated_is_never_clean(tmp_path, name):
    """Undetermined, and the file is named."""
    (tmp_path / name).write_text(UNREADABLE[name])

    decision = check_infrastructure([tmp_path])

    assert (decision.verdict.value, decision.exit_status) == ("undetermined", 3)
    assert name in decision.message


def test_a_tag_known_only_after_apply_is_not_missing(tmp_path):
    """A plan says what it does not know yet."""
    change = {"address": "aws_instance.a", "change": {"after_unknown": {"tags": True}}}
    one = {"address": "aws_instance.a", "mode": "managed", "type": "aws_instance", "values": {"tags": None}}
    plan = {"planned_values": {"root_module": {"resources": [one]}}, "resource_changes": [change]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))

    assert check_infrastructure([tmp_path]).verdict.value == "undetermined"


def test_nothing_to_check_is_not_clean(tmp_path):
    """Nor is a path that is not there, nor a file that is no infrastructure."""
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "values.yaml").write_text("a: {{ b }}\n")

    assert check_infrastructure([tmp_path]).reason == "finops.no_infrastructure"
    assert check_infrastructure([tmp_path / "gone.tf"]).reason == "finops.infrastructure_unread"


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("4h", 4),
        ("240m", 4),
        ("PT3H30M", 3.5),
        ("14400s", 4),
        ("1d", 24),
        ("P1DT2H", 26),
        ("4", None),
        ("", None),
        ("4 h", None),
    ],
)
def test_lifetimes_are_read_with_their_unit(text, hours):
    """A bare number is no lifetime."""
    assert lifetime(text) == (None if hours is None else timedelta(hours=hours))


def test_another_policy_asks_for_other_tags(tmp_path):
    """Each required tag is a finding of its own."""
    (tmp_path / "compose.yaml").write_text("services:\n  a:\n    labels: {team: x}\n")

    found = check_infrastructure([tmp_path], Policy(("team", "owner", "feature"))).findings

    assert [one.message for one in found] == ["service a has no owner", "service a has no feature"]
    assert [one.line for one in found] == [2, 2]


def test_a_bill_is_asked_the_same(focus_file, store):
    """Usage without the tag is found with its amount and place; taxes and credits are let through."""
    assert check_spending_tags(store).verdict.value == "undetermined"
    store.ingest(
        focus_file(
            {"Tags": '{"CostCenter": "CRM"}'},
            {"Tags": "", "BilledCost": "2.25"},
            {"Tags": "", "ChargeCategory": "Tax"},
            {"Tags": "", "ChargeCategory": "Credit", "BilledCost": "-1"},
        )
    )

    (finding,) = check_spending_tags(store).findings

    assert finding.message == "1 charges of Machines have no CostCenter: 2.25 USD"
    assert "row 2 of sha256:" in finding.hint


def test_the_command_reports_to_people_and_machines(tmp_path, monkeypatch, capsys):
    """A table, JSON, and SARIF with path and line; exit 1, 3 and 0."""
    monkeypatch.chdir(tmp_path)
    Path("infra").mkdir()
    Path("infra/main.tf").write_text(HCL)

    assert main(["finops", "check", "infra", "--sarif", "out.sarif"]) == 1
    assert "main.tf:23" in capsys.readouterr().out
    (result,) = json.loads(Path("out.sarif").read_text())["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (result["ruleId"], place["region"]["startLine"]) == ("FINOPS-TAGS.missing", 23)

    assert main(["finops", "check", "infra", "--require", "CostCenter", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["reason"] == "FINOPS-TAGS.missing"

    Path("infra/main.tf").write_text(HCL + "resource {")
    assert main(["finops", "check", "infra"]) == 3
    assert "could not be checked: main.tf" in capsys.readouterr().err

    Path("infra/main.tf").write_text(HCL.replace('ami = "ami-1"', "tags = local.common"))
    assert main(["finops", "check", "infra"]) == 0


def test_the_command_looks_at_costs(tmp_path, monkeypatch, capsys, focus_file):
    """With `--costs` the charges are judged; both when there is a path, too."""
    monkeypatch.chdir(tmp_path)
    assert main(["finops", "ingest", str(focus_file({"Tags": '{"CostCenter": "CRM"}'})), "--store", "costs"]) == 0
    assert main(["finops", "check", "--costs", "--store", "costs"]) == 0
    assert main(["finops", "check", "--costs", "--require", "team", "--store", "costs"]) == 1
    Path("compose.yaml").write_text("services:\n  a: {}\n")
    capsys.readouterr()
    assert main(["finops", "check", "compose.yaml", "--costs", "--store", "costs"]) == 1
    assert "service a has no CostCenter" in capsys.readouterr().out
