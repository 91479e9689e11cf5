"""Exceptions are told with their chain, within bounds, whatever they are."""

from __future__ import annotations

import sys

import pytest

from companyos.observability import get_logger
from companyos.observability.exceptions import MAX_CHAIN, MAX_FRAMES, exception_fields

log = get_logger("exceptions")


def raised(error, cause=None):
    """An exception that was raised."""
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def test_the_chain_is_told(service):
    """Causes and contexts are named, the nearest first, and told in Python's order."""
    try:
        try:
            raise KeyError("k")  # noqa: TRY301 - the handler is what is tested
        except KeyError:
            raise ValueError("v") from OSError("o")
    except ValueError:
        log.exception("x")
    event = service.event
    assert ["OSError: o"] == event["exception.chain"]
    text = event["exception.stacktrace"]
    assert text.index("OSError: o") < text.index("direct cause") < text.index("ValueError: v")
    assert text.rstrip().endswith("ValueError: v")


def test_the_context_is_told_unless_it_was_put_aside():
    """As Python does: `from None` ends the chain."""

    def fail(aside):
        try:
            raise KeyError("k")  # noqa: TRY301 - it has to be raised to be handled
        except KeyError:
            if aside:
                raise ValueError("v") from None
            raise ValueError("v")  # noqa: B904 - the context is what is tested

    for aside, chain in ((False, ["KeyError: 'k'"]), (True, None)):
        with pytest.raises(ValueError, match="v") as caught:
            fail(aside)
        fields = exception_fields(caught.value)
        assert chain == fields.get("exception.chain")
        assert ("another exception occurred" in fields["exception.stacktrace"]) is not aside


def test_notes_and_groups_are_told():
    """Notes stand below the text; members of a group are told, with their causes named."""
    error = ExceptionGroup("many", [raised(ValueError("a"), cause=KeyError("c")), TypeError("b")])
    error.add_note("seen at noon")
    text = exception_fields(raised(error))["exception.stacktrace"]
    for part in (
        "many (2 sub-exceptions)\nseen at noon",
        "1 of 2",
        "| ValueError: a",
        "caused by KeyError",
        "| TypeError: b",
    ):
        assert part in text


def deep(levels):
    """Fails that many calls down."""
    if levels == 0:
        raise ValueError("bottom")
    deep(levels - 1)


def test_the_deepest_frames_are_kept():
    """Of a deep stack the innermost frames are shown, and how many are left out."""
    with pytest.raises(ValueError, match="bottom") as caught:
        deep(200)
    text = exception_fields(caught.value)["exception.stacktrace"]
    assert f"... {202 - MAX_FRAMES} outer frames" in text
    assert 'raise ValueError("bottom")' in text
    assert text.rstrip().endswith("ValueError: bottom")


def test_no_locals_are_shown():
    """What stood in variables is not told."""

    def fail(number):
        hidden = number * 2
        raise ValueError("x" * (hidden > 0))

    with pytest.raises(ValueError, match="x") as caught:
        fail(987654)
    assert "1975308" not in str(exception_fields(caught.value))


def endless():
    """A chain of very many exceptions."""
    error = None
    for number in range(5_000):
        error = raised(ValueError(f"number {number}"), error)
    return error


def circle():
    """Two exceptions that are the cause of each other."""
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def nested():
    """Groups in groups, wide and deep."""
    error = ValueError("leaf")
    for number in range(60):
        error = ExceptionGroup(f"group {number}", [error] * 20)
    return error


class Mute(Exception):  # noqa: N818 - its name is what is shown
    """Neither its text nor its notes can be had."""

    def __str__(self):
        raise RuntimeError("no")

    @property
    def __notes__(self):
        raise RuntimeError("no notes")


BOUNDED = {
    "an endless chain": endless,
    "a circle": circle,
    "itself": lambda: raised(ValueError("x")).with_traceback(None),
    "groups in groups": nested,
    "a huge text": lambda: raised(ValueError("y" * 1_000_000)),
    "huge notes": lambda: noted(["z" * 100_000] * 100),
    "odd notes": lambda: noted(7),
    "a mute one": Mute,
}


def noted(notes):
    """An exception with these notes."""
    error = ValueError("noted")
    error.__notes__ = notes
    return error


def recursion():
    """A recursion without end."""

    def again():
        again()

    with pytest.raises(RecursionError) as caught:
        again()
    return caught.value


BOUNDED["a recursion"] = recursion


@pytest.mark.parametrize("name", BOUNDED)
def test_every_exception_is_told_within_bounds(service, name):
    """Whatever its shape, an exception takes at most 32 KiB of a line and keeps its type."""
    error = BOUNDED[name]()
    log.error("x", exc_info=error, other="kept")
    assert len(service.stream.getvalue()) < 32 * 1024
    assert (type(error).__name__, "kept") == (
        service.event["exception.type"].rpartition(".")[2],
        service.event["other"],
    )
    assert len(service.event.get("exception.chain", [])) < MAX_CHAIN


def test_the_last_of_an_endless_chain_are_told():
    """The errors nearest to the one that was caught stay; that others are left out is said."""
    fields = exception_fields(endless())
    assert "number 4998" in fields["exception.chain"][0]
    assert "earlier errors are left out" in fields["exception.stacktrace"]
    assert fields["exception.stacktrace"].rstrip().endswith("number 4999")


def test_a_syntax_error_is_told():
    """An exception with a text of several lines is told like any other."""
    with pytest.raises(SyntaxError) as caught:
        compile("a b", "there.py", "exec")
    assert "there.py" in exception_fields(caught.value)["exception.message"]


def test_interrupts_are_told(service):
    """What is no `Exception` can be logged too."""
    try:
        sys.exit("bye")
    except SystemExit:
        log.fatal("x", exc_info=True)
    assert ("SystemExit", "bye") == (service.event["exception.type"], service.event["exception.message"])
