"""G02: no secret stands in the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.decision import Decision, Severity
from companyos.errors import MissingToolError, UnverifiableError
from companyos.guardrails.interface import TreeControl, judge, tree_control
from companyos.guardrails.secrets.engines import Gitleaks, OwnDetectors
from companyos.guardrails.secrets.rules import RULES
from companyos.guardrails.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from companyos.decision import Finding
    from companyos.guardrails.interface import Hit
    from companyos.guardrails.secrets.engines import SecretEngine

__all__ = ("Trial", "secrets_control")


@dataclass(frozen=True, slots=True)
class Trial:
    """A specimen's tree with the one engine that has to judge it, so that no engine hides another's blindness."""

    root: Path
    """The tree."""
    engine: str
    """Name of the engine."""


def secrets_control(engines: Sequence[SecretEngine] | None = None, *, least: int = 1) -> TreeControl:
    """The control G02 over these engines (default: our own detectors, and gitleaks).

    At least `least` of them must have run; one that is not installed is reported, one that failed makes the answer
    undetermined. Each engine that is installed proves itself on specimens of its own.
    """
    from companyos.guardrails.specimens.g02 import specimens

    accepted = tuple(engines) if engines is not None else (OwnDetectors(), Gitleaks())

    def inspect(tree: Tree) -> Decision:
        return _inspect(tree, accepted, least)

    def check(subject: Any) -> Decision:
        if isinstance(subject, Trial):
            chosen = [engine for engine in accepted if engine.name == subject.engine]
            return _inspect(Tree.of(subject.root), chosen, 1)
        return inspect(Tree.of(subject))

    return tree_control(
        "G02",
        "Hard-coded secrets",
        inspect,
        rules=RULES.values(),
        specimens=specimens([engine.name for engine in accepted if _is_installed(engine)]),
        severity=Severity.CRITICAL,
        check=check,
    )


def _is_installed(engine: SecretEngine) -> bool:
    if not isinstance(engine, Gitleaks):
        return True
    try:
        engine.program()
    except MissingToolError:
        return False
    return True


def _inspect(tree: Tree, engines: Sequence[SecretEngine], least: int) -> Decision:
    places: dict[tuple[str, str, int], Finding] = {}
    statuses: list[dict[str, str]] = []
    gaps: list[str] = []
    for engine in engines:
        try:
            hits = engine.scan(tree)
        except MissingToolError as error:
            statuses.append({"engine": engine.name, "status": "missing", "next": error.hint or ""})
        except UnverifiableError as error:
            statuses.append({"engine": engine.name, "status": "failed"})
            gaps.append(" ".join(error.message.split()))
        else:
            statuses.append({"engine": engine.name, "status": "ran"})
            _collect(places, hits)
    ran = sum(1 for status in statuses if status["status"] == "ran")
    if ran < least:
        gaps.append(f"{ran} of the accepted engines ran, at least {least} must")
    return judge("G02", tree, places.values(), unchecked=gaps, facts={"engines": statuses})


def _collect(places: dict[tuple[str, str, int], Finding], hits: dict[str, list[Hit]]) -> None:
    seen = {(path, line) for _, path, line in places}
    for rule, found in hits.items():
        for hit in found:
            finding = RULES[rule].finding(hit)
            # The second engine adds what the first did not see; the same place is one finding.
            if hit.message and (finding.path or "", hit.line) in seen:
                continue
            places.setdefault((rule, finding.path or "", hit.line), finding)
