"""The figures of a pack, computed from its members by whoever builds it and again by whoever verifies it.

The summary says by which version of the figures it was made, and is judged by that version for ever: a pack does not
become invalid because we learn to count something more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.canonical import NotCanonicalError, canonical_bytes, parse
from companyos.evidence import figures_v1
from companyos.evidence.errors import MemberInvalidError, PackAlteredError, PackInvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ("EXPECTED", "NEWEST", "check_summary", "not_supplied", "summarise")

EXPECTED = (
    "tests/",
    "findings/",
    "sbom/",
    "cost/",
    "dpia/",
    "accessibility/",
    "approvals/",
    "vulnerabilities/",
)
"""Folders that a complete pack fills; what is missing is listed as not supplied, and never green. It may grow: it is
applied when a pack is shown and is no part of one."""
NEWEST = 1
"""Version of the figures that new packs are made with."""
_VERSIONS: dict[int, Callable[[Mapping[str, bytes]], dict[str, Any]]] = {1: figures_v1.figures}


def summarise(members: Mapping[str, bytes], version: int = NEWEST) -> dict[str, Any]:
    """The figures of the evidence, by folder, and their version; JSON values only.

    Raises:
        MemberInvalidError: a member is not in the format of its folder.
    """
    return {**_VERSIONS[version](members), "version": version}


def check_summary(evidence: Mapping[str, bytes], summary: bytes) -> dict[str, Any]:
    """The figures of the evidence, if they are what `summary` says, by the version that it names.

    Raises:
        PackInvalidError: it names a version that we do not know, or is no summary.
        PackAlteredError: the figures are others.
    """
    try:
        version = parse(summary)["version"]
    except (NotCanonicalError, TypeError, LookupError) as error:
        raise PackInvalidError("the pack's summary is not one", got=error) from error
    if type(version) is not int or version not in _VERSIONS:
        raise PackInvalidError(
            "the pack's summary is of an unknown version",
            got=repr(version),
            expected=", ".join(map(str, _VERSIONS)),
            hint="verify it with a newer companyos",
        )
    try:
        figures = summarise(evidence, version)
    except MemberInvalidError as error:
        raise PackAlteredError(error.what, got=error.got) from error
    if canonical_bytes(figures) != summary:
        raise PackAlteredError("the pack's summary is not what its members give")
    return figures


def not_supplied(names: Iterable[str]) -> list[str]:
    """The expected kinds of evidence of which no member in `names` is."""
    present = tuple(names)
    return [folder.rstrip("/") for folder in EXPECTED if not any(name.startswith(folder) for name in present)]
