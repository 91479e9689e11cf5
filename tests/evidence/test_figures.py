"""Figures: version 1 gives for ever what it gives now, and what is not clear is refused."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from companyos.canonical import canonical_bytes
from companyos.evidence import MemberInvalidError, PackAlteredError, PackInvalidError, summary
from companyos.evidence.summary import check_summary, summarise

RULES = [{"id": "R", "defaultConfiguration": {"level": "error"}}, {"id": "S"}]
EXTENSION = {"name": "more", "rules": [{"id": "R", "defaultConfiguration": {"level": "note"}}]}
GOLDEN = {
    "tests/a.xml": b"<testsuites><testsuite tests='3' failures='1' errors='0' skipped='1'><testcase/>"
    b"<testcase><failure/></testcase><testcase><skipped/></testcase></testsuite></testsuites>",
    "findings/a.sarif": json.dumps(
        {
            "version": "2.1.0",
            "runs": [
                {
                    "tool": {"driver": {"name": "x", "rules": RULES}},
                    "results": [{"ruleId": "R"}, {"level": "note"}, {"kind": "pass"}, {"kind": "review"}],
                    "invocations": [{"executionSuccessful": False}],
                }
            ],
        }
    ).encode(),
    "sbom/a.json": b'{"bomFormat":"CycloneDX","components":[{"name":"a"}]}',
    "cost/a.json": b'{"decision":"allow","reason":"budget.within"}',
}


def counted(result, **run):
    """The levels that one SARIF result is counted under."""
    tool = {"driver": {"name": "x", "rules": RULES}, "extensions": [EXTENSION]}
    document = {"version": "2.1.0", "runs": [{"tool": tool, "results": [result], **run}]}
    figures = summarise({"findings/a.sarif": json.dumps(document).encode()})["findings"]
    return [level for level in ("error", "warning", "note", "none") for _ in range(figures[level])]


def junit(content):
    """The figures of one JUnit file."""
    return summarise({"tests/a.xml": content})["tests"]


def test_version_1_never_changes():
    """The bytes of a summary of version 1 are these, so that the first pack is verified by every later release."""
    assert canonical_bytes(summarise(GOLDEN, 1)) == (
        b'{"cost":{"gates":[{"decision":"allow","reason":"budget.within"}]},'
        b'"findings":{"error":1,"none":1,"note":1,"unfinished_runs":1,"warning":0},'
        b'"sbom":{"components":1},"tests":{"failed":1,"passed":1,"skipped":1},"version":1}'
    )


def test_a_kind_of_evidence_expected_later_breaks_no_pack(monkeypatch):
    """What a later version expects is shown as not supplied, and is no part of what was signed."""
    made = canonical_bytes(summarise(GOLDEN))
    monkeypatch.setattr(summary, "EXPECTED", (*summary.EXPECTED, "licences/"))

    assert check_summary(GOLDEN, made) == summarise(GOLDEN)
    assert "licences" in summary.not_supplied(GOLDEN)


@pytest.mark.parametrize("version", [0, 2, True, "1", None, 1.5])
def test_an_unknown_version(version):
    """It is not guessed at: a newer companyos is needed."""
    made = canonical_bytes({**summarise(GOLDEN), "version": version})
    with pytest.raises(PackInvalidError, match="newer companyos"):
        check_summary(GOLDEN, made)


@pytest.mark.parametrize("made", [b"", b"[]", b"{}", b'{"version": 1}', b"5", b"\xff"])
def test_what_is_no_summary(made):
    """Each is refused by name."""
    with pytest.raises(PackInvalidError, match="is not one"):
        check_summary(GOLDEN, made)


def test_evidence_that_cannot_be_read_is_an_altered_pack():
    """Nobody could have built it, so in verification it is no matter of usage."""
    with pytest.raises(PackAlteredError):
        check_summary({"tests/a.xml": b"<html/>"}, canonical_bytes({"version": 1}))


@pytest.mark.parametrize(
    ("result", "levels"),
    [
        ({"level": "note", "ruleId": "R"}, ["note"]),
        ({}, ["warning"]),
        ({"ruleId": "R"}, ["error"]),
        ({"ruleId": "R/sub"}, ["error"]),
        ({"ruleIndex": 0}, ["error"]),
        ({"rule": {"index": 0}}, ["error"]),
        ({"rule": {"id": "R"}}, ["error"]),
        ({"ruleId": "S"}, ["warning"]),
        ({"ruleId": "unknown"}, ["warning"]),
        ({"ruleId": "R", "rule": {"toolComponent": {"index": 0}}}, ["note"]),
        ({"ruleId": "R", "rule": {"toolComponent": {"name": "more"}}}, ["note"]),
        ({"ruleIndex": 0, "rule": {"toolComponent": {"index": 0}}}, ["note"]),
        ({"kind": "pass", "ruleId": "R"}, []),
        ({"kind": "notApplicable"}, []),
        ({"kind": "open", "ruleId": "R"}, ["none"]),
        ({"kind": "fail", "ruleId": "R"}, ["error"]),
    ],
)
def test_levels_of_findings(result, levels):
    """A level is found as SARIF 2.1.0 section 3.27.10 says; passes are no findings."""
    assert levels == counted(result)


def test_a_level_that_the_run_overrides():
    """A run may configure a rule anew, which comes before the rule's own default."""
    override = {"descriptor": {"id": "S"}, "configuration": {"level": "error"}}
    calls = [{"executionSuccessful": True, "ruleConfigurationOverrides": [override]}]
    result = {"ruleId": "S", "provenance": {"invocationIndex": 0}}

    assert counted(result, invocations=calls) == ["error"]
    assert counted({"ruleId": "S"}, invocations=calls) == ["warning"]


@pytest.mark.parametrize(
    "result",
    [
        {"level": "unfinished_runs"},
        {"level": None},
        {"level": "ERROR"},
        {"level": ["error"]},
        {"kind": "passed"},
        {"kind": "pass", "level": "error"},
        {"ruleIndex": 99},
        {"ruleIndex": -2},
        {"ruleIndex": "0"},
        {"ruleId": 5},
        {"rule": {"toolComponent": {"index": 7}}},
        {"rule": {"toolComponent": {"name": "nobody"}}},
        "text",
        None,
    ],
    ids=str,
)
def test_findings_that_are_not_clear(result):
    """A finding whose level nobody can tell is refused, never counted as something milder."""
    with pytest.raises(MemberInvalidError):
        counted(result)


@pytest.mark.parametrize("call", [{}, {"executionSuccessful": "no"}, {"executionSuccessful": None}, 5])
def test_runs_that_do_not_say_whether_they_finished(call):
    """`"no"` is not taken for yes."""
    with pytest.raises(MemberInvalidError):
        counted({}, invocations=[call])


@pytest.mark.parametrize(
    ("content", "figures"),
    [
        (b"<testsuite/>", (0, 0, 0)),
        (b"<testsuite tests='1'><testcase><error/></testcase></testsuite>", (0, 1, 0)),
        (b"<testsuite xmlns='urn:x'><testcase><failure/></testcase></testsuite>", (0, 1, 0)),
        (b"<testsuite><n:testcase xmlns:n='x'><n:failure/></n:testcase></testsuite>", (0, 1, 0)),
        (b"<testsuite failures='2'><testcase><failure/><failure/></testcase></testsuite>", (0, 1, 0)),
        (b"<testsuite failures='1'><testcase><failure/><failure/></testcase></testsuite>", (0, 1, 0)),
    ],
)
def test_test_results(content, figures):
    """Cases are counted under whatever namespace, and several failures of one case are one."""
    assert dict(zip(("passed", "failed", "skipped"), figures, strict=True)) == junit(content)


@pytest.mark.parametrize(
    "content",
    [
        b"<testsuites><testsuite tests='5' failures='5'/></testsuites>",
        b"<testsuites tests='2'><testsuite><testcase/></testsuite></testsuites>",
        b"<testsuite failures='1'><testcase/></testsuite>",
        b"<testsuite errors='1'><testcase/></testsuite>",
        b"<testsuite skipped='1'><testcase/></testsuite>",
        b"<testsuite failures='0'><testcase><failure/></testcase></testsuite>",
        b"<testsuite tests='many'><testcase/></testsuite>",
        b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><testsuite/>",
        '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY x "y">]><testsuite/>'.encode("utf-16"),
        b'<?xml version="1.0" encoding="nonsense"?><testsuite/>',
        b"<other><testcase/></other>",
        b"",
    ],
)
def test_test_results_that_contradict_themselves(content):
    """Totals that the cases do not bear out, document types in any encoding, and other documents are refused."""
    with pytest.raises(MemberInvalidError):
        junit(content)


def test_what_pytest_writes_is_taken(tmp_path):
    """Errors after a test, which pytest counts in its own way, do not make its own report contradictory."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.fixture\ndef broken():\n    yield\n    raise RuntimeError\n"
        "def test_good(): pass\n"
        "def test_bad(): assert 0\n"
        "def test_good_then_error(broken): pass\n"
        "def test_bad_then_error(broken): assert 0\n"
        "def test_skipped(): pytest.skip()\n"
    )
    out = tmp_path / "out.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    subprocess.run([*command, f"--junitxml={out}", str(tmp_path)], check=False, capture_output=True, cwd=tmp_path)

    assert junit(out.read_bytes()) == {"passed": 1, "failed": 4, "skipped": 1}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cost/a.json", b'{"decision":"allow","decision":"deny","reason":"r"}'),
        ("cost/a.json", b'{"decision":true,"reason":"r"}'),
        ("cost/a.json", b'{"decision":"allow","reason":"\\ud800"}'),
        ("sbom/a.json", b'{"bomFormat":"CycloneDX","components":{"a":1}}'),
        ("findings/a.sarif", b'{"version":"2.1.0","runs":[{"results":[{"level":"error","level":"none"}]}]}'),
    ],
)
def test_other_evidence_that_is_not_clear(name, content):
    """Keys given twice, other types and text that no summary could carry are refused."""
    with pytest.raises(MemberInvalidError):
        summarise({name: content})
