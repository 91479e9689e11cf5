"""Plain values: what has no fields that could be masked, and nothing beside its value that could show one.

A value of a subclass may carry attributes, which `repr` and pickle would show. It leaves as its value alone.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from typing import TYPE_CHECKING, Any

from companyos.authz.interface import ObligationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("is_scalar", "scalar")

_EXACT = frozenset(
    {type(None), bool, str, int, float, decimal.Decimal, dt.date, dt.datetime, dt.time, dt.timedelta, uuid.UUID}
)


def _moment(value: dt.datetime) -> dt.datetime:
    return dt.datetime.combine(dt.date(value.year, value.month, value.day), dt.datetime.timetz(value))


_VALUES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (decimal.Decimal, decimal.Decimal),
    (uuid.UUID, lambda value: uuid.UUID(int=value.int)),
    (dt.datetime, _moment),
    (dt.date, lambda value: dt.date(value.year, value.month, value.day)),
)
"""How a value of a subclass becomes one of the class itself; a date-time is a date too, and comes first."""


def is_scalar(value: object) -> bool:
    """Whether a value is to be taken as one without fields: None, a text, a number, a time, an id, an enum's member."""
    return type(value) in _EXACT or isinstance(value, (enum.Enum, *(kind for kind, _ in _VALUES)))


def scalar(value: Any) -> Any:
    """The value that may leave for one that `is_scalar`.

    Raises:
        ObligationError: a member of an enumeration has a value with an inside.
    """
    if type(value) in _EXACT:
        return value
    if isinstance(value, enum.Enum):
        # Not walked: whatever came of it, the member would leave with its value as it is.
        if type(value.value) not in _EXACT:
            raise ObligationError(
                "the result holds a member of an enumeration whose value has an inside",
                got=f"{type(value).__name__} of {type(value.value).__name__}",
                expected="a text, a number, a time or an id as its value",
            )
        return value
    return next(convert(value) for kind, convert in _VALUES if isinstance(value, kind))
