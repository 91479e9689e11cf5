"""The demo: the main job from end to end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e


def run_demo(*arguments, **environ):
    command = [sys.executable, "-m", "companyos", "demo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environ)


def test_every_step_comes_out_as_it_should(tmp_path):
    """Scaffold, test, trace, deny, gate, cost, pack, verify, tamper: exit 0, and the paths to look at are there."""
    ended = run_demo(tmp_path / "demo", "--json")
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert [step["passed"] for step in report["steps"]] == [True] * 11
    assert all(Path(path).exists() for path in report["look_at"].values())
    results = " ".join(step["result"] for step in report["steps"])
    for expected in ("deny: ", "audit id", "green: ", "red: ", "trace ", "seed "):
        assert expected in results


def test_a_failing_step_is_named(tmp_path):
    """Without make on the path the second step fails: exit 1, the step named, the first one in the table."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("git", "sh", "env"):
        found = subprocess.run(["which", tool], capture_output=True, text=True, check=True).stdout.strip()
        (tools / tool).symlink_to(found)
    ended = run_demo(tmp_path / "demo", PATH=str(tools))
    assert ended.returncode == 1
    assert "error[demo.step_failed]: step 2 failed: install it with this companyos" in ended.stderr
    assert "scaffold the service orders" in ended.stdout


def test_a_directory_in_use_is_refused(tmp_path):
    """Nothing of somebody else's is overwritten."""
    (tmp_path / "mine.txt").write_text("mine")
    ended = run_demo(tmp_path)
    assert (ended.returncode, "not empty" in ended.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
