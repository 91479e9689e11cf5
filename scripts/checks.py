"""Checks that are not tests, reported like tests: `checks.py lint|types` writes `build/reports/NAME.xml`."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "build" / "reports"
PYTHON = sys.executable
BIN = Path(sys.executable).parent

CHECKS: dict[str, dict[str, list[str]]] = {
    "lint": {
        "ruff check": [PYTHON, "-m", "ruff", "check", "."],
        "ruff format": [PYTHON, "-m", "ruff", "format", "--check", "."],
        "floors": [str(BIN / "lint-imports"), "--no-cache"],
        "generated text": [PYTHON, "scripts/docs.py", "--check"],
        "lock files": [PYTHON, "scripts/lock.py", "--check"],
    },
    "types": {"mypy": [PYTHON, "-m", "mypy"]},
}
"""Group of checks: name of the check, and the command that makes it; each is clean when it exits with 0."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one check ended."""

    name: str
    """Name of the check."""
    status: int
    """Exit status of its command."""
    output: str
    """All it printed."""
    seconds: float
    """How long it took."""


def main(arguments: list[str]) -> int:
    """Run every check of one group, whatever the others say; 1 if any is not clean."""
    group = arguments[0] if len(arguments) == 1 else ""
    if group not in CHECKS:
        print(f"usage: checks.py {'|'.join(CHECKS)}", file=sys.stderr)
        return 2
    outcomes = [run(name, command) for name, command in CHECKS[group].items()]
    write_junit(group, outcomes)
    return 1 if any(outcome.status for outcome in outcomes) else 0


def run(name: str, command: list[str]) -> Outcome:
    """Run one check and show what it says if it is not clean."""
    started = time.monotonic()
    try:
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        status, output = result.returncode, result.stdout + result.stderr
    except OSError as error:
        status, output = 127, f"cannot run {command[0]}: {error.strerror}"
    outcome = Outcome(name, status, output, time.monotonic() - started)
    print(f"{'ok' if status == 0 else 'FAILED':6}  {name}  ({outcome.seconds:.1f} s)", file=sys.stderr)
    if status:
        print(output, file=sys.stderr)
    return outcome


def write_junit(group: str, outcomes: list[Outcome]) -> None:
    """Write the outcomes as JUnit XML, one test case a check."""
    failures = sum(1 for outcome in outcomes if outcome.status)
    totals = {"name": group, "tests": str(len(outcomes)), "failures": str(failures), "errors": "0", "skipped": "0"}
    suite = ET.Element("testsuite", totals)
    for outcome in outcomes:
        attributes = {"classname": group, "name": outcome.name, "time": f"{outcome.seconds:.3f}"}
        case = ET.SubElement(suite, "testcase", attributes)
        if outcome.status:
            failure = ET.SubElement(case, "failure", {"message": f"exit {outcome.status}"})
            failure.text = printable(outcome.output)
    REPORTS.mkdir(parents=True, exist_ok=True)
    ET.ElementTree(suite).write(REPORTS / f"{group}.xml", encoding="utf-8", xml_declaration=True)


def printable(text: str) -> str:
    """The text without the control characters that XML cannot hold."""
    return "".join(character for character in text if character in "\t\n" or character >= " ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
