"""Runs controls over one tree, side by side, and keeps the decision of each."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from companyos.decision import Decision, Verdict, combine
from companyos.errors import CompanyOSError, ConfigError
from companyos.guardrails.interface import TreeControl
from companyos.guardrails.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from companyos.controls import Control

__all__ = ("Report", "Result", "run", "select")


@dataclass(frozen=True, slots=True)
class Result:
    """What one control said of a tree."""

    control: Control
    """The control."""
    decision: Decision
    """Its answer."""
    seconds: float
    """How long it took."""

    def to_dict(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return {
            "control": self.control.id,
            "title": self.control.title,
            "seconds": round(self.seconds, 3),
            **self.decision.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What all controls said of a tree."""

    root: Path
    """The tree."""
    results: tuple[Result, ...]
    """One result a control, by id."""

    @property
    def decision(self) -> Decision:
        """All decisions in one: deny wins, then undetermined; no control at all is undetermined."""
        return combine((result.decision for result in self.results), reason="guardrails.clean")

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON object; the tree's own place is left out, so that equal trees report alike."""
        verdict = self.decision
        return {
            "decision": verdict.verdict.value,
            "reason": verdict.reason,
            "controls": [result.to_dict() for result in self.results],
        }


def select(controls: Mapping[str, Control], only: Iterable[str] = ()) -> dict[str, Control]:
    """The controls named in `only`, or all of them.

    Raises:
        ConfigError: a name is no control's id.
    """
    wanted = tuple(only) or tuple(sorted(controls))
    for name in wanted:
        if name not in controls:
            raise ConfigError("no such control", got=name, expected=", ".join(sorted(controls)) or "no control at all")
    return {name: controls[name] for name in wanted}


def run(
    root: Path | str,
    controls: Mapping[str, Control],
    *,
    exclude: Iterable[str] = (),
    progress: Callable[[Result], None] | None = None,
) -> Report:
    """Run every control whose subject is a tree over `root`, in threads, each control's answer kept.

    A control that raises is undetermined under the reason `<id>.error` or `<id>.crashed`; the others go on.

    Raises:
        TreeError: `root` is not a directory that can be read.
    """
    tree = Tree.open(root, exclude=exclude)
    chosen = [control for _, control in sorted(controls.items()) if control.subject == "tree"]

    def one(control: Control) -> Result:
        result = _run_one(control, tree)
        if progress is not None:
            progress(result)
        return result

    with ThreadPoolExecutor(max_workers=max(1, len(chosen)), thread_name_prefix="control") as pool:
        return Report(tree.root, tuple(pool.map(one, chosen)))


def _run_one(control: Control, tree: Tree) -> Result:
    started = time.perf_counter()
    try:
        decision = _ask(control, tree)
    except CompanyOSError as error:
        decision = Decision.undetermined(f"{control.id}.error", str(error))
    except Exception as error:  # noqa: BLE001 - whatever a control raises, the answer is "could not check"
        decision = Decision.undetermined(f"{control.id}.crashed", f"{type(error).__name__}: {error}")
    return Result(control, decision, time.perf_counter() - started)


def _ask(control: Control, tree: Tree) -> Decision:
    if isinstance(control, TreeControl):
        return control.inspect(tree)
    if control.check_without is not None:
        return control.check_without(tree.root, tree.excludes)
    decision = control.check(tree.root)
    return _without_excluded(decision, control.id, tree) if tree.exclude else decision


def _without_excluded(decision: Decision, control: str, tree: Tree) -> Decision:
    kept = tuple(f for f in decision.findings if f.path is None or not tree.excludes(f.path))
    if decision.verdict is not Verdict.DENY or kept or not decision.findings:
        return replace(decision, findings=kept)
    # Its findings are gone, but only the control knows whether they were all that it had against the tree.
    if decision.facts.get("unchecked") == []:
        return Decision.allowed(f"{control}.clean", "all findings lie in excluded paths", facts=decision.facts)
    message = f"{control}: all findings lie in excluded paths, and it does not say that everything else was checked"
    return Decision.undetermined(f"{control}.unchecked", message, facts=decision.facts)
