"""Where the demo plays: its directory, the processes it runs, a line for each step and the table at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from companyos.errors import IntegrityError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ("Outcome", "Stage", "StepFailedError", "clean_environment", "require_that")

TIMEOUT_SECONDS = 300


class StepFailedError(RefusedError):
    """A step of the demo did not come out as it should."""

    code = "demo.step_failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one step came to."""

    step: str
    """What was done."""
    result: str
    """What came out."""
    seconds: float
    """How long it took."""
    passed: bool
    """Whether it came out as it should."""


@dataclass(slots=True)
class Stage:
    """The state that the steps of the demo share."""

    root: Path
    """Directory of the demo."""
    say: Callable[[str], None]
    """Shows one line of progress."""
    outcomes: list[Outcome] = field(default_factory=list)
    """What came out so far."""
    look_at: dict[str, Path] = field(default_factory=dict)
    """What to look at afterwards, by a short name."""

    @property
    def service(self) -> Path:
        """The scaffolded service."""
        return self.root / "orders"

    @property
    def reports(self) -> Path:
        """Reports of the service's checks and tests."""
        return self.service / "build" / "reports"

    def play(self, step: str, act: Callable[[Stage], str]) -> None:
        """Do one step, time it and remember what came out.

        Raises:
            StepFailedError: it failed; the error says which step, and why.
        """
        number = len(self.outcomes) + 1
        self.say(f"{number}. {step} ...")
        started = time.monotonic()
        try:
            result = act(self)
        except Exception as error:
            self.outcomes.append(Outcome(step, "FAILED", time.monotonic() - started, passed=False))
            raise StepFailedError(
                f"step {number} failed: {step}", got=error, hint=f"look at {self.root / 'logs'}"
            ) from error
        seconds = time.monotonic() - started
        self.outcomes.append(Outcome(step, result, seconds, passed=True))
        self.say(f"   {click.style('ok', fg='green')} {result} ({seconds:.1f} s)")

    def run(
        self,
        name: str,
        *command: str,
        cwd: Path | None = None,
        expect: int = 0,
        environ: Mapping[str, str] | None = None,
    ) -> str:
        """Run a program, keep what it said in `logs/`, and return its standard output.

        Raises:
            StepFailedError: it ended with another exit status than expected, or not in time.
        """
        log = self.root / "logs" / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        try:
            ended = subprocess.run(
                command,
                cwd=cwd or self.service,
                env={**clean_environment(), **(environ or {})},
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT_SECONDS,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as error:
            raise StepFailedError(f"{name} did not end in {TIMEOUT_SECONDS} seconds") from error
        log.write_text(f"$ {' '.join(command)}\n{ended.stdout}\n{ended.stderr}\n", encoding="utf-8")
        if ended.returncode != expect:
            tail = "\n".join((ended.stdout + ended.stderr).strip().splitlines()[-12:])
            raise StepFailedError(
                f"{name} ended with exit status {ended.returncode}\n{tail}",
                expected=f"exit status {expect}",
                hint=str(log),
            )
        return ended.stdout

    def companyos(self, name: str, *arguments: str, cwd: Path | None = None, expect: int = 0) -> str:
        """Run a companyos command in a process of its own, as a user would."""
        return self.run(name, sys.executable, "-m", "companyos", *arguments, cwd=cwd, expect=expect)

    def companyos_json(self, name: str, *arguments: str, cwd: Path | None = None, expect: int = 0) -> Any:
        """The same with `--json`, parsed."""
        return json.loads(self.companyos(name, *arguments, "--json", cwd=cwd, expect=expect))


def clean_environment() -> dict[str, str]:
    """Our environment without our own settings, and with the programs of this installation first on the path."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("COMPANYOS", "PYTEST", "VIRTUAL_ENV"))
    }
    kept.pop("MAKEFLAGS", None)
    kept.pop("MAKELEVEL", None)
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def require_that(condition: object, what: str, *, got: object = None) -> None:
    """Go on only if `condition` holds.

    Raises:
        IntegrityError: it does not.
    """
    if not condition:
        raise IntegrityError(what, got=got)
