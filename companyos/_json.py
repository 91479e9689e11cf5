"""JSON in the strict sense: what two readers could understand differently is none.

Readers differ in which of two equal names counts, so that one of them may judge what the other does not carry out.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

__all__ = ("NotStrictError", "strict_loads")


class NotStrictError(ValueError):
    """Text that Python's reader would take and others would not; its message shows nothing of the text."""


def strict_loads(text: str) -> Any:
    """The JSON value in a text.

    Raises:
        NotStrictError: a name stands twice in one object, NaN or an infinity, or nested without measure.
        ValueError: it is not JSON at all.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise NotStrictError("it nests too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrictError("a name stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise NotStrictError(f"{name} is no JSON value")
