"""Make `.venv` ready: `python3 scripts/bootstrap.py demo|test`. Standard library only; doing it again costs nothing.

Everything comes from the hash-pinned lock files in `requirements/`. Downloads are cached in `.cache/` of this clone,
unless `UV_CACHE_DIR` or `PIP_CACHE_DIR` says otherwise, so that nothing outside the clone changes. A stamp in `.venv`
holds the digest of all inputs; it is written last, so that an interrupted run is simply done again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
PIP = (str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet")
OLDEST = (3, 11)
KINDS = {"demo": "requirements/demo.txt", "test": "requirements/test.txt"}
COMMON_INPUTS = ("pyproject.toml", "companyos/_version.py", "requirements/uv.txt", "scripts/bootstrap.py")


def main(arguments: list[str]) -> int:
    """Prepare the environment of the kind named on the command line; 0 when it is ready."""
    kind = arguments[0] if arguments else ""
    if kind not in KINDS or len(arguments) != 1:
        say(f"usage: {Path(__file__).name} {'|'.join(KINDS)}")
        return 2
    if sys.version_info < OLDEST:
        say(f"Python {sys.version.split()[0]} is too old: 3.11 or newer is needed; make PYTHON=python3.12 ...")
        return 2
    with exclusive():
        if not ready(kind):
            try:
                prepare(kind)
            except subprocess.CalledProcessError as error:
                say(f"failed: {' '.join(map(str, error.cmd))} (exit {error.returncode}); mend the cause and run again")
                return 3
    return 0


def say(text: str) -> None:
    """One line of progress, on stderr."""
    print(f"[bootstrap] {text}", file=sys.stderr, flush=True)


class exclusive:  # noqa: N801 - read as a statement: with exclusive()
    """Two `make`s at once take turns."""

    def __enter__(self) -> None:
        cache = ROOT / ".cache"
        cache.mkdir(exist_ok=True)
        self._file = (cache / "bootstrap.lock").open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def wanted(kind: str) -> str:
    """Digest of everything the environment is made from."""
    total = hashlib.sha256(f"{sys.version}|{os.path.realpath(sys.executable)}|{ROOT}".encode())
    for name in (KINDS[kind], *COMMON_INPUTS):
        total.update(hashlib.sha256((ROOT / name).read_bytes()).digest())
    return total.hexdigest()


def stamp(kind: str) -> Path:
    """Where the digest of the last complete run is kept."""
    return VENV / f".ready-{kind}"


def ready(kind: str) -> bool:
    """Whether the environment was completed from these very inputs; the test environment includes the demo's."""
    kinds = {kind, "test"}
    return PYTHON.exists() and any(stamp(k).is_file() and stamp(k).read_text() == wanted(k) for k in kinds)


def prepare(kind: str) -> None:
    """Make the virtual environment and install into it, with a line of progress a step."""
    started = time.monotonic()
    if not usable():
        say(f"making .venv with Python {sys.version.split()[0]}")
        make_venv()
    say(f"installing {KINDS[kind]}")
    install("--require-hashes", "-r", KINDS[kind])
    say("installing companyos from this clone")
    install("--no-deps", "--no-build-isolation", "-e", ".")
    partial = stamp(kind).with_suffix(".part")
    partial.write_text(wanted(kind))
    partial.replace(stamp(kind))
    say(f"ready in {time.monotonic() - started:.0f} s")


def usable() -> bool:
    """Whether `.venv` is complete enough to install into, and of this interpreter's version."""
    if not PYTHON.exists():
        return False
    probe = "import pip, sys; print(*sys.version_info[:3])"
    answer = subprocess.run([PYTHON, "-c", probe], capture_output=True, text=True, check=False)
    return answer.stdout.split() == [str(part) for part in sys.version_info[:3]]


def make_venv() -> None:
    """Make an empty virtual environment.

    Raises:
        CalledProcessError: the interpreter cannot (on Debian the package python3-venv may be missing).
    """
    try:
        run(sys.executable, "-m", "venv", "--clear", str(VENV))
    except subprocess.CalledProcessError:
        say("next: if the text above speaks of ensurepip, install the package python3-venv (Debian, Ubuntu)")
        raise


def install(*arguments: str) -> None:
    """Install with uv, itself pinned by hash; with pip where uv has no build, or cannot reach what pip can."""
    try:
        run(*PIP, "--require-hashes", "--only-binary=:all:", "-r", "requirements/uv.txt")
        run(str(UV), "pip", "install", "--quiet", "--python", str(PYTHON), *arguments)
    except (subprocess.CalledProcessError, OSError):
        say("uv cannot do it here; trying with pip, which is slower")
        run(*PIP, *arguments)


def run(*command: str) -> None:
    """Run a command in the clone, its output on our stderr, its caches where they belong."""
    environment = {
        "UV_CACHE_DIR": str(ROOT / ".cache" / "uv"),
        "PIP_CACHE_DIR": str(ROOT / ".cache" / "pip"),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
    } | os.environ
    if not (Path.home() / ".rustup").exists():
        # pip asks rustc for its version (for its user agent), and rustup's rustc then makes a folder in the home.
        environment.setdefault("RUSTUP_HOME", str(ROOT / ".cache" / "rustup"))
    if "PIP_CERT" in environment:
        environment.setdefault("SSL_CERT_FILE", environment["PIP_CERT"])
    environment.pop("VIRTUAL_ENV", None)
    environment.pop("PYTHONPATH", None)
    subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
