"""Reading typed fields out of a YAML tree; what is wrong is gathered, with its line, and reading goes on."""

from __future__ import annotations

import difflib
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from companyos.observability.slo.durations import LONGEST, shorthand_seconds
from companyos.observability.slo.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from companyos.observability.slo.yamltree import Node

__all__ = ("Fields", "Gathered")

NAME = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9_.|/\\]{0,253}[a-zA-Z0-9])?", re.ASCII)
"""The names of OpenSLO v1, "Notes (General Schema)", and capitals and `_`, which its own examples use."""
LONGEST_TEXT = 16 * 1024
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")
_KINDS = {dict: "a mapping", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}


class Gathered:
    """What was found wrong, and what is worth a warning."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []


class Fields:
    """One mapping of a file, and the path that led to it.

    Each reader returns None (or an empty value) where the field is absent or was reported.
    """

    __slots__ = ("_gathered", "_node", "file", "line", "path")

    def __init__(self, node: Node, path: str, file: str, gathered: Gathered) -> None:
        self.file, self.path, self.line = file, path, node.line
        self._gathered = gathered
        self._node: dict[str, Node] = {}
        if isinstance(node.value, dict):
            self._node = node.value
        else:
            self.problem(None, f"got {_shown(node)}, expected a mapping", line=node.line)

    def __contains__(self, key: str) -> bool:
        """Whether the field is there and is not null."""
        node = self._node.get(key)
        return node is not None and node.value is not None

    def line_of(self, key: str) -> int:
        """The line of a field's value; of the mapping where there is no such field."""
        node = self._node.get(key)
        return self.line if node is None else node.line

    def problem(self, key: str | None, what: str, *, line: int | None = None) -> None:
        """Report what is wrong with a field, or with the mapping itself."""
        self._gathered.problems.append(self._place(key, what, line))

    def warning(self, key: str | None, what: str) -> None:
        """Report what is worth knowing about a field."""
        self._gathered.warnings.append(self._place(key, what, None))

    def only(self, *known: str) -> None:
        """Report every key that is not known, with the nearest that is."""
        for key, node in self._node.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
                self.problem(key, f"unknown key; {hint}", line=node.line)

    def text(self, key: str, *, required: bool = False, default: str = "") -> str:
        """A text without control characters."""
        node = self._get(key, required=required)
        if node is None:
            return default
        value: Any = node.value
        if not isinstance(value, str):
            self.problem(key, f"got {_shown(node)}, expected a text: put it into quotes")
            return default
        if len(value) > LONGEST_TEXT or _CONTROLS.search(value):
            self.problem(key, f"a text with control characters, or longer than {LONGEST_TEXT}")
            return default
        if required and not value.strip():
            self.problem(key, "is empty")
        return value

    def name(self, key: str, *, required: bool = True) -> str:
        """A name, as of objects."""
        text = self.text(key, required=required)
        if text.strip() and not NAME.fullmatch(text):
            self.problem(key, f"got {text[:80]!r}, expected up to 255 letters, digits, - . _ | / and \\")
            return ""
        return text

    def choice(self, key: str, allowed: Collection[str], *, required: bool = False) -> str | None:
        """One of the allowed words."""
        text = self.text(key, required=required)
        if not text:
            return None
        if text not in allowed:
            near = difflib.get_close_matches(text, allowed, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            self.problem(key, f"got {text[:80]!r}, expected {' or '.join(allowed)}{hint}")
            return None
        return text

    def boolean(self, key: str) -> bool | None:
        """True or false."""
        node = self._get(key, required=False)
        if node is None or isinstance(node.value, bool):
            return None if node is None else node.value
        self.problem(key, f"got {_shown(node)}, expected true or false")
        return None

    def number(self, key: str, *, required: bool = False) -> Decimal | None:
        """A number, exactly as written."""
        node = self._get(key, required=required)
        if node is None:
            return None
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            self.problem(key, f"got {_shown(node)}, expected a number")
            return None
        value = Decimal(node.text)
        if not -300 < value.adjusted() < 300 or len(value.as_tuple().digits) > 30:
            self.problem(key, f"got {node.text[:40]}, expected a number of ordinary size")
            return None
        return value

    def duration(self, key: str, *, required: bool = False, zero: bool = False, minutes: bool = False) -> int | None:
        """Seconds of a duration; `minutes` lets a plain number stand for that many minutes."""
        node = self._get(key, required=required)
        if node is None:
            return None
        value = f"{node.value}m" if minutes and type(node.value) is int else node.value
        seconds = shorthand_seconds(value) if isinstance(value, str) else None
        if seconds is None:
            self.problem(key, f"got {_shown(node)}, expected a number and one of m h d w M Q Y, such as 30d")
        elif (seconds == 0 and not zero) or seconds > LONGEST:
            self.problem(key, f"got {_shown(node)}, expected a duration above zero and up to 10Y")
        else:
            return seconds
        return None

    def fields(self, key: str, *, required: bool = False) -> Fields | None:
        """A mapping."""
        node = self._get(key, required=required)
        return None if node is None else Fields(node, self._path(key), self.file, self._gathered)

    def items(self, key: str, *, required: bool = False) -> Iterator[tuple[Node, Fields | None]]:
        """The items of a list: the node, and its fields where it is a mapping."""
        node = self._get(key, required=required)
        if node is None:
            return
        if not isinstance(node.value, list):
            self.problem(key, f"got {_shown(node)}, expected a list")
            return
        if required and not node.value:
            self.problem(key, "is empty")
        for index, item in enumerate(node.value):
            path = f"{self._path(key)}[{index}]"
            held = isinstance(item.value, dict)
            yield item, Fields(item, path, self.file, self._gathered) if held else None

    def keys(self) -> Iterator[tuple[str, Node]]:
        """All keys, with their nodes."""
        yield from self._node.items()

    def _get(self, key: str, *, required: bool) -> Node | None:
        node = self._node.get(key)
        if node is not None and node.value is not None:
            return node
        if required:
            self.problem(key, "is missing")
        return None

    def _path(self, key: str | None) -> str:
        if key is None:
            return self.path
        shown = key if len(key) <= 80 else f"{key[:80]}…"
        return f"{self.path}.{shown}" if self.path else shown

    def _place(self, key: str | None, what: str, line: int | None) -> Problem:
        where = line if line is not None else self.line if key is None else self.line_of(key)
        return Problem(self.file, where, self._path(key), what)


def _shown(node: Node) -> str:
    if isinstance(node.value, dict | list):
        return _KINDS[type(node.value)]
    if node.value is None:
        return "nothing"
    text = node.text if len(node.text) <= 60 else f"{node.text[:60]}…"
    return repr(text) if isinstance(node.value, str) else text
