"""The files that a control looks at: what git would commit, or else what a walk finds, read once for all controls.

Nothing here crashes on strange input. What is left out on purpose (binary files, symbolic links) is noted in
`skipped`; what should have been looked at and could not be (too large, unreadable) is in `unchecked`, and a check
over such a tree can only be undetermined.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from companyos.errors import UnverifiableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ("SIZE_LIMIT_BYTES", "Note", "Tree", "TreeError", "glob_pattern", "is_production", "printable")

SIZE_LIMIT_BYTES = 10 * 1024 * 1024
"""Text files above this size are not read; they make a check undetermined."""
_HEAD_BYTES = 8192
_MARKS = (b"\xff\xfe", b"\xfe\xff")
_PRINTABLE_BYTES = bytes((*range(0x20, 0x7F), *b"\t\n\r"))
_TEXT_NAME = re.compile(
    r"(^|/)([^/]*\.(py|pyi|[cm]?[jt]sx?|json|ya?ml|toml|ini|cfg|conf|properties|env|sh|bash|sql|tf|tfvars|txt|md|rst|csv|"
    r"xml|html?|css|go|rs|rb|java|kt|php|c|h|cpp|cs|pem|key|crt|lock)|\.env[^/]*|\.npmrc|\.pypirc|Dockerfile[^/]*|Makefile)$",
    re.IGNORECASE,
)
_NOT_SOURCE = frozenset(
    (
        *(".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".nox", ".tox", ".cache"),
        *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache"),
    )
)
_TEST_DIRECTORIES = frozenset(("test", "tests", "__tests__", "__mocks__", "e2e", "fixtures", "specimens"))
_TEST_FILE = re.compile(r"^(conftest\.py|test_.*\.py|.*_test\.py|.*\.(test|spec|stories)\.[cm]?[jt]sx?)$")
_GIT_TIMEOUT_SECONDS = 60


class TreeError(UnverifiableError):
    """The tree to check cannot be read at all."""

    code = "guardrails.tree"


@dataclass(frozen=True, slots=True)
class Note:
    """A file that was not looked at, and why."""

    path: str
    """The file, relative to the tree."""
    reason: str
    """Why it was left out."""

    def to_dict(self) -> dict[str, str]:
        """The note as a JSON object."""
        return {"path": printable(self.path), "reason": self.reason}


class Tree:
    """A directory as the controls see it: relative paths with forward slashes, and their text."""

    def __init__(self, root: Path, *, exclude: Iterable[str] = (), only: Iterable[str] | None = None) -> None:
        self.root = root
        self._only = None if only is None else frozenset(only)
        self.exclude = tuple(exclude)
        self._excluded = [glob_pattern(pattern) for pattern in self.exclude]
        self._skipped: list[Note] = []
        self._unchecked: list[Note] = []
        self.excluded_files = 0

    @classmethod
    def open(cls, root: Path | str, *, exclude: Iterable[str] = (), only: Iterable[str] | None = None) -> Tree:
        """The tree at `root`, without what the globs in `exclude` name, or `only` these files of it.

        Raises:
            TreeError: `root` is not a directory that can be read.
        """
        path = Path(root).resolve()
        if not path.is_dir():
            raise TreeError("nothing to check here", got=root, expected="a directory")
        tree = cls(path, exclude=exclude, only=only)
        _ = tree.texts
        return tree

    @classmethod
    def of(cls, subject: Tree | Path | str) -> Tree:
        """`subject` itself when it is a tree already, else the tree at that path."""
        return subject if isinstance(subject, Tree) else cls.open(subject)

    @property
    def skipped(self) -> tuple[Note, ...]:
        """What was left out on purpose: binary files, symbolic links; and text that could be read in part only."""
        return tuple(self._skipped)

    @property
    def unchecked(self) -> tuple[Note, ...]:
        """What should have been looked at and could not be."""
        return tuple(note for note in self._unchecked if not self.excludes(note.path))

    @cached_property
    def texts(self) -> dict[str, str]:
        """The text of every file that has one, by path, sorted."""
        found: dict[str, str] = {}
        for path in sorted(_listing(self.root, self._skipped, self._unchecked) if self._only is None else self._only):
            if self.excludes(path):
                self.excluded_files += 1
                continue
            text = self._read(path)
            if text is not None:
                found[path] = text
        return found

    def excludes(self, path: str) -> bool:
        """Whether an exclude glob names this path or a directory above it."""
        return any(pattern.match(path) for pattern in self._excluded)

    def named(self, *suffixes: str) -> Iterator[tuple[str, str]]:
        """Path and text of the files whose names end in one of `suffixes`."""
        return ((path, text) for path, text in self.texts.items() if path.endswith(suffixes))

    def _read(self, path: str) -> str | None:
        absolute = self.root / path
        try:
            if absolute.is_symlink() or not absolute.is_file():
                self._skipped.append(Note(path, "symbolic link" if absolute.is_symlink() else "not a regular file"))
                return None
            with absolute.open("rb") as file:
                head = file.read(_HEAD_BYTES)
                if b"\0" in head and not (
                    head.startswith(_MARKS) or _TEXT_NAME.search(path) or _mostly_printable(head)
                ):
                    self._skipped.append(Note(path, "binary"))
                    return None
                size = os.fstat(file.fileno()).st_size
                if size > SIZE_LIMIT_BYTES:
                    self._unchecked.append(Note(path, f"{size} bytes of text, more than {SIZE_LIMIT_BYTES}"))
                    return None
                return self._decode(path, head + file.read())
        except OSError as error:
            self._unchecked.append(Note(path, f"cannot be read: {error.strerror}"))
            return None

    def _decode(self, path: str, data: bytes) -> str:
        encoding = _wide_encoding(data) or "utf-8-sig"
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            self._skipped.append(Note(path, f"not valid {encoding[:6].rstrip('-')}; read byte by byte"))
            text = data.decode("latin-1")
        if "\0" in text:
            self._skipped.append(Note(path, "holds NUL; read without"))
        return text.replace("\0", "")


def _wide_encoding(data: bytes) -> str | None:
    if data.startswith(_MARKS):
        return "utf-16"
    head = data[:_HEAD_BYTES]
    low, high = head[::2].count(0), head[1::2].count(0)
    # Latin text in UTF-16 has a zero in every other byte, and hardly one in between.
    if max(low, high) * 4 < len(head) or min(low, high) * 8 > max(low, high):
        return None
    return "utf-16-le" if high > low else "utf-16-be"


def _mostly_printable(head: bytes) -> bool:
    rest = head.replace(b"\0", b"")
    strange = len(rest.translate(None, _PRINTABLE_BYTES))
    return len(rest) * 8 >= len(head) and strange * 10 <= len(rest)


def printable(path: str) -> str:
    """A path as text that every stream can carry: undecodable bytes and control characters are escaped."""
    safe = path.encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in safe)


def glob_pattern(glob: str) -> re.Pattern[str]:
    """The pattern for a path glob: `*` within a name, `**` across names; a directory stands for all below it."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob.strip("/"))
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(known.get(part) or re.escape(part) for part in parts) + r"(?:/.*)?\Z", re.DOTALL)


def is_production(path: str) -> bool:
    """Whether a file is part of the product, as opposed to its tests and their fixtures."""
    *directories, name = path.split("/")
    return not _TEST_DIRECTORIES.intersection(directories) and not _TEST_FILE.match(name)


def _listing(root: Path, skipped: list[Note], unchecked: list[Note]) -> set[str]:
    listed = _git_listing(root, skipped) if _inside_git(root) else None
    if listed is None:
        return set(_walk(root))
    # Git names a repository inside the repository, and a submodule, without what they hold.
    nested = {path for path in listed if (root / path).is_dir() and not (root / path).is_symlink()}
    for path in (nested_path.rstrip("/") for nested_path in nested):
        inner: tuple[list[Note], list[Note]] = ([], [])
        found = _listing(root / path, *inner) if (root / path / ".git").exists() else set(_walk(root / path))
        if not found:
            unchecked.append(Note(path, "a repository of its own, or a submodule, in which there is no file"))
        for notes, those in zip((skipped, unchecked), inner, strict=True):
            notes.extend(Note(f"{path}/{note.path}", note.reason) for note in those)
        listed |= {f"{path}/{name}" for name in found}
    return listed - nested


def _inside_git(root: Path) -> bool:
    return any((directory / ".git").exists() for directory in (root, *root.parents))


def _git_listing(root: Path, skipped: list[Note]) -> set[str] | None:
    # A root that its repository ignores (a scratch directory) lists as empty: that would be a check of nothing.
    ignored = not (root / ".git").exists() and _git(root, "check-ignore", "--quiet", str(root)) is not None
    tracked = None if ignored else _git(root, "ls-files", "-z", "--cached")
    others = None if ignored else _git(root, "ls-files", "-z", "--others", "--exclude-standard")
    if tracked is None or others is None:
        skipped.append(Note(".git", "git cannot list this tree; every file below it is looked at instead"))
        return None
    fresh = {path for path in others if not _NOT_SOURCE.intersection(path.split("/"))}
    return {path for path in {*tracked, *fresh} if path and os.path.lexists(root / path)}


def _git(root: Path, *arguments: str) -> list[str] | None:
    # A hook's GIT_DIR or GIT_INDEX_FILE would answer for another repository than the one asked about.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],  # noqa: S607 - git is found on the PATH like any tool
            capture_output=True,
            check=False,
            env=environment,
            timeout=_GIT_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return [os.fsdecode(part) for part in done.stdout.split(b"\0")] if done.returncode == 0 else None


def _walk(root: Path) -> Iterator[str]:
    for directory, names, files in os.walk(root, followlinks=False):
        here = Path(directory)
        # A link to a directory is reported with the directories; it is listed as a file and never followed.
        links = [name for name in names if (here / name).is_symlink()]
        names[:] = [n for n in names if n not in _NOT_SOURCE and n not in links and not _is_environment(here / n)]
        for name in (*files, *links):
            yield (here / name).relative_to(root).as_posix()


def _is_environment(directory: Path) -> bool:
    return (directory / "pyvenv.cfg").is_file()
