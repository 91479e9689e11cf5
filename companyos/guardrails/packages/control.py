"""G03: every package is real, is the one that is meant, and is the one that was locked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from companyos.guardrails.interface import TreeControl, judge, tree_control
from companyos.guardrails.packages.configured import open_index
from companyos.guardrails.packages.interface import IndexUnreachableError
from companyos.guardrails.packages.rules import RULES
from companyos.guardrails.packages.verify import DETECTORS, survey
from companyos.guardrails.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from companyos.decision import Decision
    from companyos.guardrails.interface import Hit
    from companyos.guardrails.packages.interface import PackageIndex
    from companyos.guardrails.packages.verify import Survey

__all__ = ("Trial", "packages_control", "take_snapshot", "verify_packages")


@dataclass(frozen=True, slots=True)
class Trial:
    """A specimen's tree with the index it is to be held against."""

    root: Path
    """The tree."""
    index: PackageIndex
    """The index, which needs no network."""


def packages_control(
    index: PackageIndex | None = None,
    *,
    detectors: Mapping[str, Callable[[Survey], Iterable[Hit]]] = DETECTORS,
) -> TreeControl:
    """The control G03 against this index (default: what pip and npm are configured to use, read at each check)."""
    from companyos.guardrails.specimens.g03 import specimens

    def inspect(tree: Tree) -> Decision:
        return verify_packages(tree, index or open_index(None), detectors=detectors)

    def check(subject: Any) -> Decision:
        if isinstance(subject, Trial):
            return verify_packages(Tree.of(subject.root), subject.index, detectors=detectors)
        return inspect(Tree.of(subject))

    return tree_control(
        "G03",
        "Hallucinated or unverified packages",
        inspect,
        rules=RULES.values(),
        specimens=specimens(),
        check=check,
    )


def verify_packages(
    tree: Tree,
    index: PackageIndex,
    *,
    only: Iterable[str] | None = None,
    detectors: Mapping[str, Callable[[Survey], Iterable[Hit]]] = DETECTORS,
) -> Decision:
    """Hold the dependencies of a tree (or of `only` these files of it) against an index.

    Findings deny; an index that did not answer for a package makes the answer undetermined.
    """
    found = survey(tree, index, only=only)
    findings = [RULES[rule].finding(hit) for rule, detect in detectors.items() for hit in detect(found)]
    facts = {
        "index": index.name,
        "manifests": [manifest.path for manifest in found.manifests],
        "packages": len({(d.ecosystem, d.name) for d in found.dependencies}),
        "looked_up": len(found.answers),
    }
    return judge("G03", tree, findings, unchecked=found.gaps, facts=facts)


def take_snapshot(tree: Tree, index: PackageIndex) -> dict[str, Any]:
    """What an index says now of everything that a tree declares, in the form that `SnapshotIndex` reads.

    Raises:
        IndexUnreachableError: it did not answer for all of them; a snapshot with holes would prove nothing.
    """
    found = survey(tree, index, only=tree.texts)
    if found.gaps:
        raise IndexUnreachableError("no snapshot was taken", got=found.gaps[0])
    data: dict[str, Any] = {"pypi": {}, "npm": {}}
    for (ecosystem, name, version), answer in sorted(
        found.answers.items(), key=lambda item: (*item[0][:2], item[0][2] or "")
    ):
        if answer.exists:
            versions = data[ecosystem].setdefault(name, {})
        if version and answer.version_exists:
            versions[version] = {"hashes": sorted(answer.hashes), "yanked": answer.yanked}
    return data
