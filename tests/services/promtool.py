"""Where `promtool`, the tool of Prometheus that tests rules, is on this machine."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.system import SystemPackages

__all__ = ("Promtool", "find")


class Promtool:
    """The program, and what it says about a test of rules."""

    def __init__(self, program: Path) -> None:
        self.program = program

    def complaint(self, test_file: Path) -> str:
        """What `promtool test rules` finds wrong; empty if the test passes."""
        done = subprocess.run(
            [self.program, "test", "rules", test_file],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}" or "no output"

    def refuses(self, rule_file: Path) -> bool:
        """Whether `promtool check rules` refuses a file."""
        done = subprocess.run(
            [self.program, "check", "rules", "--lint=none", rule_file],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return done.returncode != 0


def find(packages: SystemPackages) -> Promtool:
    """That of the system's package `prometheus`.

    Raises:
        NotAvailableError: it may not be used, or is not to be had.
    """
    return Promtool(packages.program("promtool", package="prometheus"))
