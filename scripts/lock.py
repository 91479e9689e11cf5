"""Pin what each environment installs, with hashes and without any registry's address: `make lock`."""

from __future__ import annotations

import os
import subprocess
import sys
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
    """Write the named lock files, or all of them; `--upgrade` takes the newest versions allowed."""
    upgrade = "--upgrade" in arguments
    names = [argument for argument in arguments if argument != "--upgrade"] or list(LOCKS)
    unknown = sorted(set(names) - set(LOCKS))
    if unknown:
        print(f"no such lock: {', '.join(unknown)}; known: {', '.join(LOCKS)}", file=sys.stderr)
        return 2
    for name in names:
        print(f"locking requirements/{name}.txt", file=sys.stderr)
        compile_lock(name, upgrade=upgrade)
    return 0


def compile_lock(name: str, *, upgrade: bool) -> None:
    """Resolve one lock file for every platform and every supported Python."""
    command = [str(UV), "pip", "compile", *LOCKS[name], "-o", f"requirements/{name}.txt"]
    command += ["--universal", "--generate-hashes", "--python-version", OLDEST, "--quiet"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "make lock"]
    command += ["--upgrade"] if upgrade else []
    environment = {"UV_CACHE_DIR": str(ROOT / ".cache" / "uv"), "UV_PYTHON_DOWNLOADS": "never"} | os.environ
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
