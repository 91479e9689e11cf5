"""Tokens of PromQL, each with its place."""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from companyos.observability.slo.simulate.errors import RuleFileError, place_in

__all__ = ("Token", "duration_ms", "refuse_syntax", "tokens", "unquoted")

_PATTERN = r"""
    (?P<space>(?:\s|\#[^\n]*)+)
  | (?P<duration>(?:\d+(?:ms|[smhdwy]))+(?!\w))
  | (?P<number>0[xX][0-9a-fA-F]+(?!\w)|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
  | (?P<word>%s)
  | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
  | (?P<op>==|!=|=~|!~|<=|>=|[-+*/%%^<>=(){}\[\],:@])
"""
_OUTSIDE = re.compile(_PATTERN % r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.VERBOSE)
_IN_RANGE = re.compile(_PATTERN % r"[a-zA-Z_][a-zA-Z0-9_]*", re.VERBOSE)
_UNITS_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_ORDER = list(_UNITS_MS)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)


class Token(NamedTuple):
    """A piece of the text."""

    kind: str
    """`duration`, `number`, `word`, `string`, `op` or `end`."""
    text: str
    """As written."""
    at: int
    """Where, in characters from the beginning."""


def tokens(text: str, place: str) -> list[Token]:
    """The tokens of an expression, ended by one of kind `end`.

    Raises:
        RuleFileError: a character that begins none.
    """
    found: list[Token] = []
    at, in_range = 0, False
    while at < len(text):
        # Inside of [] a colon parts range and step; elsewhere it belongs to the names of recorded series.
        match = (_IN_RANGE if in_range else _OUTSIDE).match(text, at)
        if match is None:
            refuse_syntax(text, place, at, f"unexpected {text[at]!r}")
        kind = match.lastgroup or ""
        if kind == "op" and match.group() in "[]":
            in_range = match.group() == "["
        if kind != "space":
            found.append(Token(kind, match.group(), at))
        at = match.end()
    found.append(Token("end", "", len(text)))
    return found


def refuse_syntax(text: str, place: str, at: int, problem: str, *, expected: str | None = None) -> NoReturn:
    """Say what is wrong with an expression, and where."""
    raise RuleFileError(
        f"{place}: {place_in(text, at)}: {problem}",
        got=text,
        expected=expected,
        hint="`promtool check rules FILE` says what Prometheus makes of it",
    )


def duration_ms(text: str) -> int | None:
    """A duration as Prometheus writes it (`1h30m`), in milliseconds, or None if it is not one."""
    parts = re.findall(r"(\d+)(ms|[smhdwy])", text)
    units = [_ORDER.index(unit) for _, unit in parts]
    if not parts or "".join(map("".join, parts)) != text or units != sorted(set(units)):
        return None
    return sum(int(number) * _UNITS_MS[unit] for number, unit in parts)


def unquoted(text: str) -> str:
    """What a string literal means, by the escapes of Go; a backtick quotes without any.

    Raises:
        ValueError: an escape that there is not.
    """
    if text.startswith("`"):
        return text[1:-1]

    def meaning(match: re.Match[str]) -> str:
        for digits, base in zip(match.groups()[:4], (16, 16, 16, 8), strict=True):
            if digits:
                return chr(int(digits, base))
        if match.group(5) not in _ESCAPES:
            raise ValueError(match.group())
        return _ESCAPES[match.group(5)]

    return _ESCAPE.sub(meaning, text[1:-1])
