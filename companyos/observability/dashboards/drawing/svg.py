"""A small writer of SVG 1.1: elements with escaped text, numbers as short as they can be."""

from __future__ import annotations

from html import escape

from companyos.errors import printable

__all__ = ("element", "number", "text", "words")


def element(name: str, *children: str, **attributes: object) -> str:
    """One element; an underscore in an attribute's name stands for a hyphen, a trailing one is dropped."""
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"' for key, value in attributes.items())
    return f"<{name}{written}>{''.join(children)}</{name}>" if children else f"<{name}{written}/>"


def text(x: float, y: float, content: str, **attributes: object) -> str:
    """Text at a place."""
    return element("text", words(content), x=x, y=y, **attributes)


def words(content: str) -> str:
    """Text that is not markup and drives nothing."""
    return escape(printable(content))


def number(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    written = f"{value:.1f}"
    return written.removesuffix(".0")


def _value(value: object) -> str:
    return number(value) if isinstance(value, float) else words(str(value))
