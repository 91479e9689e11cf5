"""The test kit that others build on."""

import subprocess
import sys

import pytest

from companyos import Control, Decision, Finding
from companyos.controls import tree_specimen
from companyos.testing import assert_proves


def control(check):
    return Control(
        id="X",
        title="t",
        check=check,
        rules={"X.bad": "bad"},
        docs="x.md",
        specimens=(
            tree_specimen("planted", {"a": "bad"}, violates="X.bad"),
            tree_specimen("clean", {"a": "good"}),
        ),
    )


def test_assert_proves_names_what_slipped():
    """A blind control fails with the specimen that it missed."""
    with pytest.raises(AssertionError, match=r"planted: wanted X\.bad, got allow"):
        assert_proves(control(lambda _: Decision.allowed("X.clean")))


def test_assert_proves_passes_a_control_that_holds():
    """A control that catches what is planted and no more passes."""

    def check(tree):
        bad = "bad" in (tree / "a").read_text()
        return Decision.denied("X.bad", findings=[Finding("X.bad", "b")]) if bad else Decision.allowed("X.clean")

    assert_proves(control(check))


def test_the_fixtures_give_real_rooms(companyos_ledger, companyos_company):
    """A ledger and a company, each in a directory of its own."""
    companyos_ledger.append("test.event", {"n": 1})
    companyos_company.ledger.append("test.event", {"n": 2})
    assert [len(companyos_ledger), len(companyos_company.ledger)] == [1, 1]
    assert companyos_company.settings.company.name == "test"


def test_the_ledger_fixture_notices_damage(tmp_path):
    """A test that damages its ledger fails when the fixture verifies it."""
    (tmp_path / "test_damage.py").write_text(
        "import sqlite3\n"
        "def test_it(companyos_ledger, tmp_path):\n"
        "    companyos_ledger.append('test.event', {'n': 1})\n"
        "    with sqlite3.connect(tmp_path / 'companyos-ledger' / 'ledger.db') as database:\n"
        "        database.execute(\"UPDATE entry SET raw = replace(raw, '1', '2')\")\n"
        "    database.close()\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (ended.returncode, "EntryAlteredError" in ended.stdout) == (1, True), ended.stdout
