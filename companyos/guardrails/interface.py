"""What the controls over a tree have in common: rules, the control that shares one reading of the tree, the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.controls import Control
from companyos.decision import Decision, Finding, Severity
from companyos.guardrails.tree import Tree, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from companyos.controls import Specimen

__all__ = ("Hit", "Rule", "TreeControl", "judge", "tree_control")


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing a control may report."""

    id: str
    """Stable id, for example `G02.private-key`."""
    meaning: str
    """What is wrong when it fires, in one sentence."""
    hint: str
    """The next step that removes the finding."""
    severity: Severity = Severity.HIGH
    """How much it matters."""

    def finding(self, hit: Hit) -> Finding:
        """The finding for a hit of this rule."""
        return Finding(self.id, hit.message or self.meaning, self.severity, printable(hit.path), hit.line, self.hint)


@dataclass(frozen=True, slots=True, order=True)
class Hit:
    """A place where a rule fired."""

    path: str
    """The file, relative to the tree."""
    line: int
    """The line, counted from 1."""
    message: str = ""
    """What is wrong there; empty for the rule's own meaning. Never holds a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeControl(Control):
    """A control over a tree that several controls may share, so that its files are listed and read only once."""

    inspect: Callable[[Tree], Decision]
    """The check over an opened tree; `check` is the same over a path."""


def tree_control(
    id: str,  # noqa: A002 - a control's attribute is called so
    title: str,
    inspect: Callable[[Tree], Decision],
    *,
    rules: Iterable[Rule],
    specimens: Sequence[Specimen],
    severity: Severity = Severity.HIGH,
    check: Callable[[Any], Decision] | None = None,
) -> TreeControl:
    """A control over a tree; its page is the section of `docs/guardrails.md` that bears its id.

    Raises:
        ConfigError: the control does not prove itself (see `companyos.controls.Control`).
    """
    return TreeControl(
        id=id,
        title=title,
        check=check or (lambda subject: inspect(Tree.of(subject))),
        rules={rule.id: rule.meaning for rule in rules},
        specimens=tuple(specimens),
        docs=f"guardrails.md#{id.lower()}",
        severity=severity,
        inspect=inspect,
    )


def judge(
    control: str,
    tree: Tree,
    findings: Iterable[Finding],
    *,
    unchecked: Iterable[str] = (),
    facts: Mapping[str, Any] | None = None,
) -> Decision:
    """The decision of a control over a tree by one rule: findings deny, else anything unchecked is undetermined.

    A tree without a single file is undetermined as well: nothing was checked.
    """
    found = sorted(set(findings), key=lambda finding: (finding.path or "", finding.line or 0, finding.rule))
    gaps = [*(f"{printable(note.path)}: {note.reason}" for note in tree.unchecked), *unchecked]
    known = {
        "files": len(tree.texts),
        "excluded": tree.excluded_files,
        "skipped": [note.to_dict() for note in tree.skipped],
        "unchecked": gaps,
    } | dict(facts or {})
    if found:
        more = f", and {len(gaps)} could not be checked" if gaps else ""
        return Decision.denied(
            f"{control}.found", f"{control}: {len(found)} findings{more}", findings=found, facts=known
        )
    if gaps:
        rest = f" (and {len(gaps) - 1} more)" if len(gaps) > 1 else ""
        return Decision.undetermined(f"{control}.unchecked", f"{control} could not check {gaps[0]}{rest}", facts=known)
    if not tree.texts:
        return Decision.undetermined(f"{control}.empty", f"{control}: there is no file to check", facts=known)
    return Decision.allowed(f"{control}.clean", f"{control}: nothing found in {len(tree.texts)} files", facts=known)
