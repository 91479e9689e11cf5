"""`companyos authz test`: policies have tests, and what was not tested is not a success."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from tests.authz.test_authz_cli import run  # noqa: F401 - the fixture
from tests.authz.test_rego import ALLOW

CASE = """
- name: a read
  request:
    subject: {id: u-1, type: user}
    action: read
    resource: {id: d-1, type: document}
  expect: {decision: %s, reason: policy.mine, obligations: []}
"""


@pytest.fixture
def tested(policies):
    """A policy directory that allows reads, with a file of cases."""

    def write(cases):
        directory = policies(mine__rego=ALLOW)
        (directory / "tests").mkdir()
        (directory / "tests" / "cases.yaml").write_text(cases)
        return str(directory)

    return write


def test_the_playbook_passes(run):  # noqa: F811 - the fixture
    """The built-in policies ship their tests, and pass them."""
    status, out, _ = run("test", "--json")

    assert status == 0
    assert json.loads(out)["failed"] == 0
    assert json.loads(out)["passed"] >= 10


def test_a_case_that_passes(run, tested):  # noqa: F811
    """A case that gets the expected answer passes, and is shown with its file."""
    status, out, _ = run("test", tested(CASE % "allow"))

    assert status == 0
    assert "pass    0/tests/cases.yaml  a read" in out
    assert "1 passed, 0 failed" in out


def test_a_case_that_fails(run, tested, tmp_path):  # noqa: F811
    """A case that gets another answer fails the command, and the JUnit report says what was answered instead."""
    status, out, _ = run("test", tested(CASE % "deny"), "--junit", "report.xml")
    suite = ET.parse(tmp_path / "report.xml").getroot()

    assert status == 1
    assert "decision is allow, expected deny" in out
    assert suite.get("failures") == "1"
    assert "decision is allow" in suite.find(".//failure").get("message")


def test_changing_only_the_policy(run, tested, tmp_path):  # noqa: F811
    """A changed rule makes the same cases fail."""
    directory = tested(CASE % "allow")
    (tmp_path / "policies" / "mine.rego").write_text(ALLOW.replace('"read"', '"write"'))

    assert run("test", directory)[0] == 1


def test_nothing_to_test(run, policies):  # noqa: F811
    """Policies without cases are not tested, which is no success."""
    status, out, _ = run("test", str(policies(mine__rego=ALLOW)))

    assert (status, out) == (3, "nothing was tested: no cases found\n")


def test_the_policies_of_the_company(run, tested, tmp_path):  # noqa: F811
    """Without a path the cases of the configured policies are run."""
    tested(CASE % "allow")
    (tmp_path / "companyos.yaml").write_text("authz:\n  policies: [policies]\n")

    assert run("test")[0] == 0


def test_the_tests_of_what_is_extended(run, tested, tmp_path):  # noqa: F811
    """Policies that extend the playbook are tested together with it, by their own cases alone."""
    directory = tested((CASE % "allow").replace("policy.mine", "policy.baseline"))
    (tmp_path / "policies" / "metadata.yaml").write_text("owner: team\nversion: 1.0.0\nextends: playbook\n")
    status, out, _ = run("test", directory)

    assert status == 0
    assert "1 passed" in out


@pytest.mark.parametrize(
    ("cases", "text"),
    [
        ("a: 1\n", "not a list of cases"),
        ("- name: x\n", "not a case"),
        ("- 3\n", "not a case"),
        (CASE % "maybe", "expect.decision is not valid"),
        ((CASE % "allow").replace("reason:", "raeson:"), "expect.raeson is not valid"),
        ((CASE % "allow").replace("[]", "[1]"), "expect.obligations is not valid"),
        (CASE % "allow" + CASE % "allow", "two cases of one name"),
    ],
)
def test_a_case_that_says_nothing(run, tested, cases, text):  # noqa: F811
    """A malformed case is refused by file and place, instead of being passed over."""
    status, _, err = run("test", tested(cases))

    assert status == 2
    assert text in err


def test_a_report_that_cannot_be_written(run, tested):  # noqa: F811
    """A mistyped place of the report is the caller's mistake and no defect of ours."""
    status, _, err = run("test", tested(CASE % "allow"), "--junit", "no/such/report.xml")

    assert (status, "error[usage]: cannot write no/such/report.xml" in err) == (2, True)


def test_policies_of_a_remote_engine_are_not_passed(run, tmp_path):  # noqa: F811
    """Where a server decides, the built-in policies are not tested in its place."""
    (tmp_path / "companyos.yaml").write_text("authz: {engine: opa}\n")
    status, out, err = run("test")

    assert (status, out) == (2, "")
    assert "got: authz.engine: opa" in err
