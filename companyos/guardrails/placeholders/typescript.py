"""Detectors of G01 for TypeScript and JavaScript, over a split into code, comments and strings.

The split knows line and block comments and the three kinds of quotes; it is no parser. What needs one (flow, types)
is not judged here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from companyos.guardrails.interface import Hit
from companyos.guardrails.placeholders.words import MARKER, METRIC, NOT_IMPLEMENTED, PLACEHOLDER_TEXT, PROMISES_FIGURE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ("TYPESCRIPT_DETECTORS", "TYPESCRIPT_SUFFIXES", "ScriptFile")

TYPESCRIPT_SUFFIXES = (".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs")
"""Names of files that are judged here."""

_TOKEN = re.compile(
    r"(?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))|(?P<string>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)",
    re.DOTALL,
)
_MOCK = re.compile(
    r"\b(?:jest|vi)\s*\.\s*(?:mock|fn|spyOn)\s*\(|\b(?:from|require\(|import\()\s*[\"'](?:sinon|nock|msw(?:/\w+)?|jest-mock|"
    r"ts-mockito|@faker-js/faker|testdouble|fetch-mock)[\"']"
)
# Repetitions are bounded, so that a file of one long line costs no more than its length.
_THROW = re.compile(
    r"\bthrow\s+(?:new\s+)?\w*(?:Error|Exception)?\s*\(?\s*(?P<quote>[\"'`])(?P<text>.{0,400}?)(?P=quote)", re.DOTALL
)
_EMPTY = re.compile(
    r"\bfunction\s*\*?\s*(?P<name>[\w$]+)\s*(?:<[^>]{0,200}>)?\([^()]{0,400}\)\s*(?::[^{;=]{1,200})?\{\s*\}|"
    r"\b(?:const|let|var)\s+(?P<arrow>[\w$]+)\s*(?::[^=]{1,200})?=\s*(?:async\s*)?\([^()]{0,400}\)\s*(?::[^=]{1,200})?=>\s*\{\s*\}"
)
_NO_OPERATION = re.compile(r"^_?no-?_?op", re.IGNORECASE)
_PROMISE = (
    r"(?:validate|verify|check|authori[sz]e|authenticate|isValid|isAllowed|compute|calculate|measure|detect|scan|predict|"
    r"score|evaluate|encrypt|decrypt|sign)"
)
_CONSTANT = re.compile(
    rf"\b(?:function\s+)?(?P<name>{_PROMISE}(?:[A-Z_]\w*)?)\s*(?::[^=;]{{1,200}})?(?:=\s*(?:async\s*)?)?\(\s*[\w${{\[][^()]{{0,400}}\)\s*(?::[^{{;=]{{1,200}})?"
    r"(?:(?:=>\s*)?\{\s*return\s+(?:true|false|-?[\d.]+|\"[^\"]*\"|'[^']*')\s*;?\s*\}|=>\s*(?:true|false|-?[\d.]+)\s*[;,\n])"
)
_FIGURE = re.compile(r"\b(?:const|let|var)?\s*(?P<name>\w+)\s*[:=]\s*(?P<value>\d+\.\d+|[2-9]\d*|1\d+)\s*[,;}\n]")
_FUNCTION = re.compile(r"\b(?:function\s+(\w+)|(?:const|let)\s+(\w+)\s*=\s*(?:async\s*)?\()")


@dataclass(frozen=True)
class ScriptFile:
    """One file, split once for all detectors."""

    path: str
    """Its path."""
    text: str
    """Its text."""

    @cached_property
    def code(self) -> str:
        """The text with comments blanked out, lines kept."""
        return _TOKEN.sub(lambda m: re.sub(r"[^\n]", " ", m.group()) if m.group("comment") else m.group(), self.text)

    @cached_property
    def comments(self) -> list[tuple[int, str]]:
        """Offset and text of every comment."""
        return [(m.start(), m.group()) for m in _TOKEN.finditer(self.text) if m.group("comment")]

    @cached_property
    def strings(self) -> list[tuple[int, str]]:
        """Offset and text of every string."""
        return [(m.start(), m.group()) for m in _TOKEN.finditer(self.text) if m.group("string")]

    def hit(self, offset: int, message: str = "") -> Hit:
        """A hit at an offset of this file."""
        return Hit(self.path, self.text.count("\n", 0, offset) + 1, message)


def _not_implemented(file: ScriptFile) -> Iterator[Hit]:
    for match in _THROW.finditer(file.code):
        if NOT_IMPLEMENTED.search(match.group("text")) or MARKER.search(match.group("text")):
            yield file.hit(match.start())


def _open_marker(file: ScriptFile) -> Iterator[Hit]:
    for offset, comment in file.comments:
        for match in MARKER.finditer(comment):
            yield file.hit(offset + match.start(), f"{match.group()} in a comment")


def _mock_import(file: ScriptFile) -> Iterator[Hit]:
    return (file.hit(match.start()) for match in _MOCK.finditer(file.code))


def _empty_body(file: ScriptFile) -> Iterator[Hit]:
    for match in _EMPTY.finditer(file.code):
        name = match.group("name") or match.group("arrow")
        if not _NO_OPERATION.match(name):
            yield file.hit(match.start(), f"{name} has no body")


def _constant_return(file: ScriptFile) -> Iterator[Hit]:
    for match in _CONSTANT.finditer(file.code):
        yield file.hit(match.start(), f"{match.group('name')} answers a constant whatever it is given")


def _placeholder_text(file: ScriptFile) -> Iterator[Hit]:
    return (file.hit(offset) for offset, text in file.strings if PLACEHOLDER_TEXT.search(text))


def _invented_metric(file: ScriptFile) -> Iterator[Hit]:
    starts = [(match.start(), match.group(1) or match.group(2)) for match in _FUNCTION.finditer(file.code)]
    for position, (start, name) in enumerate(starts):
        end = starts[position + 1][0] if position + 1 < len(starts) else len(file.code)
        if not PROMISES_FIGURE.match(_snake(name)):
            continue
        for match in _FIGURE.finditer(file.code, start, end):
            if METRIC.search(_snake(match.group("name"))) and match.group("value") != "100":
                yield file.hit(match.start("name"), f"{match.group('name')} in {name} is written down, not measured")


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


TYPESCRIPT_DETECTORS: dict[str, Callable[[ScriptFile], Iterable[Hit]]] = {
    "G01.constant-return": _constant_return,
    "G01.empty-body": _empty_body,
    "G01.invented-metric": _invented_metric,
    "G01.mock-import": _mock_import,
    "G01.not-implemented": _not_implemented,
    "G01.open-marker": _open_marker,
    "G01.placeholder-text": _placeholder_text,
}
"""One detector a rule."""
