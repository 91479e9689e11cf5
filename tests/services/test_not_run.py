"""A test that lacks its server is reported as not run, with the reason, and is a failure under STRICT=1."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import SERVICES, NotAvailableError
from tests.services.postgresql import find
from tests.services.system import SystemPackages

ROOT = Path(__file__).resolve().parent.parent.parent
CONFTEST = """
from pathlib import Path

import tests.conftest as ours
from tests.conftest import *
from tests.services import NotAvailableError, registry

ours.ROOT = Path(__file__).parent

def missing():
    raise NotAvailableError("no build of it for this machine")

registry.SERVICES = {**registry.SERVICES, "absent": registry.Service("absent", missing)}
"""
TESTS = """
import pytest

@pytest.mark.service("absent")
def test_needs_a_server():
    raise AssertionError("must not run")

def test_needs_none():
    pass

@pytest.mark.outside
def test_reads_shared():
    raise AssertionError("must not run")
"""


def run(tmp_path, tests=TESTS, *options, **environ):
    """Run a small test suite under our own conftest, in a process of its own."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(tests)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  service(name): x\n  outside: x\n")
    clean = {key: value for key, value in os.environ.items() if key not in {"STRICT", "SYSTEM_PACKAGES"}}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    environment = clean | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | environ
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


def test_a_missing_server_is_reported_with_its_reason(tmp_path):
    """Without STRICT the run passes, and a section names each test that was not run and why."""
    result = run(tmp_path)

    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed, 2 skipped" in result.stdout
    assert "not run, and why: 1" in result.stdout
    assert "test_it.py::test_needs_a_server: absent: no build of it for this machine" in result.stdout


def test_a_missing_server_fails_under_strict(tmp_path):
    """With STRICT=1 the same gap is a failure."""
    result = run(tmp_path, STRICT="1")

    assert result.returncode == 1
    assert "1 passed, 1 skipped, 1 error" in result.stdout
    assert "absent: no build of it for this machine" in result.stdout


def test_the_gap_is_in_the_junit_file(tmp_path):
    """Under STRICT=1 the JUnit file holds the gap as an error, so that every reader of it sees it."""
    run(tmp_path, TESTS, "--junit-xml=report.xml", STRICT="1")

    report = (tmp_path / "report.xml").read_text()

    assert 'errors="1" failures="0"' in report
    assert "not run: absent: no build of it for this machine" in report


def test_what_lies_outside_is_never_a_gap(tmp_path):
    """A test that reads ../shared is reported where that is missing, and does not fail even under STRICT=1."""
    result = run(tmp_path, TESTS, "-k", "shared", STRICT="1")

    assert result.returncode == 0
    assert "outside this clone: 1" in result.stdout
    assert "there is no ../shared beside this clone" in result.stdout


def test_a_server_nobody_knows_is_a_mistake(tmp_path):
    """A misspelt server is an error of the test, not a reason to skip it."""
    result = run(tmp_path, TESTS.replace("absent", "postgres"))

    assert result.returncode != 0
    assert "no service 'postgres'" in result.stdout + result.stderr
    assert "postgresql" in result.stdout + result.stderr


def test_system_packages_need_permission():
    """Without SYSTEM_PACKAGES=1 nothing is taken from the system, not even what is installed."""
    with pytest.raises(NotAvailableError, match="needs SYSTEM_PACKAGES=1"):
        SystemPackages(allowed=False).program("bash", package="bash")


def test_system_packages_find_what_is_installed():
    """With permission, a program that is there is taken without installing anything."""
    assert SystemPackages(allowed=True).program("bash", package="bash").name == "bash"


@pytest.mark.skipif(os.geteuid() == 0, reason="root could install it")
def test_system_packages_say_what_to_install():
    """Who may not install is told the command."""
    with pytest.raises(NotAvailableError, match=r"apt-get"):
        SystemPackages(allowed=True).program("no-such-program", package="no-such-package")


def test_every_server_has_its_tests():
    """Each server of the registry has a test file that starts it."""
    for name in SERVICES:
        assert (Path(__file__).parent / f"test_{name}.py").is_file()


def test_postgresql_is_found_without_the_system():
    """The wheel alone is enough for PostgreSQL."""
    assert (find(SystemPackages(allowed=False)).bin / "initdb").is_file()
