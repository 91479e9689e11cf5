"""Bad input through the command line: one clear message, the right exit status, nothing half-written."""

import os
import sqlite3
import subprocess
import sys

import pytest

pytestmark = pytest.mark.e2e


def not_yaml(root):
    (root / "companyos.yaml").write_text("company: [unclosed\n")


def a_misspelt_key(root):
    (root / "companyos.yaml").write_text("ledger: {ulr: x}\n")


def text_for_a_ledger(root):
    (root / "ledger.db").write_text("this is not a database\n" * 100)


def somebody_elses_database(root):
    with sqlite3.connect(root / "ledger.db") as database:
        database.execute("CREATE TABLE theirs (x)")


def text_for_a_pack(root):
    (root / "a.cpack").write_text("not a zip")
    (root / "trust.yaml").write_text("keys: []\n")


def text_for_a_policy(root):
    (root / "a.cpack").write_text("not a zip")
    (root / "trust.yaml").write_text("keys: 7\n")


def a_full_directory(root):
    (root / "svc").mkdir()
    (root / "svc" / "mine.txt").write_text("mine")


def nothing(root):
    """Leave the directory empty."""


UNWRITABLE = "/proc/companyos"  # not even root may make anything there
URL = "sqlite:///ledger.db"
CASES = {
    "config does not parse": (not_yaml, ["config", "show"], 2, "is not YAML"),
    "config has a misspelt key": (a_misspelt_key, ["config", "show"], 2, "did you mean 'url'"),
    "ledger is not a database": (text_for_a_ledger, ["ledger", "verify", "--url", URL, "--key", "k"], 3, "ledger"),
    "ledger is another database": (somebody_elses_database, ["ledger", "tail", "--url", URL], 3, "not a ledger"),
    "ledger is not there": (nothing, ["ledger", "tail", "--url", URL], 3, "no ledger"),
    "ledger URL of another kind": (nothing, ["ledger", "tail", "--url", "mysql://x"], 2, "ledger URL"),
    "ledger in an unwritable place": (
        nothing,
        ["ledger", "append", "--type", "a.b", "--data", "{}", "--url", f"sqlite:///{UNWRITABLE}/l.db"],
        3,
        UNWRITABLE,
    ),
    "ledger data is not JSON": (
        nothing,
        ["ledger", "append", "--type", "a.b", "--data", "{", "--url", URL],
        2,
        "JSON",
    ),
    "pack is not a pack": (
        text_for_a_pack,
        ["pack", "verify", "a.cpack", "--trust", "trust.yaml"],
        1,
        "not an evidence pack",
    ),
    "trust policy is not one": (
        text_for_a_policy,
        ["pack", "verify", "a.cpack", "--trust", "trust.yaml"],
        2,
        "trust policy",
    ),
    "answer does not validate": (
        nothing,
        ["new", "api", "svc", "--defaults", "--data", "project_name=Not A Name!"],
        2,
        "Not A Name!",
    ),
    "question does not exist": (
        nothing,
        ["new", "api", "svc", "--defaults", "--data", "projct_name=x"],
        2,
        "project_name",
    ),
    "kind is not offered": (nothing, ["new", "spaceship", "svc", "--defaults"], 2, "spaceship"),
    "destination is taken": (a_full_directory, ["new", "api", "svc", "--defaults"], 2, "not empty"),
    "destination is unwritable": (nothing, ["new", "api", f"{UNWRITABLE}/svc", "--defaults"], 2, UNWRITABLE),
    "bill is not FOCUS": (text_for_a_pack, ["finops", "ingest", "a.cpack", "--store", "costs"], 2, "column"),
    "bill is not there": (nothing, ["finops", "ingest", "none.csv", "--store", "costs"], 2, "none.csv"),
    "request is not JSON": (
        nothing,
        ["authz", "eval", "--subject", "{", "--action", "read", "--resource", "{}"],
        2,
        "JSON",
    ),
    "key file is not a key": (text_for_a_pack, ["pack", "verify", "a.cpack", "--key", "trust.yaml"], 2, "public key"),
    "nothing to check": (nothing, ["check", "nowhere"], 3, "nowhere"),
    "demo in an unwritable place": (nothing, ["demo", f"{UNWRITABLE}/demo"], 2, UNWRITABLE),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(tmp_path, case):
    """What, got, expected, next step, on stderr; no traceback; the directory as it was."""
    prepare, arguments, status, message = CASES[case]
    prepare(tmp_path)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    environ = {key: value for key, value in os.environ.items() if not key.startswith("COMPANYOS")}
    command = [sys.executable, "-m", "companyos", *arguments]
    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert (ended.returncode, ended.stdout) == (status, ""), ended.stderr
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "tool"), [(["new", "api", "svc", "--defaults"], "git"), (["demo", "demo"], "git")]
)
def test_a_missing_tool_is_named(tmp_path, arguments, tool):
    """Without git the message says so, and nothing is left behind but what says why."""
    empty = tmp_path / "empty"
    empty.mkdir()
    command = [sys.executable, "-m", "companyos", *arguments]
    environ = os.environ | {"PATH": str(empty)}
    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode in {1, 3}
    assert tool in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "svc").exists()
