"""Text that comes from bills and ledgers, made harmless for Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("escaped", "table")

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|!~])")


def escaped(text: str) -> str:
    """The text on one line, with nothing in it that Markdown would read."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: frozenset[int] = frozenset()
) -> list[str]:
    """The lines of a table; columns in `numbers`, counted from 0, stand to the right."""
    ruler = ["---:" if at in numbers else "---" for at in range(len(headings))]
    return [
        f"| {' | '.join(cells)} |" for cells in (headings, ruler, *([escaped(cell) for cell in row] for row in rows))
    ]
