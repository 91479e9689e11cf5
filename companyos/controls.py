"""What a control is: a check, the specimens that prove it, and its documentation.

A control without specimens does not exist for CompanyOS: constructing one is an error, and so is a rule for which no
violation is planted. `prove` runs the specimens and scores them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.decision import Decision, Severity, Verdict
from companyos.errors import CompanyOSError, ConfigError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ("Control", "Proof", "Specimen", "SpecimenResult", "prove", "tree_specimen", "unique")

Build = Callable[[Path], Any]
"""Makes, in an empty directory of its own, what the control is to check, and returns it."""


@dataclass(frozen=True, slots=True)
class Specimen:
    """A planted violation that a control must catch, or a clean case that it must let through."""

    name: str
    """What it shows, in a few words."""
    build: Build
    """Makes the thing to check."""
    violates: str | None = None
    """The rule that must catch it; None for a clean case."""


@dataclass(frozen=True, slots=True)
class Control:
    """A check that proves itself.

    `check` answers with a `Decision`: allowed when nothing was found, denied with findings, undetermined when the
    check could not be made.

    Raises:
        ConfigError: there is no planted violation for one of the rules, no clean case, or no documentation.
    """

    id: str
    """Stable id, never normalised (`G1` is a gate, `G01` a control)."""
    title: str
    """What it prevents, in a few words."""
    check: Callable[[Any], Decision]
    """The check itself."""
    rules: Mapping[str, str]
    """Every rule id the check may report, with a sentence on what it means."""
    specimens: tuple[Specimen, ...]
    """Planted violations and clean cases."""
    docs: str
    """The page that documents it, relative to the documentation's root."""
    subject: str = "tree"
    """What kind of thing it checks: `tree` is a directory of files; other rooms name their own."""
    severity: Severity = Severity.HIGH
    """Severity of its findings unless a finding says otherwise."""
    check_without: Callable[[Path, Callable[[str], bool]], Decision] | None = None
    """The same check of a directory, leaving out the relative paths for which the predicate holds."""

    def __post_init__(self) -> None:
        planted = {specimen.violates for specimen in self.specimens if specimen.violates}
        clean = [specimen for specimen in self.specimens if specimen.violates is None]
        unproven = sorted(set(self.rules) - planted)
        unknown = sorted(planted - set(self.rules))
        problem = (
            (f"rules without a planted violation: {', '.join(unproven)}" if unproven else "")
            or (f"specimens for rules it does not have: {', '.join(unknown)}" if unknown else "")
            or ("" if self.rules else "no rules")
            or ("" if clean else "no clean specimen")
            or ("" if self.docs else "no documentation page")
        )
        if problem:
            raise ConfigError(
                f"control {self.id} does not prove itself",
                got=problem,
                expected="at least one planted violation per rule, one clean case, and a docs page",
            )


@dataclass(frozen=True, slots=True)
class SpecimenResult:
    """What happened when a control met one of its specimens."""

    specimen: str
    """Name of the specimen."""
    violates: str | None
    """The rule that had to catch it; None for a clean case."""
    passed: bool
    """Caught by that very rule, or let through if clean."""
    got: str
    """What the control answered."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The score of one control."""

    control: str
    """Id of the control."""
    results: tuple[SpecimenResult, ...]
    """One result a specimen."""
    seconds: float
    """How long it took."""

    @property
    def planted(self) -> int:
        """How many violations were planted."""
        return sum(1 for result in self.results if result.violates)

    @property
    def caught(self) -> int:
        """How many of them were caught by the right rule."""
        return sum(1 for result in self.results if result.violates and result.passed)

    @property
    def clean(self) -> int:
        """How many clean cases there were."""
        return sum(1 for result in self.results if result.violates is None)

    @property
    def false_alarms(self) -> int:
        """How many of those were not let through."""
        return sum(1 for result in self.results if result.violates is None and not result.passed)

    @property
    def holds(self) -> bool:
        """Everything planted was caught and nothing clean was refused."""
        return all(result.passed for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        """The score as a JSON object."""
        return {
            "control": self.control,
            "caught": self.caught,
            "planted": self.planted,
            "false_alarms": self.false_alarms,
            "clean": self.clean,
            "holds": self.holds,
            "seconds": round(self.seconds, 3),
            "failures": [
                {"specimen": r.specimen, "violates": r.violates, "got": r.got} for r in self.results if not r.passed
            ],
        }


def prove(control: Control) -> Proof:
    """Run a control over all its specimens; a specimen it cannot judge counts as failed.

    Raises:
        MissingExtraError: what the control needs is not installed, so nothing can be said of it.
    """
    started = time.perf_counter()
    results = tuple(_meet(control, specimen) for specimen in control.specimens)
    return Proof(control.id, results, time.perf_counter() - started)


def tree_specimen(name: str, files: Mapping[str, str | bytes], *, violates: str | None = None) -> Specimen:
    """A specimen that is a directory holding `files` (relative path to content)."""

    def build(scratch: Path) -> Path:
        for relative, content in files.items():
            target = scratch / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        return scratch

    return Specimen(name, build, violates)


def unique(controls: Iterable[Control]) -> dict[str, Control]:
    """The controls by id, refusing two different ones under the same id."""
    by_id: dict[str, Control] = {}
    for control in controls:
        other = by_id.setdefault(control.id, control)
        if other is not control:
            raise ConfigError(f"two controls claim the id {control.id}", got=f"{other.title!r} and {control.title!r}")
    return by_id


def _meet(control: Control, specimen: Specimen) -> SpecimenResult:
    with tempfile.TemporaryDirectory(prefix="companyos-specimen-") as scratch:
        try:
            decision = control.check(specimen.build(Path(scratch)))
            rules = sorted({finding.rule for finding in decision.findings})
        except (KeyboardInterrupt, MissingExtraError):
            raise
        except BaseException as error:  # noqa: BLE001 - a control that breaks, or even exits, on a specimen failed it
            kind = "error" if isinstance(error, CompanyOSError) else f"crashed: {type(error).__name__}: {error}"
            decision, rules = Decision.undetermined(f"{control.id}.{kind}", str(error)), []
    if specimen.violates is None:
        passed = decision.allow and not rules
    else:
        passed = decision.verdict is Verdict.DENY and specimen.violates in rules
    got = f"{decision.verdict.value} {', '.join(rules) or decision.reason}"
    return SpecimenResult(specimen.name, specimen.violates, passed, got)
