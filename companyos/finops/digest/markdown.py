"""The digest as Markdown, for a chat, a mail or an issue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.finops.digest.sections import sections
from companyos.finops.markdown import table

if TYPE_CHECKING:
    from companyos.finops.digest.model import Digest

__all__ = ("to_markdown",)


def to_markdown(digest: Digest) -> str:
    """The whole digest; what comes from bills cannot break out of its cell."""
    lines = [f"# Digest of {digest.label}", ""]
    lines += [f"{digest.week.start} to {digest.week.days[-1]}, as of {digest.as_of:%Y-%m-%d %H:%M} UTC."]
    lines += [f"Extract: `{digest.extract or 'none'}`"]
    for section in sections(digest):
        lines += ["", f"## {section.title}"]
        if section.note:
            lines += ["", section.note]
        if section.rows:
            lines += ["", *table(section.headings, section.rows, numbers=section.numbers)]
    return "\n".join(lines) + "\n"
