"""An exception as the conventions name its parts, with its chain, bounded: the deepest frames and the last error stay.

Neither local variables nor attributes are shown. What is written is, for each error of the chain, its type, its text,
its notes and its innermost frames (semantic conventions, attributes `exception.*`).
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from companyos.observability.redaction import Room, as_text
from companyos.observability.runtime import current

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("exception_fields", "type_name")

MAX_FRAMES = 16
"""Frames shown of each error, the innermost ones."""
MAX_CHAIN = 8
"""Errors shown of a chain, the last ones."""
MAX_GROUPED = 5
"""Members shown of an exception group."""
MAX_GROUP_DEPTH = 3
MAX_MESSAGE = 1_000
MAX_NOTES = 5
MAX_STACKTRACE = 8_000
"""Characters of a stack trace, below what one text may take."""

_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"


def type_name(error: BaseException) -> str:
    """Name of an exception's class, with its module unless it is built in."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def exception_fields(error: BaseException, room: Room | None = None) -> dict[str, Any]:
    """`exception.type`, `.message` and `.stacktrace`, masked; `.chain` too, if other errors led to this one.

    The chain, a list of texts, tells from the last cause to the first; the stack trace is in Python's order and words.
    """
    room = room or Room()
    mask = current().redactor.text
    fields: dict[str, Any] = {
        "exception.type": mask(type_name(error), room),
        "exception.message": mask(_message(error), room),
    }
    chain = list(_chain(error))
    if len(chain) > 1:
        fields["exception.chain"] = [mask(_title(link), room) for link, _ in chain[1:]]
    fields["exception.stacktrace"] = mask(_stacktrace(chain, error), room)
    return fields


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """The error and what led to it, each with how it is joined to the one before it here; at most MAX_CHAIN."""
    seen: set[int] = set()
    link: BaseException | None = error
    joint = ""
    while link is not None and id(link) not in seen and len(seen) < MAX_CHAIN:
        yield link, joint
        seen.add(id(link))
        if link.__cause__ is not None:
            link, joint = link.__cause__, _CAUSE
        else:
            link, joint = (None if link.__suppress_context__ else link.__context__), _CONTEXT


def _stacktrace(chain: list[tuple[BaseException, str]], error: BaseException) -> str:
    try:
        for frames in (MAX_FRAMES, 6, 2, 1):
            text = _told(chain, frames)
            if len(text) <= MAX_STACKTRACE:
                break
    except Exception as failure:  # noqa: BLE001 - an exception that cannot be shown must not be replaced by that fact
        return f"[{type_name(error)}: {type_name(failure)} when shown]"
    # The last error, and within it the deepest frame, are at the end.
    return text if len(text) <= MAX_STACKTRACE else f"... ({len(text)} characters)\n{text[-MAX_STACKTRACE + 40 :]}"


def _told(chain: list[tuple[BaseException, str]], frames: int) -> str:
    parts: list[str] = []
    last = chain[-1][0]
    if len(chain) == MAX_CHAIN and (last.__cause__ or (last.__context__ and not last.__suppress_context__)):
        parts.append("... (earlier errors are left out)\n\n")
    for link, joint in reversed(chain):
        parts.append(_one(link, frames, 0))
        if joint:
            parts.append(f"\n{joint}\n\n")
    return "".join(parts)


def _one(error: BaseException, frames: int, depth: int) -> str:
    """One error as Python tells it: frames, then type and text, notes, and the members of a group."""
    text = _frames(error, frames) + _title(error) + "\n"
    notes = getattr(error, "__notes__", None)
    if isinstance(notes, list):
        text += "".join(f"{_short(as_text(note))}\n" for note in notes[:MAX_NOTES])
    if not isinstance(error, BaseExceptionGroup):
        return text
    members = error.exceptions
    if depth == MAX_GROUP_DEPTH:
        return f"{text}  ... {len(members)} more errors within\n"
    for number, member in enumerate(members[:MAX_GROUPED], start=1):
        told = _told_member(member, frames, depth + 1)
        text += f"  +---- {number} of {len(members)} ----\n" + "".join(f"  | {line}\n" for line in told.splitlines())
    return text if len(members) <= MAX_GROUPED else f"{text}  ... {len(members) - MAX_GROUPED} more errors\n"


def _told_member(member: BaseException, frames: int, depth: int) -> str:
    cause = member.__cause__ or (None if member.__suppress_context__ else member.__context__)
    # Causes of members are named, not told: a group of chains of groups would have no end.
    named = f"caused by {_title(cause)}\n" if cause is not None else ""
    return _one(member, frames, depth) + named


def _frames(error: BaseException, frames: int) -> str:
    if error.__traceback__ is None:
        return ""
    summary = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), limit=-frames)
    left_out = _depth(error) - len(summary)
    more = f"  ... {left_out} outer frames\n" if left_out > 0 else ""
    return "Traceback (most recent call last):\n" + more + "".join(summary.format())


def _depth(error: BaseException) -> int:
    return sum(1 for _ in traceback.walk_tb(error.__traceback__))


def _title(error: BaseException) -> str:
    message = _short(_message(error))
    return f"{type_name(error)}: {message}" if message else type_name(error)


def _message(error: BaseException) -> str:
    return as_text(error)


def _short(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}... ({len(text)} characters)"
