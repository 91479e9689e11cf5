"""Errors: text for people, and nothing but text."""

import pytest

from companyos.errors import UserError, printable

HOSTILE = {
    "title": "\x1b]0;owned\x07",
    "colour": "\x1b[31m",
    "C1": "\x9b2J",
    "overwrite": "good\rbad",
    "backspace": "a\x08b",
    "right to left": "\u202egpj.exe",
    "no width": "a\u200bb",
    "surrogate": "\udc80",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_in_a_message_drives_a_terminal(text):
    """Names that others choose are shown escaped, in every part of the message; only our own line ends remain."""
    error = UserError(f"cannot read {text}", got=text, expected=text, hint=f"rename {text}")
    assert len(error.message.split("\n")) == 4
    assert all(line.isprintable() for line in error.message.split("\n"))
    assert error.message == str(error)


def test_a_line_end_in_a_name_makes_no_line():
    """A file name cannot forge a second part of the message."""
    assert UserError("cannot read a\n  next: run x").message == "cannot read a\\n  next: run x"


def test_what_can_be_read_stays_as_it_is():
    """Letters of any script are no danger."""
    assert printable("Zürich 東京 [x] {y} 100 %") == "Zürich 東京 [x] {y} 100 %"
    assert printable("a\x1bb") == "a\\x1bb"
