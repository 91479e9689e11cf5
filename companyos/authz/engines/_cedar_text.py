"""Cedar text taken apart into its policies, before Cedar itself sees it.

Cedar's parser recurses on the stack of the process and ends it when a text nests deeply enough, so that depth and
length are bounded here first; and each policy is looked at alone, so that an error names its file and line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.authz.interface import PolicyError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("Statement", "check_depth", "statements")

MAX_DEPTH = 64
"""How deeply brackets may nest in one policy."""
MAX_TOKENS = 4000
"""How many words and signs one policy may have."""
_TOKEN = re.compile(r'//[^\n\r]*|"(?:[^"\\]|\\.)*"|[A-Za-z0-9_]+|\s+|.', re.DOTALL)
_OPEN, _CLOSED = frozenset("([{"), frozenset(")]}")


@dataclass(frozen=True, slots=True)
class Statement:
    """The text of one policy."""

    text: str
    """From its first annotation to its semicolon."""
    place: str
    """File and line where it begins."""


def statements(name: str, text: str) -> Iterator[Statement]:
    """The policies in the text of a file, in order.

    Raises:
        PolicyError: one nests too deeply or is too long, or the last one does not end.
    """
    line, begun, start, depth, tokens = 1, 1, -1, 0, 0
    for match in _TOKEN.finditer(text):
        sign = match.group()
        if not sign.isspace() and not sign.startswith("//"):
            if start < 0:
                start, begun, depth, tokens = match.start(), line, 0, 0
            depth += (sign in _OPEN) - (sign in _CLOSED)
            tokens += 1
            _check(f"{name}:{begun}", depth, tokens)
            if sign == ";":
                yield Statement(text[start : match.end()], f"{name}:{begun}")
                start = -1
        line += sign.count("\n")
    if start >= 0:
        raise PolicyError("a policy does not end", got=f"{name}:{begun}", expected="a semicolon")


def check_depth(name: str, text: str) -> None:
    """Refuse a schema that nests too deeply for the stack of Cedar's parser.

    Raises:
        PolicyError: it does.
    """
    depth = 0
    for match in _TOKEN.finditer(text):
        sign = match.group()
        depth += (sign in _OPEN or sign == "<") - (sign in _CLOSED or sign == ">")
        _check(name, depth, 0)


def _check(place: str, depth: int, tokens: int) -> None:
    if depth > MAX_DEPTH:
        raise PolicyError("a policy nests too deeply", got=place, expected=f"at most {MAX_DEPTH} brackets")
    if tokens > MAX_TOKENS:
        raise PolicyError("a policy is too long", got=place, expected=f"at most {MAX_TOKENS} words and signs")
