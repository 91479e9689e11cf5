"""Masks JSON as text: what is named is replaced where it stands, and every other character stays as it was.

Nothing is decoded and written anew, so that numbers keep their digits (`1e400`, `-0.0`, integers of any length), texts
their escapes and objects their order. An object that holds a key twice is masked at each of them, whichever of the two
a reader would take. What is not strictly JSON (RFC 8259) is refused: a reader that forgives more might see a field
where none was seen here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from companyos.authz.interface import ObligationError
from companyos.authz.obligations._fields import MASK, Fields, parts

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("MAX_DEPTH", "JsonText", "MalformedJsonError", "mask_json")

MAX_DEPTH = 128
"""How deeply JSON text may nest."""

_SPACE = re.compile(r"[ \t\n\r]*+")
_STRING = re.compile(r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")
_WORDS = ("true", "false", "null")


class MalformedJsonError(ObligationError):
    """What is to be masked is not JSON, or nests too deeply; nothing of it leaves."""

    code = "authz.malformed_json"


@dataclass(frozen=True, slots=True)
class JsonText:
    """A result that is one JSON document already, as text: what the middleware hands to handlers."""

    text: str
    """The document."""


def mask_json(text: str, fields: Fields | Iterable[str]) -> str:
    """The JSON document `text` with `fields` masked as `mask` does: texts become `"***"`, all else `null`.

    Raises:
        MalformedJsonError: it is not strictly JSON, or nests more than 128 deep.
        ObligationError: it is a lone text or number, or a field's name is blank.
    """
    work = _Splice(text, fields if isinstance(fields, Fields) else Fields(fields))
    try:
        return work.document()
    except RecursionError as error:  # the caller stood deep in the stack already
        raise MalformedJsonError("what is to be masked nests too deeply") from error


class _Splice:
    """One pass over a text."""

    def __init__(self, text: str, fields: Fields) -> None:
        self._text = text
        self._fields = fields
        self._at = 0
        self._copied = 0
        self._pieces: list[str] = []

    def document(self) -> str:
        """The whole text, masked."""
        self._skip()
        if self._peek() not in "{[n":
            self._scalar()
            raise ObligationError("a lone value has no fields to mask", expected="an object or a list")
        self._value((), 0, hide=False)
        self._skip()
        if self._at != len(self._text):
            raise self._malformed("something follows the document")
        return "".join((*self._pieces, self._text[self._copied :]))

    def _value(self, path: tuple[str, ...], depth: int, *, hide: bool) -> None:
        """Pass over one value; what lies in one that is hidden as a whole is looked at for its syntax only."""
        if depth > MAX_DEPTH:
            raise self._malformed("it nests too deeply")
        first = self._peek()
        if first == "{":
            self._object(path, depth, hide=hide)
        elif first == "[":
            self._list(path, depth, hide=hide)
        else:
            start = self._at
            self._scalar()
            if self._fields.all and not hide:
                self._replace(start)

    def _object(self, path: tuple[str, ...], depth: int, *, hide: bool) -> None:
        for _ in self._items("}"):
            name = json.loads(self._take(_STRING, "a key"))
            self._skip()
            self._expect(":")
            self._skip()
            if hide:
                self._value((), depth + 1, hide=True)
            else:
                self._field(path, name, depth)

    def _field(self, path: tuple[str, ...], name: str, depth: int) -> None:
        start = self._at
        if self._fields.named(path, name):
            self._value((), depth + 1, hide=True)
            self._replace(start)
        elif self._fields.all and self._fields.is_kept(name) and self._peek() not in "{[":
            self._scalar()
        else:
            self._value((*path, *parts(name)), depth + 1, hide=False)

    def _list(self, path: tuple[str, ...], depth: int, *, hide: bool) -> None:
        for _ in self._items("]"):
            self._value(path, depth + 1, hide=hide)

    def _items(self, end: str) -> Iterable[None]:
        """Stand at each item of an object or list in turn."""
        self._at += 1
        self._skip()
        if self._peek() == end:
            self._at += 1
            return
        while True:
            yield
            self._skip()
            if self._peek() == end:
                self._at += 1
                return
            self._expect(",")
            self._skip()

    def _scalar(self) -> None:
        if self._peek() == '"':
            self._take(_STRING, "a text")
            return
        for word in _WORDS:
            if self._text.startswith(word, self._at):
                self._at += len(word)
                return
        self._take(_NUMBER, "a value")

    def _replace(self, start: int) -> None:
        masked = json.dumps(MASK) if self._text[start] == '"' else "null"
        self._pieces += (self._text[self._copied : start], masked)
        self._copied = self._at

    def _take(self, pattern: re.Pattern[str], what: str) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self._malformed(f"{what} is expected")
        self._at = found.end()
        return found.group()

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _peek(self) -> str:
        """The next character; at the end one that begins nothing."""
        return self._text[self._at] if self._at < len(self._text) else "\0"

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise self._malformed(f"{character} is expected")
        self._at += 1

    def _malformed(self, why: str) -> MalformedJsonError:
        # The text itself may be what is to be masked, and is not shown.
        return MalformedJsonError("what is to be masked is not JSON", got=f"{why} at character {self._at}")
