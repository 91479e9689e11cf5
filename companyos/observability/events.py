"""Typed events: a small class for each thing that happens, every field of it classified.

    class OrderCreated(Event, name="orders.created"):
        order_id: Annotated[str, non_sensitive]
        customer: Annotated[str, pii]

    log.emit(OrderCreated(order_id="7", customer="ann@example.org"))

A field without a class is an error when the class is made, not when the event is logged.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import typing
from typing import Any, ClassVar, dataclass_transform

from companyos.observability.classification import (
    Classification,
    Classified,
    classification_of,
    hints_of,
    members_of,
)
from companyos.observability.errors import ClassificationError
from companyos.observability.lines import RESERVED
from companyos.observability.runtime import LEVELS

__all__ = ("Event",)

_NAME = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*")


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Event:
    """The base of typed events; a subclass is a frozen dataclass, its fields given by name.

    `name` is the event's stable dotted name and `level` that of its lines (`info` unless said otherwise). A class
    without a name is a base for others. Every field is classified: by its annotation, or because it holds a dataclass
    or the like whose own fields all are. The class of a field holds for all within it; a stricter one within wins.

    Raises:
        ClassificationError: (when the class is made) a field is not classified, its annotation cannot be resolved, its
            name is one that every line has already, or the name or the level cannot be used.
    """

    event_name: ClassVar[str | None] = None
    """The name of the event."""
    event_level: ClassVar[str] = "info"
    """The method of the logger that it is written with."""
    event_fields: ClassVar[dict[str, Classification | None]] = {}
    """What each field is; None for one whose own fields are classified."""

    def __init_subclass__(cls, *, name: str | None = None, level: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name is not None and not _NAME.fullmatch(name):
            raise ClassificationError(
                f"{cls.__qualname__}: not a name of an event", got=repr(name), expected="lower-case words, dotted"
            )
        if level is not None and level not in LEVELS:
            raise ClassificationError(f"{cls.__qualname__}: no such level", got=repr(level), expected=", ".join(LEVELS))
        cls.event_name = name
        cls.event_level = level or cls.event_level
        dataclasses.dataclass(frozen=True, kw_only=True, repr=False)(cls)
        # With the caller's local names, for classes made in a function whose annotations are kept as text.
        hints = hints_of(cls, sys._getframe(1).f_locals)  # noqa: SLF001 - the only way to the caller's names
        made: Any = cls  # a dataclass since a moment ago, which a type checker cannot see
        cls.event_fields = {field.name: _classified(cls, field.name, hints) for field in dataclasses.fields(made)}

    def classified(self) -> dict[str, Any]:
        """The fields, each with its class; those that are kept are bare."""
        return {name: _marked(getattr(self, name), mark) for name, mark in type(self).event_fields.items()}

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.classified().items())
        return f"{type(self).__qualname__}({shown})"


def _marked(value: Any, mark: Classification | None) -> Any:
    if value is None or mark is None or mark.treatment == "keep":
        return value
    return Classified(value, mark)


def _classified(cls: type, name: str, hints: dict[str, Any]) -> Classification | None:
    where = f"{cls.__qualname__}.{name}"
    if name in RESERVED:
        raise ClassificationError(f"{where}: every line has this field already", hint="choose another name")
    if name not in hints:
        raise ClassificationError(
            f"{where}: its annotation cannot be resolved", hint="import what it names, outside of TYPE_CHECKING"
        )
    mark = classification_of(hints[name])
    if mark is None and not _is_classified_within(hints[name]):
        raise ClassificationError(
            f"{where}: the field is not classified",
            got=f"{name}: {hints[name]}",
            expected="Annotated[..., pii] or another class",
            hint="non_sensitive, telemetry, pii, sensitive, restricted, secret: companyos.observability",
        )
    return mark


def _is_classified_within(hint: Any) -> bool:
    """Whether all that an annotation allows is a class whose own fields are all classified."""
    parts = [part for part in typing.get_args(hint) if part is not type(None)]
    if parts:
        return all(part is ... or _is_classified_within(part) for part in parts)
    members = members_of(hint) if isinstance(hint, type) else None
    return members is not None and len(members) > 0 and None not in members.values()
