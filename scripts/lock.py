"""Pin what each environment installs, with hashes and without any registry's address: `make lock`.

The head of each file holds a digest of what it was resolved from, so that `--check` can tell, without a network, that
somebody changed the dependencies and forgot to lock.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.prefix) / "bin" / "uv"
OLDEST = "3.11"

DEMO_EXTRAS = ("authz", "finops", "flags", "observability", "supplychain", "testing")
"""What `companyos demo` uses; kept small, because a stranger waits for it."""


def extras(*names: str) -> tuple[str, ...]:
    """The arguments that choose optional dependencies."""
    return tuple(argument for name in names for argument in ("--extra", name))


LOCKS: dict[str, tuple[str, ...]] = {
    "uv": ("requirements/uv.in",),
    "demo": ("pyproject.toml", *extras(*DEMO_EXTRAS), "--group", "build"),
    "test": ("pyproject.toml", "--all-extras", "--group", "dev"),
    "bare": ("pyproject.toml", "requirements/pytest.in", "--group", "build"),
    "minimums": ("pyproject.toml", "--all-extras", "--group", "dev", "--resolution", "lowest-direct"),
}
"""Name of the lock file and what goes into it."""


def main(arguments: list[str]) -> int:
    """Write the named lock files, or all; `--upgrade` takes the newest versions allowed, `--check` writes nothing."""
    flags = {argument for argument in arguments if argument.startswith("--")}
    names = [argument for argument in arguments if argument not in flags] or list(LOCKS)
    unknown = sorted({*names} - {*LOCKS} | flags - {"--upgrade", "--check"})
    if unknown:
        print(f"unknown: {', '.join(unknown)}; locks: {', '.join(LOCKS)}", file=sys.stderr)
        return 2
    if "--check" in flags:
        problems = [problem for name in names for problem in check(name)]
        print("\n".join(problems), file=sys.stderr)
        return 1 if problems else 0
    for name in names:
        print(f"locking requirements/{name}.txt", file=sys.stderr)
        compile_lock(name, upgrade="--upgrade" in flags)
    return 0


def compile_lock(name: str, *, upgrade: bool) -> None:
    """Resolve one lock file for every platform and every supported Python."""
    target = ROOT / "requirements" / f"{name}.txt"
    command = [str(UV), "pip", "compile", *LOCKS[name], "-o", str(target.relative_to(ROOT))]
    command += ["--universal", "--generate-hashes", "--python-version", OLDEST, "--quiet", "--no-header"]
    command += ["--no-emit-index-url", "--no-emit-find-links"]
    command += ["--upgrade"] if upgrade else []
    environment = {"UV_CACHE_DIR": str(ROOT / ".cache" / "uv"), "UV_PYTHON_DOWNLOADS": "never"} | os.environ
    subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)
    target.write_text(f"{head(name)}\n{target.read_text()}")


def head(name: str) -> str:
    """The first line of a lock file."""
    return f"# Made by `make lock` from inputs {inputs(name)}; do not edit."


def inputs(name: str) -> str:
    """Digest of the requirements that a lock file is resolved from."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    keys = ("requires-python", "dependencies", "optional-dependencies")
    texts = [(ROOT / part).read_text() for part in LOCKS[name] if part.endswith(".in")]
    parts: list[object] = [LOCKS[name], texts]
    if "pyproject.toml" in LOCKS[name]:
        parts += [{key: project["project"][key] for key in keys}, project["dependency-groups"]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def check(name: str) -> list[str]:
    """What is wrong with one lock file."""
    path = ROOT / "requirements" / f"{name}.txt"
    text = path.read_text() if path.is_file() else ""
    pins = re.split(r"\n(?=[A-Za-z0-9])", text)[1:]
    problems = {
        "is not what the dependencies now ask for: run `make lock`": not text.startswith(head(name)),
        "holds an address": "://" in text,
        "pins nothing": not pins,
        "holds a requirement without a hash": any("--hash=sha256:" not in pin for pin in pins),
    }
    return [f"{path.relative_to(ROOT)} {problem}" for problem, found in problems.items() if found]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
