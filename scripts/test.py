"""What `make test` runs: nox sessions as shards, each with a JUnit file, and one honest sum at the end.

`STRICT=1` runs every shard and turns a test that could not be run into a failure; `SHARD=name` runs one shard. The
sum is read from the JUnit files: a shard that ends badly or leaves none counts as a failure of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "build" / "reports"
QUICK = ("lint", "tests", "docs")
STRICT = ("lint", "types", "tests", "docs", "templates", "e2e", "minimums", "bare")


@dataclass(frozen=True, slots=True)
class Sum:
    """How many tests ended in which way."""

    passed: int = 0
    """Ran and held."""
    failed: int = 0
    """Did not hold, or could not be run under STRICT=1."""
    skipped: int = 0
    """Were not run, for a reason that the report of their shard gives."""

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Run the shards that the environment asks for, print the sum as the last line, and fail if anything failed."""
    known = STRICT if environ.get("STRICT") == "1" else QUICK
    shard = environ.get("SHARD", "")
    if shard and shard not in STRICT:
        print(f"no shard {shard!r}; known: {', '.join(STRICT)}", file=sys.stderr)
        return 2
    total = Sum()
    for name in (shard,) if shard else known:
        started = time.monotonic()
        part = run_shard(name)
        total += part
        print(f"[test] {name}: {part} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    print(total, flush=True)
    return 1 if total.failed or not total.passed else 0


def run_shard(name: str) -> Sum:
    """Run one session and count what its JUnit file holds."""
    report = REPORTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    nox = [sys.executable, "-m", "nox", "--non-interactive", "--session", name]
    result = subprocess.run(nox, cwd=ROOT, env=caches(), stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    counted = count(report)
    if counted is None or (result.returncode and not counted.failed):
        print(f"[test] {name}: ended with exit {result.returncode} outside any test", file=sys.stderr)
        return (counted or Sum()) + Sum(failed=1)
    return counted


def caches() -> dict[str, str]:
    """The environment, with the caches of all that tests run kept in this clone unless it says otherwise."""
    cache = ROOT / ".cache"
    places = {"PIP_CACHE_DIR": "pip", "UV_CACHE_DIR": "uv", "XDG_CACHE_HOME": "xdg"}
    if not (Path.home() / ".rustup").exists():
        # pip asks rustc for its version (for its user agent), and rustup's rustc then makes a folder in the home.
        places["RUSTUP_HOME"] = "rustup"
    return {name: str(cache / folder) for name, folder in places.items()} | dict(os.environ)


def count(report: Path) -> Sum | None:
    """The sum of one JUnit file; None if there is none or it does not parse."""
    try:
        root = ET.parse(report).getroot()  # noqa: S314 - written a moment ago by our own shard
    except (OSError, ET.ParseError):
        return None
    total = Sum()
    for case in root.iter("testcase"):
        kinds = {child.tag for child in case}
        failed = bool(kinds & {"failure", "error"})
        total += Sum(
            passed=int(not failed and "skipped" not in kinds),
            failed=int(failed),
            skipped=int(not failed and "skipped" in kinds),
        )
    return total


if __name__ == "__main__":
    sys.exit(main())
