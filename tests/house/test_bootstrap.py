"""From a clone on a bare machine to a ready environment, with nothing changed outside the clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PASSED_ON = ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NIX_SSL_CERT_FILE")
PASSED_ON_PREFIXES = ("PIP_", "UV_", "PYENV_")
"""How this machine reaches a registry, and nothing else."""


@pytest.fixture
def home(tmp_path):
    """An empty home directory."""
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def clone(tmp_path):
    """What git would check out, in a directory whose name has a space."""
    target = tmp_path / "a clone"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def run(clone, home, *arguments, **environ):
    """Run the bootstrap of a clone with the interpreter that runs the tests, outside its virtual environment."""
    inherited = {k: v for k, v in os.environ.items() if k in PASSED_ON or k.startswith(PASSED_ON_PREFIXES)}
    # The downloads of this clone are used again: what is tested is the installation, not the registry's patience.
    cache = {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(ROOT / ".cache" / "uv"))}
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    command = [str(base), "scripts/bootstrap.py", *arguments]
    environment = inherited | cache | {"HOME": str(home)} | environ
    return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.e2e
def test_a_bare_machine_gets_ready_and_stays_so(clone, home):
    """The demo environment is made with an empty HOME, is not made twice, heals after an interruption, and runs."""
    first = run(clone, home, "demo")
    assert first.returncode == 0, first.stderr
    assert "ready in" in first.stderr
    assert [] == list(home.iterdir())

    assert run(clone, home, "demo").stderr == ""

    shown = subprocess.run([clone / ".venv/bin/companyos", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("companyos ")

    (clone / ".venv/.ready-demo").unlink()
    (clone / ".venv/bin/companyos").unlink()
    shutil.rmtree(next((clone / ".venv/lib").glob("python*/site-packages/pip")))
    healed = run(clone, home, "demo")
    assert healed.returncode == 0, healed.stderr
    assert "making .venv" in healed.stderr
    assert (clone / ".venv/bin/companyos").exists()


@pytest.mark.e2e
def test_a_lock_with_a_wrong_hash_installs_nothing(clone, home):
    """A package that is not the one that was pinned is refused, and the environment is not called ready."""
    lock = clone / "requirements/demo.txt"
    text = lock.read_text()
    pin = text[text.index("\nclick==") : text.index("\n", text.index("    # via", text.index("\nclick==")))]
    forged = "".join(
        character if character not in "0123456789abcdef" else "0" for character in pin.partition("sha256:")[2]
    )
    lock.write_text(text.replace(pin, pin.partition("sha256:")[0] + "sha256:" + forged[:64]))

    result = run(clone, home, "demo")

    assert result.returncode == 3, result.stderr
    assert "hash" in result.stderr.lower()
    assert not (clone / ".venv/.ready-demo").exists()


@pytest.mark.parametrize("arguments", [(), ("production",), ("demo", "test")], ids=["none", "unknown", "two"])
def test_a_wrong_call_says_how(clone, home, arguments):
    """Anything but one known kind is a usage error that changes nothing."""
    result = run(clone, home, *arguments)

    assert result.returncode == 2
    assert "usage: bootstrap.py demo|test" in result.stderr
    assert not (clone / ".venv").exists()
