"""The simple repository page of a Python package (PEP 503, HTML): its files, digests and yanked marks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from html import unescape

from companyos.guardrails.packages.interface import Answer

__all__ = ("ProjectFile", "answer_from", "files_in", "version_of")

_ANCHOR = re.compile(r"<a\s((?:[^>\"']|\"[^\"]*\"|'[^']*')*+)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"(?P<name>[a-zA-Z][\w-]*)\s*(?:=\s*(?P<value>\"[^\"]*\"|'[^']*'|[^\s\"'>]+))?")
_SDIST = re.compile(r"\.(tar\.gz|zip|tar\.bz2|tgz)$")


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """One file of a package."""

    name: str
    """Its name."""
    digest: str | None
    """`sha256:<hex>`, if the page tells it."""
    yanked: bool
    """Whether it is withdrawn (PEP 592)."""


def files_in(page: str) -> list[ProjectFile]:
    """The files that a page links to.

    Popular packages have pages of megabytes: links are all that is read of them, not the whole markup.
    """
    found = []
    for anchor in _ANCHOR.finditer(page):
        values = {m.group("name").lower(): m.group("value") or "" for m in _ATTRIBUTE.finditer(anchor.group(1))}
        target, _, fragment = unescape(values.get("href", "").strip("\"'")).partition("#")
        digest = re.search(r"(sha\d+)=([0-9a-fA-F]+)", fragment)
        told = f"{digest.group(1)}:{digest.group(2).lower()}" if digest else None
        if target:
            found.append(ProjectFile(target.rpartition("/")[2], told, "data-yanked" in values))
    return found


def version_of(filename: str) -> str | None:
    """The version in a file's name; None when it is no distribution."""
    if filename.endswith(".whl"):
        parts = filename.split("-")
        return canonical(parts[1]) if len(parts) >= 5 else None
    stem, found = _SDIST.subn("", filename)
    if not found:
        return None
    # An sdist's name may hold dashes itself; its version is what follows the last one that a digit follows.
    match = re.match(r"^.+?-v?(?P<version>\d[^-]*(?:-\d+)?)$", stem)
    return canonical(match.group("version")) if match else None


def answer_from(files: list[ProjectFile], version: str | None) -> Answer:
    """What these files say of a package and one version of it."""
    if version is None:
        return Answer(exists=bool(files))
    wanted = canonical(version)
    matching = [file for file in files if version_of(file.name) == wanted]
    return Answer(
        exists=bool(files),
        version_exists=bool(matching),
        hashes=frozenset(file.digest for file in matching if file.digest),
        yanked=bool(matching) and all(file.yanked for file in matching),
    )


@lru_cache(maxsize=65536)
def canonical(version: str) -> str:
    """The canonical form of a version (PEP 440), or the text itself when it is none."""
    from packaging.utils import canonicalize_version

    return canonicalize_version(version)
