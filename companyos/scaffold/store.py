"""The cache: every template this machine has seen, kept in one bare repository, and what is rendered from it.

`COMPANYOS_CACHE_DIR` places it; otherwise `$XDG_CACHE_HOME/companyos` or `~/.cache/companyos`, and where that cannot
be written a directory of this user under the temporary directory. Losing the cache costs only the ability to update,
offline, a service that was born from an older template.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from companyos._version import __version__
from companyos.scaffold.bundle import build, read_info
from companyos.scaffold.errors import ScaffoldError, TemplateError
from companyos.scaffold.git import git

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("PUBLIC_URL", "Template", "TemplateStore", "cache_directory", "carried_template", "source_checkout")

PUBLIC_URL = "https://github.com/companyos/companyos.git"
"""Where the template is published, and what a generated repository records."""

_REF = re.compile(r"^refs/companyos/(?P<tag>[^/]+)/(?P<commit>[0-9a-f]{40})$")


@dataclass(frozen=True, slots=True)
class Template:
    """One template, held by the store."""

    tag: str
    """Its tag, for example `v0.1.0`."""
    commit: str
    """Id of its commit: a digest of its content and version."""


def cache_directory() -> Path:
    """The directory for what can be made again; it exists and is writable."""
    asked = os.environ.get("COMPANYOS_CACHE_DIR")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - Path.expanduser raises without a home
    mine = Path(tempfile.gettempdir(), f"companyos-cache-{os.getuid()}")
    for candidate in [Path(asked)] if asked else [Path(home, "companyos"), mine]:
        try:
            candidate.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if os.access(candidate, os.W_OK | os.X_OK) and candidate.stat().st_uid == os.getuid():
            return candidate.resolve()
    raise ScaffoldError(
        "there is no place for the cache", got=asked or home, hint="set COMPANYOS_CACHE_DIR to a writable directory"
    )


def source_checkout() -> Path | None:
    """The root of the source checkout this library runs from, or None when it is installed from a wheel."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "copier.yml").is_file() and (root / "templates").is_dir() else None


def carried_template(store: TemplateStore) -> Template:
    """The template that belongs to this installation, taken into the store.

    Raises:
        TemplateError: this installation carries none, or it was changed.
    """
    bundle = Path(__file__).with_name("template.bundle")
    if bundle.is_file():
        return store.add(bundle)
    root = source_checkout()
    if root is None:
        raise TemplateError("this installation carries no template", hint="install companyos from its wheel")
    with tempfile.TemporaryDirectory(prefix="companyos-template-") as scratch:
        bundle = Path(scratch, "template.bundle")
        build(root, bundle, __version__)
        return store.add(bundle)


class TemplateStore:
    """A bare Git repository with a ref for every template it was given.

    A template is added by one `git fetch`, which moves the ref only when all its objects are there: an interrupted one
    leaves nothing that counts and is done again. Two templates with the same tag (a working copy between releases)
    stay apart.
    """

    def __init__(self, directory: Path) -> None:
        self._repository = directory / "templates.git"

    def add(self, bundle: Path) -> Template:
        """Take in a bundle, once it has been checked against its recorded digest.

        Raises:
            TemplateError: the bundle is not the one that was built.
        """
        info = read_info(bundle)
        template = Template(info.tag, info.commit)
        if template not in self.templates():
            git(self._ready(), ["fetch", "--quiet", "--no-tags", bundle, f"refs/tags/{info.tag}:{_ref(template)}"])
        got = git(self._repository, ["rev-parse", f"{_ref(template)}^{{commit}}"])
        if got != info.commit:
            git(self._repository, ["update-ref", "-d", _ref(template)])
            raise TemplateError("the template bundle holds another commit than it says", got=got, expected=info.commit)
        return template

    def templates(self) -> list[Template]:
        """Every template in the store."""
        names = git(self._ready(), ["for-each-ref", "--format=%(refname)", "refs/companyos"]).splitlines()
        found = (_REF.match(name) for name in names)
        return [Template(match["tag"], match["commit"]) for match in found if match]

    def find(self, tag: str, commit: str | None) -> Template | None:
        """The template with that commit; else the only one that has the tag."""
        known = self.templates()
        exact = [template for template in known if template.commit == commit]
        tagged = [template for template in known if template.tag == tag]
        candidates = exact or tagged
        return candidates[0] if len(candidates) == 1 else None

    def read(self, template: Template, path: str) -> str:
        """The text of one file of a template."""
        return git(self._ready(), ["show", f"{template.commit}:{path}"])

    @contextmanager
    def published(self, *templates: Template) -> Iterator[Path]:
        """A repository that looks as the public one does with `templates` released: their tags, the last as HEAD."""
        with tempfile.TemporaryDirectory(prefix="companyos-published-") as scratch:
            view = Path(scratch, "companyos.git")
            git(
                Path(scratch), ["init", "--quiet", "--bare", "--object-format=sha1", "--initial-branch=main", view.name]
            )
            for template in templates:
                refs = [f"{_ref(template)}:refs/tags/{template.tag}", f"+{_ref(template)}:refs/heads/main"]
                git(view, ["fetch", "--quiet", "--no-tags", "--update-head-ok", self._ready(), *refs])
            yield view

    def _ready(self) -> Path:
        if not self._is_repository():
            shutil.rmtree(self._repository, ignore_errors=True)
            self._repository.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="templates-", dir=self._repository.parent) as scratch:
                fresh = Path(scratch, "templates.git")
                git(Path(scratch), ["init", "--quiet", "--bare", "--object-format=sha1", fresh.name])
                if not self._repository.exists():
                    fresh.rename(self._repository)
        return self._repository

    def _is_repository(self) -> bool:
        try:
            return git(self._repository, ["rev-parse", "--is-bare-repository"]) == "true"
        except (ScaffoldError, OSError):
            return False


def _ref(template: Template) -> str:
    return f"refs/companyos/{template.tag}/{template.commit}"
