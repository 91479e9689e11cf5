"""One tree of errors, each class with a stable code and the exit status that the command line gives for it.

`UserError` is the branch whose text is for people: what happened, what was got and expected, and the next step.
Anything else that reaches the top is a defect of ours, and the command line says so.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = (
    "CompanyOSError",
    "ConfigError",
    "IntegrityError",
    "MissingExtraError",
    "MissingToolError",
    "RefusedError",
    "UnverifiableError",
    "UserError",
    "printable",
)

FINDINGS = 1
"""Exit status: the check ran and found something, or refused."""
USAGE = 2
"""Exit status: the call, an input or the configuration is wrong."""
COULD_NOT_CHECK = 3
"""Exit status: the check could not be made, so nothing may be concluded."""


class CompanyOSError(Exception):
    """The base of every error that CompanyOS raises on purpose."""

    code: ClassVar[str] = "internal"
    """Stable id of the kind of error; documented in `docs/errors.md`."""
    exit_status: ClassVar[int] = COULD_NOT_CHECK
    """What the command line exits with."""


class UserError(CompanyOSError):
    """An error whose text is meant for a person.

    `what` says what happened; `got` and `expected` show both sides; `hint` is the next step.
    """

    code = "usage"
    exit_status = USAGE

    def __init__(
        self,
        what: str,
        *,
        got: object = None,
        expected: object = None,
        hint: str | None = None,
    ) -> None:
        self.what = printable(what)
        self.got = None if got is None else _short(got)
        self.expected = None if expected is None else _short(expected)
        self.hint = None if hint is None else printable(hint)
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The whole text: what, got, expected, next step."""
        parts = [self.what]
        if self.got is not None:
            parts.append(f"got: {self.got}")
        if self.expected is not None:
            parts.append(f"expected: {self.expected}")
        if self.hint:
            parts.append(f"next: {self.hint}")
        return "\n  ".join(parts)

    def to_dict(self) -> dict[str, str | None]:
        """The error as a JSON object, for `--json` and for servers."""
        return {
            "error": self.code,
            "what": self.what,
            "got": self.got,
            "expected": self.expected,
            "next": self.hint,
        }


class ConfigError(UserError, ValueError):
    """The configuration does not parse or does not validate."""

    code = "config.invalid"


class IntegrityError(UserError):
    """Evidence was checked and is wrong: a digest, a signature or a proof does not hold."""

    code = "integrity"
    exit_status = FINDINGS


class RefusedError(UserError):
    """A control refused, and the caller asked for an exception instead of a decision."""

    code = "refused"
    exit_status = FINDINGS


class UnverifiableError(UserError):
    """The check could not be made at all; never to be read as a pass."""

    code = "unverifiable"
    exit_status = COULD_NOT_CHECK


class MissingExtraError(UnverifiableError, ImportError):
    """A room is used whose optional dependencies are not installed."""

    code = "missing.extra"


class MissingToolError(UnverifiableError):
    """An outside program that a check needs is not installed."""

    code = "missing.tool"


def printable(text: str) -> str:
    """`text` with every character escaped that would drive a terminal instead of showing on it.

    Those are control characters (line ends among them), what turns the direction of writing or has no width, and
    surrogates, which cannot even be written as UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _short(value: object, limit: int = 400) -> str:
    """`value` as text on one line that cannot flood a terminal."""
    text = printable(" ".join(str(value).split()))
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
