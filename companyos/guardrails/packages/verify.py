"""Package reality: every dependency that files declare is held against an index, in parallel."""

from __future__ import annotations

import hashlib
import posixpath
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from companyos.guardrails.interface import Hit
from companyos.guardrails.packages.imports import unprovided_imports
from companyos.guardrails.packages.interface import Answer, Dependency, IndexUnreachableError, PackageIndex
from companyos.guardrails.packages.manifests import Manifest, read_manifest
from companyos.guardrails.packages.names import lookalike
from companyos.guardrails.packages.public import PUBLIC_PYPI
from companyos.guardrails.tree import Tree, is_production, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from companyos.guardrails.tree import Note

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
    for_tests: list[str] = field(default_factory=list)
    """Names that files of the tests declare; only what tests import is held against them."""
    index_name: str = ""
    """The addresses of the index that was asked."""

    @property
    def dependencies(self) -> Iterator[Dependency]:
        """All declared dependencies."""
        return (dependency for manifest in self.manifests for dependency in manifest.dependencies)

    @property
    def own_names(self) -> frozenset[tuple[str, str]]:
        """Ecosystem and name of what is the tree's own, or pinned to a stated source: no index is asked for these."""
        own = {("pypi", manifest.own_name) for manifest in self.manifests if manifest.own_name}
        return frozenset(own | {(d.ecosystem, d.name) for d in self.dependencies if d.direct})

    def looked_up(self) -> Iterator[tuple[Dependency, Answer]]:
        """The dependencies that the index answered for, with its answer."""
        own = self.own_names
        for dependency in self.dependencies:
            answer = self.answers.get(_key(dependency))
            if answer is not None and not dependency.direct and (dependency.ecosystem, dependency.name) not in own:
                yield dependency, answer

    @property
    def locked(self) -> frozenset[tuple[str, str]]:
        """Ecosystem and name of the packages that a lock file pins with their digests."""
        return frozenset((d.ecosystem, d.name) for d in self.dependencies if d.locked and d.hashes)


def survey(tree: Tree, index: PackageIndex, *, only: Iterable[str] | None = None) -> Survey:
    """Read the files that declare dependencies (all of the product's, or `only` these) and ask the index about each.

    Every package and version is asked for once. An index that does not answer leaves a gap, and no answer.
    """
    found = Survey(tree, [], index_name=index.name)
    paths = [path for path in tree.texts if is_production(path)] if only is None else list(only)
    for path in paths:
        _read(found, path, tree.texts.get(path), named=only is not None)
    others = (read_manifest(path, text) for path, text in tree.texts.items() if not is_production(path))
    found.for_tests += [d.name for m in others if m is not None for d in m.dependencies if d.ecosystem == "pypi"]
    found.gaps += [manifest.unsupported for manifest in found.manifests if manifest.unsupported]
    found.gaps += [f"{printable(note.path)}: {note.reason}" for note in tree.skipped if _matters(tree, note)]
    own = found.own_names
    wanted = sorted(
        {_key(d) for d in found.dependencies if not d.direct and (d.ecosystem, d.name) not in own},
        key=lambda k: (k[0], k[1], k[2] or ""),
    )
    _look_up(found, index, wanted)
    return found


def _read(found: Survey, path: str, text: str | None, *, named: bool, drawn_in: bool = False) -> None:
    if text is None or any(manifest.path == path for manifest in found.manifests):
        return
    manifest = read_manifest(path, text, named=named, drawn_in=drawn_in)
    if manifest is None:
        return
    found.manifests.append(manifest)
    for line, place in manifest.includes:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), place.removeprefix("file:")))
        inside = _text_of(found.tree, target)
        if inside is None:
            found.gaps.append(f"{printable(path)}:{line}: it draws in {place}, which is not in this tree")
        _read(found, target, inside, named=True, drawn_in=True)


def _text_of(tree: Tree, path: str) -> str | None:
    # A tree of single files holds only these; what they draw in lies beside them.
    file = (tree.root / path).resolve()
    if path in tree.texts or not file.is_relative_to(tree.root):
        return tree.texts.get(path)
    beside = Tree.open(tree.root, only=[file.relative_to(tree.root).as_posix()])
    return next(iter(beside.texts.values()), None)


def _matters(tree: Tree, note: Note) -> bool:
    # A manifest behind a link, or one that is binary, was not read; a link to a file of the tree is read there.
    target = (tree.root / note.path).resolve()
    read = target.is_relative_to(tree.root) and target.relative_to(tree.root).as_posix() in tree.texts
    return is_production(note.path) and not read and read_manifest(note.path, "") is not None


def _look_up(found: Survey, index: PackageIndex, wanted: Sequence[_Key]) -> None:
    missed: list[str] = []
    with ThreadPoolExecutor(max_workers=_REQUESTS_AT_ONCE, thread_name_prefix="index") as pool:
        for key, outcome in zip(wanted, pool.map(partial(_ask, index), wanted), strict=True):
            if isinstance(outcome, Answer):
                found.answers[key] = outcome
            else:
                missed.append(outcome)
    if missed:
        found.gaps.append(f"{len(missed)} of {len(wanted)} packages could not be looked up: {missed[0]}")


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
    own, locked = _own(found), found.locked
    for dependency in found.dependencies:
        if dependency.hashes or dependency.name in own:
            continue
        if dependency.direct:
            beside = not dependency.locked and (dependency.ecosystem, dependency.name) in locked
            if not (beside or _is_source_here(found.tree, dependency)):
                yield _at(dependency, "comes from a stated place, and no digest is pinned")
        elif dependency.locked:
            yield _at(dependency, "no digest is pinned")


def _is_source_here(tree: Tree, dependency: Dependency) -> bool:
    place = (dependency.direct or "").partition("#")[0].partition("[")[0]
    if place.startswith("workspace:"):
        return True
    place = place.removeprefix("file://").removeprefix("file:").removeprefix("link:").removeprefix("portal:")
    target = (tree.root / posixpath.dirname(dependency.path) / place).resolve()
    return "://" not in place and target.is_relative_to(tree.root) and target.is_dir()


def _foreign_index(found: Survey) -> Iterator[Hit]:
    for manifest in found.manifests:
        for line, place in manifest.indexes:
            target = (found.tree.root / posixpath.dirname(manifest.path) / place).resolve()
            here = "://" not in place and target.is_relative_to(found.tree.root)
            public = re.sub(r"//[^/@]*@", "//", place).rstrip("/")
            known = {PUBLIC_PYPI, *(name.rstrip("/") for name in found.index_name.split(", "))}
            if not here and public not in known:
                host = urlsplit(place).hostname or "a directory"
                yield Hit(manifest.path, line, f"packages may come from {host}, which is not the index used here")


def _own(found: Survey) -> set[str | None]:
    return {manifest.own_name for manifest in found.manifests}


def _unpinned(found: Survey) -> Iterator[Hit]:
    own, locked = _own(found), found.locked
    for dependency in found.dependencies:
        if dependency.direct or dependency.version or dependency.name in own:
            continue
        if dependency.locked:
            yield _at(dependency, "not pinned to one version")
        elif not dependency.bounded and (dependency.ecosystem, dependency.name) not in locked:
            yield _at(dependency, "no version bound, and no lock file pins it")


def _lookalike(found: Survey) -> Iterator[Hit]:
    for dependency in found.dependencies:
        other = None if dependency.direct else lookalike(dependency.ecosystem, dependency.name)
        if other:
            yield _at(dependency, f"could be taken for {other}")


def _unprovided_import(found: Survey) -> Iterator[Hit]:
    names = [d.name for d in found.dependencies if d.ecosystem == "pypi"]
    own = [manifest.own_name for manifest in found.manifests if manifest.own_name]
    return unprovided_imports(found.tree.texts, [*names, *own], in_tests=found.for_tests)


def _unreadable(found: Survey) -> Iterator[Hit]:
    return (Hit(m.path, 1, f"does not parse: {m.problem}") for m in found.manifests if m.problem)


DETECTORS: dict[str, Callable[[Survey], Iterable[Hit]]] = {
    "G03.foreign-index": _foreign_index,
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
