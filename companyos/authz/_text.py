"""Spellings: what can be seen, and when two names are the same one."""

from __future__ import annotations

import re
import unicodedata

__all__ = ("is_visible", "plain", "squeezed")

_UNSEEN = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""What `isprintable` lets pass of Unicode's `Default_Ignorable_Code_Point` (fillers, selectors), and blank Braille."""


def is_visible(text: str) -> bool:
    """Whether each character of a text can be seen: no control, format, filler or selector among them."""
    return text.isprintable() and not _UNSEEN.search(text)


def plain(text: str) -> str:
    """A name without the differences that a reader does not see: letter case, width, composition (NFKC)."""
    if text.isascii():
        return text.casefold().strip()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


def squeezed(text: str) -> str:
    """A name without separators either, so that `Contains_PII`, `contains-pii` and `containsPii` are one."""
    return "".join(character for character in plain(text) if character not in "_- ")
