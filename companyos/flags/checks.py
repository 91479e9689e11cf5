"""The check behind `companyos flags check`: every flag owned, dated, linked, and none past its date."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from companyos.decision import Decision
from companyos.flags.errors import FlagFileError
from companyos.flags.reading import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from companyos.flags.reading import FlagFile

__all__ = ("check", "check_tree", "flag_files", "utc_today")

_SKIPPED = frozenset({".git", ".venv", "node_modules", "site-packages", "__pycache__", "dist", "build"})
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


def check_tree(root: Path, *, today: date | None = None) -> Decision:
    """The same for every file under a directory `feature-flags` in the tree; a tree without one has no flags."""
    files = list(flag_files(root))
    if not files:
        return Decision.allowed("flags.none", "no feature-flags directory, so no flags", facts={"files": 0, "flags": 0})
    return _judge([(file, file.relative_to(root).as_posix()) for file in files], today or utc_today())


def flag_files(root: Path) -> Iterator[Path]:
    """Every file of flags in the tree, sorted."""
    for file in sorted(root.rglob("feature-flags/*")):
        if file.suffix in _SUFFIXES and file.is_file() and _SKIPPED.isdisjoint(file.relative_to(root).parts):
            yield file


def _judge(files: list[tuple[Path, str]], today: date) -> Decision:
    read: list[FlagFile] = []
    unreadable: list[str] = []
    for path, name in files:
        try:
            read.append(load(path, name=name))
        except FlagFileError as error:
            unreadable.append(str(error))
    findings = [finding for file in read for flag in file.flags for finding in flag.findings(today)]
    facts = {"files": len(files), "flags": sum(len(file.flags) for file in read), "today": today.isoformat()}
    if findings:
        text = f"findings: {len(findings)}, in {facts['flags']} flags"
        return Decision.denied("flags.refused", "; ".join([text, *unreadable]), findings=findings, facts=facts)
    if unreadable:
        return Decision.undetermined("flags.unreadable", "; ".join(unreadable), facts=facts)
    return Decision.allowed("flags.current", f"{facts['flags']} flags, all owned and within their dates", facts=facts)
