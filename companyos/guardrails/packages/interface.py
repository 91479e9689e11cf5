"""What package checks speak about: dependencies as files declare them, and what an index says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from companyos.errors import UnverifiableError

__all__ = ("Answer", "Dependency", "IndexUnreachableError", "PackageIndex")


class IndexUnreachableError(UnverifiableError):
    """A package index gave no usable answer; nothing may be concluded about the package."""

    code = "guardrails.index"


@dataclass(frozen=True, slots=True)
class Dependency:
    """One dependency as one line of one file declares it."""

    ecosystem: str
    """`pypi` or `npm`."""
    name: str
    """Normalised name."""
    version: str | None
    """The one version it is pinned to; None for a range or none at all."""
    path: str
    """The file that declares it, relative to the tree."""
    line: int
    """The line in that file."""
    hashes: frozenset[str] = frozenset()
    """Accepted digests, as `sha256:<hex>` (pypi) or `sha512-<base64>` (npm)."""
    locked: bool = False
    """Whether the file is one that must pin versions and digests."""
    bounded: bool = True
    """Whether it names any version bound at all."""
    direct: str | None = None
    """Where it comes from when that is not an index: a URL or a path."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an index says of one package, and of one version of it if that was asked for."""

    exists: bool
    """Whether it holds the package."""
    version_exists: bool = False
    """Whether it holds the version asked for."""
    hashes: frozenset[str] = frozenset()
    """Digests of that version's files, as far as the index tells them."""
    yanked: bool = False
    """Whether every file of that version is withdrawn."""


class PackageIndex(Protocol):
    """A place where packages are looked up."""

    @property
    def name(self) -> str:
        """How reports call it, without credentials."""
        ...

    def find(self, ecosystem: str, name: str, version: str | None) -> Answer:
        """What it says of a package and, unless `version` is None, of that version.

        Raises:
            IndexUnreachableError: it does not answer, or not in a form that can be read.
        """
        ...
