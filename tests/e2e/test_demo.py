"""The demo: the main job from end to end."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from companyos.errors import UserError
from companyos.evidence import Pack
from companyos.evidence.container import pack_bytes, unpack_bytes
from companyos.signing import TrustPolicy

pytestmark = pytest.mark.e2e


def run_demo(*arguments, **environ):
    command = [sys.executable, "-m", "companyos", "demo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environ)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A finished demo: its directory and what it reported."""
    root = tmp_path_factory.mktemp("demo")
    ended = run_demo(root, "--json")
    assert ended.returncode == 0, ended.stderr
    return root, json.loads(ended.stdout)


def test_every_step_comes_out_as_it_should(demo):
    """Scaffold, test, trace, deny, gate, cost, pack, verify, tamper: exit 0, and the paths to look at are there."""
    _, report = demo
    assert [step["passed"] for step in report["steps"]] == [True] * 11
    assert all(Path(path).exists() for path in report["look_at"].values())
    results = " ".join(step["result"] for step in report["steps"])
    for expected in ("deny: ", "audit id", "green: ", "red: ", "trace ", "seed "):
        assert expected in results


def test_the_demos_pack_is_accepted_and_no_byte_of_it_can_change(demo):
    """Its pack verifies; with a flipped bit in any member it does not, even behind mended checksums of the zip."""
    root, report = demo
    pack, trust = Path(report["look_at"]["evidence pack"]), TrustPolicy.load(root / "stranger" / "trust.yaml")
    assert Pack.verify(pack, trust).claim.subject == "orders"
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    data, copy = pack.read_bytes(), root / "copy.cpack"
    members = unpack_bytes(data)
    for name, content in members.items():
        place = chance.randrange(len(content))
        changed = content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]
        raw = bytearray(data)
        raw[data.index(content) + place] ^= 1
        for tampered in (pack_bytes({**members, name: changed}), bytes(raw)):
            copy.write_bytes(tampered)
            assert not _verifies(copy, trust), f"{name} at {place}, seed {seed}"


def _verifies(pack, trust):
    try:
        Pack.verify(pack, trust)
    except UserError:
        return False
    return True


def test_a_failing_step_is_named(tmp_path):
    """With a broken make the second step fails: exit 1, the step named, the first one in the table."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "make").write_text("#!/bin/sh\nexit 7\n")
    (tools / "make").chmod(0o755)
    ended = run_demo(tmp_path / "demo", PATH=f"{tools}:{os.environ['PATH']}")
    assert ended.returncode == 1
    assert "error[demo.step_failed]: step 2 failed: install it with this companyos" in ended.stderr
    assert "scaffold the service orders" in ended.stdout


def test_a_directory_in_use_is_refused(tmp_path):
    """Nothing of somebody else's is overwritten."""
    (tmp_path / "mine.txt").write_text("mine")
    ended = run_demo(tmp_path)
    assert (ended.returncode, "not empty" in ended.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
