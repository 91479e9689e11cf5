"""Git as a process, with an environment of our own: no prompts, no hooks, no line-ending changes, no surprises."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from companyos.errors import MissingToolError
from companyos.scaffold.errors import ScaffoldError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ("environment", "git", "require_git")

_REPOSITORY_VARIABLES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
)
"""Set inside a Git hook; left in place they would send our commands to the caller's repository."""

_SETTINGS = {
    "core.autocrlf": "false",
    "core.hooksPath": os.devnull,
    "commit.gpgSign": "false",
    "tag.gpgSign": "false",
    "init.defaultBranch": "main",
    "advice.detachedHead": "false",
    "gc.auto": "0",
}


def require_git() -> str:
    """The path of the git program.

    Raises:
        MissingToolError: there is none.
    """
    found = shutil.which("git")
    if found is None:
        raise MissingToolError("git is not installed", expected="git 2.31 or newer on PATH", hint="install git")
    return found


def environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment without its repository, with our Git settings and `settings` on top.

    Settings travel by `GIT_CONFIG_COUNT` (Git 2.31), so that neither files nor other processes change.
    """
    values = {key: value for key, value in os.environ.items() if key not in _REPOSITORY_VARIABLES}
    for index, (key, value) in enumerate(({**_SETTINGS, **(settings or {})}).items()):
        values[f"GIT_CONFIG_KEY_{index}"] = key
        values[f"GIT_CONFIG_VALUE_{index}"] = value
    values["GIT_CONFIG_COUNT"] = str(len(_SETTINGS | dict(settings or {})))
    return values | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def git(directory: Path, arguments: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> str:
    """Run git in `directory` and return what it prints, without the last newline.

    Raises:
        MissingToolError: git is not installed.
        ScaffoldError: git failed; the message holds its own words.
    """
    done = subprocess.run(
        [require_git(), *map(str, arguments)],
        cwd=directory,
        env={**environment(), **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ScaffoldError(f"git {arguments[0]} failed in {directory}", got=done.stderr or f"exit {done.returncode}")
    return done.stdout.rstrip("\n")
