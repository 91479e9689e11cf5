"""YAML as a tree in which everything knows its line: each key once, nothing by reference, not endlessly deep.

It is built from the events of the parser (libyaml's where PyYAML has it, which is ten times faster) with the scalars
of YAML 1.2's core schema, so that `no` is a text and a date stays what was written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from companyos._yaml import MAX_DEPTH
from companyos.observability.slo.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("Node", "Refusal", "documents")

LARGEST_BYTES = 16 * 1024 * 1024
"""A file of thousands of SLOs is smaller."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?", re.ASCII)


class Refusal(Exception):  # noqa: N818 - it becomes a problem, and never leaves the reader
    """The text is not YAML that is read here."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


@dataclass(slots=True)
class Node:
    """A value and the line on which it begins."""

    value: Any
    """`dict[str, Node]`, `list[Node]`, `str`, `int`, `float`, `bool` or `None`."""
    line: int
    """Counted from 1."""
    text: str = ""
    """A scalar as it was written."""


def documents(data: bytes, file: str) -> Iterator[Node]:
    """The documents of a file, empty ones left out.

    Raises:
        Refusal: too large, not UTF-8, not YAML, or YAML with aliases, anchors, tags, equal keys or endless depth.
    """
    if len(data) > LARGEST_BYTES:
        raise Refusal(Problem(file, 0, "", f"{len(data)} bytes; at most {LARGEST_BYTES} are read"))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Refusal(Problem(file, line, "", f"not UTF-8: byte {data[error.start]:#04x}")) from None
    try:
        yield from _Builder(text, file).documents()
    except yaml.YAMLError as error:
        raise Refusal(_problem(error, file)) from None


def _problem(error: yaml.YAMLError, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
    return Problem(file, 0 if mark is None else mark.line + 1, "", f"not YAML: {what}")


class _Builder:
    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._events = iter(yaml.parse(text, Loader=_LOADER))

    def documents(self) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                node = self._node(next(self._events), 0)
                if node.value is not None:
                    yield node

    def _node(self, event: Any, depth: int) -> Node:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self._refusal(line, "anchors and aliases are not read: write the value out")
        if event.tag is not None and event.tag != "!":
            raise self._refusal(line, f"the tag {event.tag} is not read: write the plain value")
        if depth == MAX_DEPTH:
            raise self._refusal(line, f"nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event.value) if event.implicit[0] else event.value
            return Node(value, line, event.value)
        if isinstance(event, yaml.MappingStartEvent):
            return Node(self._mapping(depth), line)
        return Node(self._sequence(depth), line)

    def _mapping(self, depth: int) -> dict[str, Node]:
        held: dict[str, Node] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            name = key.text if not isinstance(key.value, dict | list) else None
            if name is None:
                raise self._refusal(key.line, "a key must be a plain word")
            if name in held:
                raise self._refusal(key.line, f"the key {name!r} occurs a second time")
            held[name] = self._node(next(self._events), depth + 1)
        return held

    def _sequence(self, depth: int) -> list[Node]:
        held = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            held.append(self._node(event, depth + 1))
        return held

    def _refusal(self, line: int, what: str) -> Refusal:
        return Refusal(Problem(self._file, line, "", what))


def _scalar(text: str) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] in "-+.0123456789":
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text
