"""The template as one file: a Git bundle with one commit and its tag, the same commit wherever it is built.

The build of the wheel makes it from `copier.yml`, `includes/` and `templates/`; a source checkout makes it on the fly.
The commit has a fixed author and date, so its id is a digest of the template's content and version.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from companyos.scaffold.errors import TemplateError
from companyos.scaffold.git import git

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("BundleInfo", "build", "file_digest", "read_info", "template_files")

_PARTS = ("copier.yml", "includes", "templates")
_SKIPPED_DIRECTORIES = frozenset({
    "__pycache__", ".git", ".venv", ".companyos", ".mypy_cache", ".pytest_cache", ".ruff_cache", "node_modules",
})  # fmt: skip
_SKIPPED_SUFFIXES = (".pyc", ".pyo", ".swp", "~")
_SKIPPED_NAMES = frozenset({".DS_Store", "Thumbs.db"})
_IDENTITY = {
    "GIT_AUTHOR_NAME": "CompanyOS",
    "GIT_AUTHOR_EMAIL": "template@companyos.invalid",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00+00:00",
    "GIT_COMMITTER_NAME": "CompanyOS",
    "GIT_COMMITTER_EMAIL": "template@companyos.invalid",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00+00:00",
}


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """What a template bundle holds, stored beside it as JSON."""

    tag: str
    """The tag, `v` and the version."""
    commit: str
    """Id of its one commit, 40 hexadecimal digits."""
    sha256: str
    """SHA-256 of the bundle file, hexadecimal."""


def build(root: Path, target: Path, version: str) -> BundleInfo:
    """Write the bundle of the template in `root` to `target` and its `BundleInfo` beside it (suffix `.json`).

    Raises:
        MissingToolError: git is not installed.
        ScaffoldError: git failed.
    """
    tag = f"v{version}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="companyos-bundle-") as scratch:
        tree = Path(scratch, "tree")
        _copy(root, tree)
        commit = _commit(tree, tag)
        # One thread and no deltas: the same bytes on every run with the same git.
        packing = ("-c", "pack.threads=1", "-c", "pack.window=0")
        git(tree, [*packing, "bundle", "create", "--quiet", target.resolve(), "HEAD", "main", f"refs/tags/{tag}"])
    info = BundleInfo(tag, commit, file_digest(target))
    target.with_suffix(".json").write_text(json.dumps(asdict(info), indent=2) + "\n", encoding="utf-8")
    return info


def read_info(bundle: Path) -> BundleInfo:
    """The `BundleInfo` beside `bundle`, once the bundle has been checked against it.

    Raises:
        TemplateError: the file is missing, or it is not the one that was built.
    """
    try:
        info = BundleInfo(**json.loads(bundle.with_suffix(".json").read_text(encoding="utf-8")))
        got = file_digest(bundle)
    except (OSError, ValueError, TypeError) as error:
        raise TemplateError(
            "the template carried by companyos cannot be read", got=error, hint="install companyos again"
        ) from error
    if got != info.sha256:
        raise TemplateError(
            "the template carried by companyos was changed", got=got, expected=info.sha256, hint="install it again"
        )
    return info


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def template_files(root: Path) -> Iterator[Path]:
    """Every file of the template in `root`, relative and sorted; caches and editors' leavings are left out."""
    for part in _PARTS:
        start = root / part
        if start.is_file():
            yield Path(part)
        for directory, names, files in os.walk(start):
            names[:] = sorted(name for name in names if name not in _SKIPPED_DIRECTORIES)
            for name in sorted(files):
                if name not in _SKIPPED_NAMES and not name.endswith(_SKIPPED_SUFFIXES):
                    yield Path(directory, name).relative_to(root)


def _copy(root: Path, tree: Path) -> None:
    for relative in template_files(root):
        target = tree / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / relative, target)


def _commit(tree: Path, tag: str) -> str:
    git(tree, ["init", "--quiet", "--object-format=sha1", "--initial-branch=main"])
    git(tree, ["add", "--all", "--force"])
    git(tree, ["commit", "--quiet", "--message", f"CompanyOS templates {tag}"], env=_IDENTITY)
    git(tree, ["tag", tag])
    return git(tree, ["rev-parse", "HEAD"])
