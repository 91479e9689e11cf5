"""What the api template renders is formatted, installs from what is pinned, and passes its own tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from companyos.scaffold import new

pytestmark = pytest.mark.templates

OTHER_WAY = {"project_name": "zeta-ledger-9", "region": "us-east-1", "port": "9009", "container": "no", "ci": "none"}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service with the default answers, installed."""
    place = tmp_path_factory.mktemp("service")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPANYOS_CACHE_DIR", str(place / "cache"))
        made = new("api", place / "orders")
    _make(made.path, "setup")
    return made.path


def _make(repository, *arguments, status=0):
    """Run a verb of the repository, with uv if there is one beside this Python or on PATH."""
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.is_file() else shutil.which("uv") or ""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("VIRTUAL_ENV", "PYTEST", "COV"))}
    done = subprocess.run(
        ["make", *arguments, f"UV={uv}"], cwd=repository, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, f"make {' '.join(arguments)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


def _tool(service, *arguments, cwd=None):
    program, *rest = arguments
    done = subprocess.run(
        [str(service / ".venv" / "bin" / program), *rest],
        cwd=cwd or service,
        env=os.environ | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(arguments)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_its_checks_are_clean(service):
    """Formatting would change nothing, and neither lint, types, flags nor guardrails find anything."""
    _make(service, "check")


def test_its_tests_pass(service):
    """Unit and contract tests are green, and the JUnit report says so."""
    _make(service, "test", "REPORT=1")
    suite = ET.parse(service / "build" / "reports" / "tests.xml").getroot().find("testsuite")
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("0", "0", "0")
    assert int(suite.get("tests")) >= 50


def test_its_smoke_suite_passes_on_a_real_server(service):
    """The suite starts the server by itself and finds it well."""
    _make(service, "smoke", "REPORT=1")
    suite = ET.parse(service / "build" / "reports" / "smoke.xml").getroot().find("testsuite")
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("0", "0", "0")


def test_smoke_against_nothing_fails(service):
    """A service that is not there is not well."""
    _make(service, "smoke", "URL=http://127.0.0.1:9", status=2)


def test_its_objectives_are_compiled_and_tried(service):
    """`make slo` leaves the rules of both objectives, and shows what the alerts do in incidents; CI runs it."""
    shown = _make(service, "slo").stdout
    rules = yaml.safe_load((service / "build" / "rules.yaml").read_text())
    workflow = yaml.safe_load((service / ".github" / "workflows" / "golden-ci.yml").read_text())
    assert {"slo-orders-availability", "slo-orders-latency"} <= {group["name"] for group in rules["groups"]}
    assert "0 false pages" in shown
    assert {"make check", "make slo"} <= {step.get("run") for step in workflow["jobs"]["verify"]["steps"]}


def test_objectives_that_are_wrong_fail_its_checks(service):
    """`make check` asks: a target that cannot be met is not let through."""
    path = service / "observability" / "slo.yaml"
    text = path.read_text()
    path.write_text(text.replace("target: 0.9995", "target: 9995"))
    try:
        assert "observability/slo.yaml" in _make(service, "check", status=2).stderr
    finally:
        path.write_text(text)


def test_the_other_answers_work_too(service, tmp_path):
    """With every option turned the other way it is formatted, clean and passes the same tests."""
    made = new("api", tmp_path / "zeta", OTHER_WAY).path
    _tool(service, "ruff", "format", "--check", ".", cwd=made)
    _tool(service, "ruff", "check", ".", cwd=made)
    _tool(service, "python", "-m", "pytest", "-q", cwd=made)


def test_working_leaves_the_tree_clean(service):
    """Neither secrets nor state nor reports of a day's work would be committed."""
    assert (service / ".env.local").stat().st_mode & 0o077 == 0
    done = subprocess.run(["git", "status", "--porcelain"], cwd=service, capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_everything_is_pinned(service):
    """Actions by commit, images by digest, packages by hash; no address of a registry."""
    workflow = yaml.safe_load((service / ".github" / "workflows" / "golden-ci.yml").read_text())
    uses = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert uses
    assert [use for use in uses if len(use.partition("@")[2]) != 40] == []
    assert workflow["permissions"] == {}
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())
    images = [line for line in (service / "docker" / "Dockerfile").read_text().splitlines() if line.startswith("FROM ")]
    assert all("@sha256:" in line for line in images)
    for name in ("requirements.lock", "requirements-dev.lock"):
        lines = (service / name).read_text().splitlines()
        assert "://" not in "\n".join(lines)
        packages = [line for line in lines if line and not line.startswith((" ", "#"))]
        assert [line for line in packages if not line.endswith("\\")] == []
        assert [line for line in packages if line.startswith("companyos")] == []


def test_the_runtime_lock_is_part_of_the_development_lock(service):
    """What is tested is what is deployed: both files pin the same versions."""

    def pins(name):
        lines = (service / name).read_text().splitlines()
        return {line.split(" ")[0] for line in lines if "==" in line and not line.startswith((" ", "#"))}

    assert pins("requirements.lock") <= pins("requirements-dev.lock")


def test_its_documents_are_filled(service):
    """Every document names the service's own facts, and none of them holds a gap to be filled in."""
    for name in ("README.md", "docs/runbook.md", "docs/threat-model.md", "docs/dpia.md", "SECURITY.md"):
        text = (service / name).read_text()
        assert "orders" in text, name
        assert [word for word in ("TODO", "TBD", "FIXME", "lorem") if word in text] == [], name


def test_its_data_files_parse(service):
    """YAML and JSON are what they claim to be."""
    for path in sorted(service.rglob("*")):
        if ".venv" in path.parts or ".git" in path.parts or "build" in path.parts:
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        if path.suffix in {".yaml", ".yml"}:
            assert list(yaml.safe_load_all(path.read_text()))
