"""The programs in scripts/: sums are honest, checks report what they saw, locks are current."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from scripts import checks, docs, lock
from scripts import test as shards

ROOT = Path(__file__).resolve().parent.parent.parent
JUNIT = """<testsuites><testsuite>
<testcase name="a"/>
<testcase name="b"><failure message="x"/></testcase>
<testcase name="c"><error message="not run: no server"/></testcase>
<testcase name="d"><skipped message="outside"/></testcase>
<testcase name="e"><skipped/><error/></testcase>
</testsuite></testsuites>"""


def test_the_sum_counts_every_kind_of_outcome(tmp_path):
    """Failures and errors count as failed, also where the same test was skipped before."""
    report = tmp_path / "report.xml"
    report.write_text(JUNIT)

    assert shards.Sum(passed=1, failed=3, skipped=1) == shards.count(report)


@pytest.mark.parametrize("content", [None, "", "<testsuite>", "not xml"], ids=["missing", "empty", "cut off", "text"])
def test_a_report_that_cannot_be_read_is_not_a_pass(tmp_path, content):
    """A shard that left no readable report has no sum, and the caller counts a failure."""
    report = tmp_path / "report.xml"
    if content is not None:
        report.write_text(content)

    assert shards.count(report) is None


@pytest.mark.parametrize(
    ("ends", "report", "expected"),
    [
        (0, '<testsuite><testcase name="a"/></testsuite>', "1 passed, 0 failed, 0 skipped"),
        (1, '<testsuite><testcase name="a"/></testsuite>', "1 passed, 1 failed, 0 skipped"),
        (1, '<testsuite><testcase name="a"><failure/></testcase></testsuite>', "0 passed, 1 failed, 0 skipped"),
        (5, None, "0 passed, 1 failed, 0 skipped"),
        (0, None, "0 passed, 1 failed, 0 skipped"),
    ],
    ids=["clean", "crashed after its tests", "failed", "nothing collected", "no report"],
)
def test_a_shard_that_ends_badly_is_a_failure(tmp_path, monkeypatch, ends, report, expected):
    """Whatever a session's exit status and report say, the worse of the two counts."""
    monkeypatch.setattr(shards, "ROOT", tmp_path)
    monkeypatch.setattr(shards, "REPORTS", tmp_path)
    write = f"pathlib.Path('tests.xml').write_text({report!r})" if report else "None"
    (tmp_path / "noxfile.py").write_text(
        "import pathlib, sys, nox\n"
        "nox.options.default_venv_backend = 'none'\n"
        "@nox.session\n"
        "def tests(session):\n"
        f"    {write}\n"
        f"    session.run(sys.executable, '-c', 'import sys; sys.exit({ends})')\n"
    )

    assert expected == str(shards.run_shard("tests"))


def test_an_unknown_shard_is_a_usage_error(capsys):
    """A misspelt shard is named, with the known ones, and nothing runs."""
    assert shards.main({"SHARD": "test"}) == 2
    assert "no shard 'test'; known: lint, types, tests" in capsys.readouterr().err


def test_every_shard_is_a_session_with_a_docstring():
    """What `make test` runs are sessions of noxfile.py, and `nox -l` explains every one."""
    listed = subprocess.run(
        [sys.executable, "-m", "nox", "-l"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    sessions = {line[2:].split(" -> ")[0] for line in listed.splitlines() if line[:2] in {"* ", "- "}}
    explained = {
        line[2:].split(" -> ")[0] for line in listed.splitlines() if line[:2] in {"* ", "- "} and " -> " in line
    }

    assert {*shards.STRICT, *shards.QUICK, "bench", "demo", "soak"} <= sessions
    assert sessions == explained


def test_checks_report_each_outcome(tmp_path, monkeypatch, capsys):
    """A group runs to its end: clean, failing and missing programs each get a test case, and the exit status is 1."""
    table = {
        "lint": {
            "clean": [sys.executable, "-c", ""],
            "failing": [sys.executable, "-c", "import sys; sys.exit('two lines\\x00 too \\x1b[31mlong')"],
            "missing": ["/no-such-program"],
        }
    }
    monkeypatch.setattr(checks, "CHECKS", table)
    monkeypatch.setattr(checks, "REPORTS", tmp_path)

    status = checks.main(["lint"])

    cases = {case.get("name"): case.find("failure") for case in ET.parse(tmp_path / "lint.xml").iter("testcase")}
    assert status == 1
    assert cases["clean"] is None
    assert "two lines too [31mlong" in cases["failing"].text
    assert "exit 127" in cases["missing"].get("message")
    assert "FAILED  failing" in capsys.readouterr().err
    assert shards.Sum(passed=1, failed=2) == shards.count(tmp_path / "lint.xml")


@pytest.mark.parametrize("name", lock.LOCKS)
def test_locks_are_current(name):
    """Every lock file was made from today's dependencies, pins each by hash, and names no registry."""
    assert [] == lock.check(name)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: text.replace("    --hash=sha256:", "    # ", 99), "without a hash"),
        (lambda text: f"{text}--index-url https://example.org/simple\n", "holds an address"),
        (lambda text: text.partition("\n")[2], "run `make lock`"),
        (lambda text: text.partition("\n")[0] + "\n", "pins nothing"),
    ],
    ids=["hashes removed", "an index added", "head lost", "emptied"],
)
def test_a_lock_that_was_tampered_with_is_found(tmp_path, monkeypatch, change, problem):
    """A lock file that lost its hashes, its head or its pins, or gained an address, is named."""
    for path in ("pyproject.toml", "requirements/uv.in", "requirements/uv.txt"):
        target = tmp_path / path
        target.parent.mkdir(exist_ok=True)
        target.write_text((ROOT / path).read_text())
    monkeypatch.setattr(lock, "ROOT", tmp_path)
    target.write_text(change(target.read_text()))

    assert any(problem in found for found in lock.check("uv"))


def test_generated_text_that_differs_is_found(tmp_path, monkeypatch, capsys):
    """`docs.py --check` shows the difference and fails; `--write` mends it."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# X\n\n<!-- generated: help -->\nold\n<!-- end: help -->\n\nkept\n")
    monkeypatch.setattr(docs, "ROOT", tmp_path)

    assert docs.main(["--check"]) == 1
    assert "-old" in capsys.readouterr().out
    assert docs.main(["--write"]) == 0
    assert docs.main(["--check"]) == 0
    text = (tmp_path / "README.md").read_text()
    assert "$ companyos --help\nUsage: companyos" in text
    assert text.endswith("\n\nkept\n")


def test_a_block_nobody_generates_is_named(tmp_path, monkeypatch):
    """A misspelt block is an error, not silently left as it is."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("<!-- generated: halp -->\n<!-- end: halp -->\n")
    monkeypatch.setattr(docs, "ROOT", tmp_path)

    with pytest.raises(SystemExit, match="no generator 'halp'"):
        docs.main(["--check"])


PAGES = {
    "runs": ("```python\nx = 1\n```\n\ntext\n\n```python\nassert x == 1\n```\n", 0),
    "python that fails": ("```python\nassert False, 'no'\n```\n", 1),
    "text is left alone": ("```text\nraise SystemExit(1)\n```\n```py\nraise SystemExit(1)\n```\n", 0),
    "a command": ("```console\n$ companyos --version\ncompanyos 9.9\n```\n", 0),
    "a command that fails": ("```console\n$ companyos nonsense\n```\n", 1),
    "a command that fails as it says": ("```console\n$ companyos nonsense  # exit 2\n```\n", 0),
    "another program is left alone": ("```console\n$ no-such-program\n```\n", 0),
    "an assignment before it": ("```sh\n$ COMPANYOS__FINOPS=1 companyos config show  # exit 2\n```\n", 0),
}


@pytest.mark.parametrize("name", PAGES)
def test_pages_run_by_simple_rules(tmp_path, name):
    """What of a page runs, and what makes it fail."""
    text, expected = PAGES[name]
    (tmp_path / "page.md").write_text(text)
    runner = Path(__file__).with_name("run_page.py")

    result = subprocess.run(
        [sys.executable, str(runner), "page.md"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert expected == result.returncode, result.stderr
