"""The check behind `companyos flags check`: every flag owned, dated, linked, and none past its date."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from companyos.decision import Decision
from companyos.flags.errors import FlagFileError
from companyos.flags.reading import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from companyos.flags.reading import FlagFile

__all__ = ("check", "check_tree", "flag_files", "utc_today")

_SKIPPED = frozenset({".git", ".venv", "node_modules", "site-packages", "__pycache__", "dist", "build"})
_DIRECTORY = "feature-flags"
_SUFFIXES = frozenset({".yaml", ".yml", ".json"})


def utc_today() -> date:
    """Today's date in UTC, in which flags expire."""
    return datetime.now(UTC).date()


def check(path: Path | str, *, today: date | None = None) -> Decision:
    """May these flags stay? `path` is a file of flags, or a tree in which all of them are looked for.

    Denied with a finding for every rule broken; undetermined if a file cannot be read, or is not there.
    """
    target = Path(path)
    if target.is_dir():
        return check_tree(target, today=today)
    return _judge([(target, str(path))], today or utc_today())


def check_tree(root: Path, excludes: Callable[[str], bool] = lambda _: False, *, today: date | None = None) -> Decision:
    """The same for every file under a directory `feature-flags` in the tree; a tree without one has no flags.

    Relative paths for which `excludes` holds are left out. What could not be looked at (a directory that cannot be
    listed, a linked one) is `unchecked` in the facts, and never allowed.
    """
    found = _Search(Path(root), excludes)
    files = [(file, file.relative_to(root).as_posix()) for file in found.files]
    if not files and not found.unchecked:
        facts = {"files": 0, "flags": 0, "unchecked": []}
        return Decision.allowed("flags.none", "no feature-flags directory, so no flags", facts=facts)
    return _judge(files, today or utc_today(), found.unchecked)


def flag_files(root: Path) -> Iterator[Path]:
    """Every file of flags in the tree, sorted: at any depth below a directory `feature-flags`, in any case."""
    return iter(_Search(root).files)


class _Search:
    def __init__(self, root: Path, excludes: Callable[[str], bool] = lambda _: False) -> None:
        self.files: list[Path] = []
        self.unchecked: list[str] = []
        self._root = root
        self._excludes = excludes
        for directory, names, files in os.walk(root, onerror=self._missed):
            self._visit(Path(directory), names, files)
        self.files.sort()
        self.unchecked.sort()

    def _visit(self, here: Path, names: list[str], files: list[str]) -> None:
        inside = _is_flags((self._root.resolve().name, *here.relative_to(self._root).parts))
        for name in list(names):
            linked = (here / name).is_symlink()
            if self._excludes(self._relative(here / name)) or (name in _SKIPPED and not inside) or linked:
                names.remove(name)
            if linked and (inside or _is_flags((name,))) and not self._excludes(self._relative(here / name)):
                self.unchecked.append(f"{self._relative(here / name)}: a linked directory is not followed")
        for file in (here / name for name in files if inside):
            if file.suffix.lower() not in _SUFFIXES or self._excludes(self._relative(file)):
                continue
            if file.is_file():
                self.files.append(file)
            else:
                self.unchecked.append(f"{self._relative(file)}: not a file that can be read")

    def _missed(self, error: OSError) -> None:
        relative = self._relative(Path(error.filename))
        if not self._excludes(relative):
            self.unchecked.append(f"{relative}: cannot be listed: {error.strerror}")

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


def _is_flags(parts: Iterable[str]) -> bool:
    return any(part.lower() == _DIRECTORY for part in parts)


def _judge(files: list[tuple[Path, str]], today: date, unchecked: Iterable[str] = ()) -> Decision:
    read: list[FlagFile] = []
    gaps = list(unchecked)
    for path, name in files:
        try:
            read.append(load(path, name=name))
        except FlagFileError as error:
            gaps.append(f"{name}: {error}")
    findings = [finding for file in read for flag in file.flags for finding in flag.findings(today)]
    count = sum(len(file.flags) for file in read)
    facts = {"files": len(files), "flags": count, "today": today.isoformat(), "unchecked": gaps}
    if findings:
        text = f"findings: {len(findings)}, in {count} flags"
        return Decision.denied("flags.refused", "; ".join([text, *gaps]), findings=findings, facts=facts)
    if gaps:
        return Decision.undetermined("flags.unreadable", "; ".join(gaps), facts=facts)
    return Decision.allowed("flags.current", f"{count} flags, all owned and within their dates", facts=facts)
