"""How deeply the text of a policy nests literals, found before regorus reads it.

regorus 0.13.0 reads every array, set and object twice: as a comprehension first, and again when it is none. Each level
of literals within literals therefore doubles the time that its parser takes (measured: 0.02 s at 8 levels, 0.4 s at 12,
2 s at 14, 8 s at 16), and it holds the interpreter all the while. Calls, parentheses, comprehensions and the bodies of
rules do not double; but only a parser tells a comprehension from a literal, so that its brackets count here, too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from companyos.authz.interface import PolicyError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("MAX_LEVELS", "MAX_WORK", "check_nesting")

MAX_LEVELS = 8
"""How deeply arrays, sets, objects and comprehensions may nest in one another."""
MAX_WORK = 32_000_000
"""How much all texts together may make the parser read, in characters, each as often as it is read: some seconds."""
_OPENING = 400
"""What one bracket costs beside its text, in characters: the error that regorus makes and throws away."""
_SIGN = re.compile(r'"(?:[^"\\]|\\.)*"?|`[^`]*`?|#[^\n\r]*|\bif\s*\{|[\[\]{}]', re.DOTALL)
"""What opens or closes a level, and what hides signs that do not; a string that does not end hides all that follows."""


def check_nesting(sources: Mapping[str, str]) -> None:
    """Return if a parser that reads every literal twice comes to an end with these texts.

    Raises:
        PolicyError: one nests literals too deeply, or together they are too much; the text names file and line.
    """
    work = 0
    for name, text in sources.items():
        work += _work(name, text)
        if work > MAX_WORK:
            raise PolicyError(
                f"{name} nests too many literals to be read",
                got=f"{work} characters, each counted as often as it is read",
                expected=f"at most {MAX_WORK} in all policies together",
                hint=_HINT,
            )


_HINT = "move large or nested values into data.json, which is read once"


def _work(name: str, text: str) -> int:
    """The characters of one text, each counted as often as the parser reads it."""
    work, last, levels = 0, 0, 0
    open_brackets: list[bool] = []  # for each whether it is a level; the body of a rule is none
    for match in _SIGN.finditer(text):
        sign = match.group()
        work += (match.end() - last) << levels
        last = match.end()
        if sign[-1] in "[{" and sign[0] in "[{i":
            is_level = sign in {"[", "{"}
            open_brackets.append(is_level)
            work += (_OPENING << levels) * is_level
            levels += is_level
            if levels > MAX_LEVELS:
                raise _too_deep(name, text, match.start())
        elif sign in {"]", "}"} and open_brackets:
            levels -= open_brackets.pop()
    return work + ((len(text) - last) << levels)


def _too_deep(name: str, text: str, place: int) -> PolicyError:
    return PolicyError(
        f"{name}:{text.count(chr(10), 0, place) + 1} nests literals too deeply",
        expected=f"at most {MAX_LEVELS} arrays, sets, objects and comprehensions within one another",
        hint=_HINT,
    )
