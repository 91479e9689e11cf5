"""The rules of G03."""

from __future__ import annotations

from companyos.decision import Severity
from companyos.guardrails.interface import Rule

__all__ = ("RULES",)

RULES: dict[str, Rule] = {
    rule.id: rule
    for rule in (
        Rule(
            "G03.foreign-index",
            "the file lets packages come from an index of its own",
            "configure the index for pip instead, so that the packages are looked up where they come from",
        ),
        Rule(
            "G03.hash-mismatch",
            "the pinned digest is none of those of the version's files",
            "do not install it; find out where the digest comes from, then lock again",
            Severity.CRITICAL,
        ),
        Rule(
            "G03.lookalike",
            "the name is one slip away from a popular package",
            "check that this is the package you mean",
        ),
        Rule(
            "G03.no-hash",
            "a locked dependency has no digest",
            "lock with digests, for example pip-compile --generate-hashes",
        ),
        Rule(
            "G03.unknown-package",
            "no index that is used here holds the package",
            "the name may be invented: remove it, or declare the package that is meant",
            Severity.CRITICAL,
        ),
        Rule("G03.unknown-version", "the index holds the package, not this version", "pin a version that exists"),
        Rule("G03.unpinned", "the dependency is not pinned", "pin one exact version, or keep a lock file beside"),
        Rule(
            "G03.unprovided-import",
            "no declared dependency provides the imported module",
            "declare the distribution that provides it, or remove the import",
        ),
        Rule(
            "G03.unreadable", "the file that declares dependencies does not parse", "mend it; nothing in it was checked"
        ),
        Rule("G03.yanked", "the version was withdrawn by its publisher", "pin another version", Severity.MEDIUM),
    )
}
"""Every rule of G03 by id."""
