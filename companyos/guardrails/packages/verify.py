"""Package reality: every dependency that files declare is held against an index, in parallel."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from companyos.guardrails.interface import Hit
from companyos.guardrails.packages.imports import unprovided_imports
from companyos.guardrails.packages.interface import Answer, Dependency, IndexUnreachableError, PackageIndex
from companyos.guardrails.packages.manifests import Manifest, read_manifest
from companyos.guardrails.packages.names import lookalike
from companyos.guardrails.tree import is_production

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from companyos.guardrails.tree import Tree

__all__ = ("DETECTORS", "Survey", "survey")

_REQUESTS_AT_ONCE = 16
_Key = tuple[str, str, str | None]


@dataclass
class Survey:
    """Everything that the rules of G03 judge."""

    tree: Tree
    """The tree."""
    manifests: list[Manifest]
    """What its files declare."""
    answers: dict[_Key, Answer] = field(default_factory=dict)
    """What the index said of each package and version."""
    gaps: list[str] = field(default_factory=list)
    """What could not be found out."""

    @property
    def dependencies(self) -> Iterator[Dependency]:
        """All declared dependencies."""
        return (dependency for manifest in self.manifests for dependency in manifest.dependencies)

    @property
    def own_names(self) -> frozenset[str]:
        """Names that are the tree's own, or that it pins to a stated source: no index is asked for these."""
        own = {manifest.own_name for manifest in self.manifests if manifest.own_name}
        return frozenset(own | {d.name for d in self.dependencies if d.direct})

    def looked_up(self) -> Iterator[tuple[Dependency, Answer]]:
        """The dependencies that the index answered for, with its answer."""
        for dependency in self.dependencies:
            answer = self.answers.get(_key(dependency))
            if answer is not None and not dependency.direct and dependency.name not in self.own_names:
                yield dependency, answer

    def locked(self, ecosystem: str) -> bool:
        """Whether a lock file pins the packages of an ecosystem with their digests."""
        return any(d.locked and d.hashes for d in self.dependencies if d.ecosystem == ecosystem)


def survey(tree: Tree, index: PackageIndex, *, only: Iterable[str] | None = None) -> Survey:
    """Read the files that declare dependencies (all of the product's, or `only` these) and ask the index about each.

    Every package and version is asked for once. An index that does not answer leaves a gap, and no answer.
    """
    paths = [path for path in tree.texts if is_production(path)] if only is None else list(only)
    read = (read_manifest(path, tree.texts[path], named=only is not None) for path in paths if path in tree.texts)
    found = Survey(tree, [manifest for manifest in read if manifest is not None])
    found.gaps += [manifest.unsupported for manifest in found.manifests if manifest.unsupported]
    wanted = sorted(
        {_key(d) for d in found.dependencies if not d.direct and d.name not in found.own_names},
        key=lambda k: (k[0], k[1], k[2] or ""),
    )
    missed: list[str] = []
    with ThreadPoolExecutor(max_workers=_REQUESTS_AT_ONCE, thread_name_prefix="index") as pool:
        for key, outcome in zip(wanted, pool.map(partial(_ask, index), wanted), strict=True):
            if isinstance(outcome, Answer):
                found.answers[key] = outcome
            else:
                missed.append(outcome)
    if missed:
        found.gaps.append(f"{len(missed)} of {len(wanted)} packages could not be looked up: {missed[0]}")
    return found


def _ask(index: PackageIndex, key: _Key) -> Answer | str:
    try:
        return index.find(*key)
    except IndexUnreachableError as error:
        return " ".join(error.message.split())


def _key(dependency: Dependency) -> _Key:
    return dependency.ecosystem, dependency.name, dependency.version


def _label(dependency: Dependency) -> str:
    return f"{dependency.name} {dependency.version}" if dependency.version else dependency.name


def _at(dependency: Dependency, what: str) -> Hit:
    return Hit(dependency.path, dependency.line, f"{_label(dependency)}: {what}")


def _unknown_package(found: Survey) -> Iterator[Hit]:
    return (_at(d, "no index that is used here holds it") for d, answer in found.looked_up() if not answer.exists)


def _unknown_version(found: Survey) -> Iterator[Hit]:
    for dependency, answer in found.looked_up():
        if answer.exists and dependency.version and not answer.version_exists:
            yield _at(dependency, "the index holds other versions only")


def _yanked(found: Survey) -> Iterator[Hit]:
    return (_at(d, "withdrawn by its publisher") for d, answer in found.looked_up() if d.version and answer.yanked)


def _hash_mismatch(found: Survey) -> Iterator[Hit]:
    for dependency, answer in found.looked_up():
        if dependency.version and dependency.hashes and answer.hashes and not dependency.hashes & answer.hashes:
            yield _at(dependency, "the pinned digest is none of those of the version's files")
    for dependency in found.dependencies:
        digest = _local_digest(found.tree, dependency)
        if digest and dependency.hashes and digest not in dependency.hashes:
            yield _at(dependency, "the file that lies there has another digest")


def _local_digest(tree: Tree, dependency: Dependency) -> str | None:
    if not dependency.direct or "://" in dependency.direct.removeprefix("file://"):
        return None
    relative = dependency.direct.removeprefix("file:").lstrip("/").partition("#")[0]
    here = dependency.path.rpartition("/")[0]
    for candidate in (tree.root / relative, tree.root / here / relative):
        if candidate.is_file() and candidate.resolve().is_relative_to(tree.root):
            return f"sha256:{hashlib.sha256(candidate.read_bytes()).hexdigest()}"
    return None


def _no_hash(found: Survey) -> Iterator[Hit]:
    for dependency in found.dependencies:
        editable = dependency.direct in {".", "./"}
        if dependency.locked and not dependency.hashes and not editable and dependency.name not in _own(found):
            yield _at(dependency, "no digest is pinned")


def _own(found: Survey) -> set[str | None]:
    return {manifest.own_name for manifest in found.manifests}


def _unpinned(found: Survey) -> Iterator[Hit]:
    for dependency in found.dependencies:
        if dependency.direct or dependency.version or dependency.name in _own(found):
            continue
        if dependency.locked:
            yield _at(dependency, "not pinned to one version")
        elif not dependency.bounded and not found.locked(dependency.ecosystem):
            yield _at(dependency, "no version bound, and no lock file pins it")


def _lookalike(found: Survey) -> Iterator[Hit]:
    for dependency in found.dependencies:
        other = None if dependency.direct else lookalike(dependency.ecosystem, dependency.name)
        if other:
            yield _at(dependency, f"could be taken for {other}")


def _unprovided_import(found: Survey) -> Iterator[Hit]:
    names = [d.name for d in found.dependencies if d.ecosystem == "pypi"]
    own = [manifest.own_name for manifest in found.manifests if manifest.own_name]
    return unprovided_imports(found.tree.texts, [*names, *own])


def _unreadable(found: Survey) -> Iterator[Hit]:
    return (Hit(m.path, 1, f"does not parse: {m.problem}") for m in found.manifests if m.problem)


DETECTORS: dict[str, Callable[[Survey], Iterable[Hit]]] = {
    "G03.hash-mismatch": _hash_mismatch,
    "G03.lookalike": _lookalike,
    "G03.no-hash": _no_hash,
    "G03.unknown-package": _unknown_package,
    "G03.unknown-version": _unknown_version,
    "G03.unpinned": _unpinned,
    "G03.unprovided-import": _unprovided_import,
    "G03.unreadable": _unreadable,
    "G03.yanked": _yanked,
}
"""One detector a rule."""
