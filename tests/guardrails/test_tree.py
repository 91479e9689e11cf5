"""Trees, runs, gates and reports: nothing strange crashes them, and nothing unchecked is green."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from companyos.controls import Control, tree_specimen
from companyos.decision import Decision, Finding, Severity, Verdict
from companyos.errors import ConfigError
from companyos.flags.plugin import FLAG_EXPIRY
from companyos.guardrails import (
    Gate,
    Tree,
    TreeError,
    placeholders_control,
    run,
    secrets_control,
    select,
    to_bytes,
    to_sarif,
)
from companyos.guardrails.secrets import OwnDetectors
from companyos.guardrails.tree import SIZE_LIMIT_BYTES, glob_pattern, is_production

_STUB = "def send(order):\n    pass\n"


def _git(root, *arguments):
    subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True)


def _control(name, check):
    def made(rule):
        return tree_specimen(f"planted {rule}", {"a": "x"}, violates=rule)

    return Control(
        name, name, check, {f"{name}.r": "r"}, (made(f"{name}.r"), tree_specimen("clean", {"a": "x"})), "x.md"
    )


def test_a_repository_is_what_git_would_commit(plant):
    """Ignored files are left out, untracked ones are looked at."""
    root = plant({"a.py": "", "b.log": "", ".gitignore": "*.log\n", ".venv/c.py": ""})
    _git(root, "init", "-q")

    assert {".gitignore", "a.py"} == set(Tree.open(root).texts)


def test_a_directory_that_its_repository_ignores_is_walked(plant):
    """An ignored scratch directory is not taken for an empty tree."""
    root = plant({"scratch/a.py": _STUB, ".gitignore": "scratch/\n"})
    _git(root, "init", "-q")

    assert {"a.py"} == set(Tree.open(root / "scratch").texts)


@pytest.mark.parametrize("tracked", [True, False])
def test_a_repository_inside_the_repository_is_looked_at(plant, tracked):
    """What a nested repository would commit is checked, whether or not the outer one knows it as a submodule."""
    root = plant({"a.py": "", "svc/b.py": _STUB, "svc/b.log": "", "svc/.gitignore": "*.log\n"})
    _git(root, "init", "-q")
    _git(root / "svc", "init", "-q")
    _git(root / "svc", "add", "-A")
    _git(root / "svc", "-c", "user.email=a@b", "-c", "user.name=a", "commit", "-qm", "x")
    if tracked:
        _git(root, "-c", "advice.addEmbeddedRepo=false", "add", "-A")

    assert {"a.py", "svc/.gitignore", "svc/b.py"} == set(Tree.open(root).texts)


def test_a_repository_without_files_inside_the_repository_is_undetermined(plant):
    """A submodule that is not there was not checked; an exclude glob may say that it need not be."""
    root = plant({"a.py": "x = 1\n", "svc/b.py": ""})
    _git(root, "init", "-q")
    _git(root / "svc", "init", "-q")
    _git(root / "svc", "add", "-A")
    _git(root / "svc", "-c", "user.email=a@b", "-c", "user.name=a", "commit", "-qm", "x")
    _git(root, "-c", "advice.addEmbeddedRepo=false", "add", "-A")
    shutil.rmtree(root / "svc")
    (root / "svc").mkdir()
    controls = {"G01": placeholders_control()}

    assert Verdict.UNDETERMINED is run(root, controls).decision.verdict
    assert run(root, controls, exclude=["svc"]).decision.allow


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("prod.env", b"#\0\nPASSWORD=S3cret!pw9\n"),
        ("prod.env", "PASSWORD=S3cret!pw9\n".encode("utf-16-le")),
        ("prod.env", "PASSWORD=S3cret!pw9\n".encode("utf-16-be")),
        ("prod.env", "PASSWORD=S3cret!pw9\n".encode("utf-16")),
        ("settings", b"PASSWORD = 'S3cret!pw9'\0"),
    ],
)
def test_a_sign_without_shape_does_not_hide_text(plant, path, content):
    """NUL in a text file, or UTF-16 with or without its mark, is read like any text."""
    decision = secrets_control([OwnDetectors()]).check(plant({path: content}))

    assert [(path, 2 if b"#" in content else 1)] == [(finding.path, finding.line) for finding in decision.findings]


@pytest.mark.parametrize(
    "name", ["with space.py", "with\nnewline.py", "ünï.py", b"not-utf8-\xff.py".decode("utf-8", "surrogateescape")]
)
@pytest.mark.parametrize("repository", [True, False])
def test_strange_names_are_checked_and_printable(plant, name, repository):
    """Any name that a file system allows is looked at, and reported as text that every stream can carry."""
    root = plant({name: _STUB})
    if repository:
        _git(root, "init", "-q")
    report = run(root, {"G01": placeholders_control()})
    [finding] = report.decision.findings

    assert finding.path.isprintable()
    assert json.loads(to_bytes(report))


def test_what_is_not_text_is_noted_and_never_crashes(plant):
    """Binary files, links and their loops are skipped by name; other encodings are read."""
    root = plant({"a.bin": b"\0\1", "latin.py": b"# caf\xe9\n", "wide.py": _STUB.encode("utf-16")})
    (root / "loop").symlink_to(root)
    (root / "dangling").symlink_to(root / "nowhere")
    decision = placeholders_control().check(root)

    assert Verdict.DENY is decision.verdict
    assert ["wide.py"] == [finding.path for finding in decision.findings]
    assert {"a.bin", "latin.py", "loop", "dangling"} == {note["path"] for note in decision.facts["skipped"]}


def test_a_file_too_large_is_undetermined(plant):
    """Two hundred megabytes of text are named, not read and not green."""
    root = plant({"a.py": "x = 1\n"})
    with (root / "big.txt").open("wb") as file:
        file.write(b"x" * 9000)
        file.truncate(SIZE_LIMIT_BYTES + 1)
    decision = placeholders_control().check(root)

    assert Verdict.UNDETERMINED is decision.verdict
    assert "big.txt" in decision.message


def test_an_unreadable_tree_is_undetermined(plant):
    """No file at all is nothing checked; no directory at all is an error."""
    assert Verdict.UNDETERMINED is placeholders_control().check(plant({})).verdict
    with pytest.raises(TreeError, match="nothing to check"):
        Tree.open("/nowhere/at/all")


def test_a_hook_s_git_environment_does_not_mislead(plant, monkeypatch):
    """GIT_DIR of another repository, as a commit hook sets it, is not asked."""
    root = plant({"a.py": _STUB})
    _git(root, "init", "-q")
    monkeypatch.setenv("GIT_DIR", os.devnull)

    assert {"a.py"} == set(Tree.open(root).texts)


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("tests/data", "tests/data/a/b.py", True),
        ("**/*.min.js", "a/b/x.min.js", True),
        ("*.py", "a/b.py", False),
        ("src/**", "src/a/b.py", True),
        ("a?.py", "ab.py", True),
        ("docs/", "docs2/a", False),
    ],
)
def test_exclude_globs(glob, path, matches):
    """A star stays within a name, two cross names, a directory stands for all below it."""
    assert matches == bool(glob_pattern(glob).match(path))


@pytest.mark.parametrize(
    ("path", "production"),
    [
        ("src/a.py", True),
        ("tests/a.py", False),
        ("src/a.test.ts", False),
        ("conftest.py", False),
        ("latest/a.py", True),
    ],
)
def test_what_is_production(path, production):
    """Tests and their fixtures are not the product."""
    assert production == is_production(path)


def test_excluded_files_are_not_judged(plant):
    """An exclude glob holds for shared-tree controls and for those that walk themselves."""
    found = Decision.denied("X.found", findings=[Finding("X.r", "bad", path="old/a.py")], facts={"unchecked": []})
    controls = {"G01": placeholders_control(), "X": _control("X", lambda _: found)}
    root = plant({"old/a.py": _STUB, "b.py": "x = 1\n"})

    assert Verdict.DENY is run(root, controls).decision.verdict
    assert run(root, controls, exclude=["old"]).decision.allow


@pytest.mark.parametrize("facts", [{}, {"unchecked": ["b.yaml: cannot be read"]}])
def test_excluding_all_findings_does_not_make_the_unchecked_clean(plant, facts):
    """A control that left something unchecked, or does not say, is not allowed because its findings are excluded."""
    found = Decision.denied("X.found", findings=[Finding("X.r", "bad", path="old/a.py")], facts=facts)
    report = run(plant({"b.py": "x = 1\n"}), {"X": _control("X", lambda _: found)}, exclude=["old"])

    assert (Verdict.UNDETERMINED, "X.unchecked") == (report.decision.verdict, report.decision.reason)


@pytest.mark.parametrize(("exclude", "verdict"), [("ours", "undetermined"), ("theirs", "deny"), ("**/*.yaml", "allow")])
def test_flags_in_excluded_paths(plant, exclude, verdict):
    """Excluding the expired flag leaves the unreadable file; excluding both leaves nothing unchecked."""
    text = json.dumps({"flags": {"f": {}}})
    root = plant({"ours/feature-flags/a.yaml": text, "theirs/feature-flags/b.yaml": "flags: [", "a.py": "x = 1\n"})

    assert verdict == run(root, {"FLAG-EXPIRY": FLAG_EXPIRY}, exclude=[exclude]).decision.verdict.value


def test_a_control_that_crashes_is_undetermined(plant):
    """One broken control neither stops the others nor passes."""

    def crash(_tree):
        raise RuntimeError("broken")

    report = run(plant({"a.py": "x = 1\n"}), {"G01": placeholders_control(), "X": _control("X", crash)})

    assert Verdict.UNDETERMINED is report.decision.verdict
    assert {"G01": "G01.clean", "X": "X.crashed"} == {r.control.id: r.decision.reason for r in report.results}


def test_a_gate_needs_every_control_that_it_requires(plant):
    """A required control that is not supplied makes the gate undetermined; a finding denies."""
    controls = {"G01": placeholders_control()}
    clean, stub = plant({"a.py": "x = 1\n"}), {"b.py": _STUB}

    assert Gate("G2", ("G01",)).evaluate(clean, controls).allow
    missing = Gate("G2", ("G01", "G06")).evaluate(clean, controls)
    assert (Verdict.UNDETERMINED, "gate.G2.missing") == (missing.verdict, missing.reason)
    assert Verdict.DENY is Gate("G2", ("G01", "G06")).evaluate(plant(stub), controls).verdict
    with pytest.raises(ConfigError, match="requires no control"):
        Gate("G2", ())


def test_a_control_that_does_not_exist_cannot_be_chosen():
    """A misspelt id is an error, not an empty run."""
    with pytest.raises(ConfigError, match="no such control"):
        select({"G01": placeholders_control()}, ["G1"])


def test_sarif_is_valid_stable_and_says_what_was_not_checked(plant):
    """The log fits the format's model, is the same bytes twice, and an undetermined control is not a success."""
    from sarif_pydantic import Sarif

    controls = {"G01": placeholders_control(), "X": _control("X", lambda _: Decision.undetermined("X.gone", "no tool"))}
    root = plant({"src/with space.py": _STUB + _STUB})
    log = to_sarif(run(root, controls))
    [only] = log["runs"]

    assert to_bytes(run(root, controls)) == to_bytes(run(root, controls))
    assert "2.1.0" == Sarif.model_validate(log).version
    assert {"src/with%20space.py"} == {
        r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in only["results"]
    }
    assert 2 == len({r["partialFingerprints"]["companyosFinding/v1"] for r in only["results"]})
    assert all(only["tool"]["driver"]["rules"][r["ruleIndex"]]["id"] == r["ruleId"] for r in only["results"])
    assert not only["invocations"][0]["executionSuccessful"]
    assert "no tool" == only["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
    assert str(root) not in to_bytes(run(root, controls)).decode()


def test_a_fingerprint_survives_a_moved_line(plant):
    """Code inserted above a finding does not make it a new one."""

    def fingerprints(text):
        results = to_sarif(run(plant({"a.py": text}), {"G01": placeholders_control()}))["runs"][0]["results"]
        return [result["partialFingerprints"] for result in results]

    assert fingerprints(_STUB) == fingerprints("import os\n\n\n" + _STUB)


def test_severities_become_levels(plant):
    """A critical finding is an error with its score."""
    found = Decision.denied("X.found", findings=[Finding("X.r", "bad", Severity.LOW, hint="mend it")])
    [result] = to_sarif(run(plant({"a": "x"}), {"X": _control("X", lambda _: found)}))["runs"][0]["results"]

    assert ("note", "bad. Next: mend it.") == (result["level"], result["message"]["text"])
