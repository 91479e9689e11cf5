"""`mask_fields`: a result leaves with the named fields masked, at whatever depth they are.

A field is a name (`email`, anywhere) or a dotted path (`customer.email`, also a key spelt so); `*` is every field but
`id` and `type`. Names are compared without regard to case, width and composition. Text becomes
`***`; any other value becomes None.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, RootModel

from companyos.authz.audit import append_discharge
from companyos.authz.interface import ObligationError, Phase
from companyos.authz.obligations._fields import MASK, Fields, parts
from companyos.authz.obligations.mask_lines import JsonLines, LineMasker
from companyos.authz.obligations.mask_text import JsonText, mask_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from companyos.decision import Obligation

__all__ = ("MASK", "MaskFields", "mask")

_SCALARS = (str, int, float, decimal.Decimal, dt.date, dt.time, dt.timedelta, uuid.UUID, enum.Enum)


class MaskFields:
    """Masks the fields that the obligation's property `fields` names."""

    obligation = "mask_fields"
    phase = Phase.AFTER
    types = ("custom",)
    needs_result = True

    def discharge(self, obligation: Obligation, value: Any, context: Mapping[str, Any]) -> Any:
        """A copy of `value` with the fields masked; which of them matched nothing goes into the context's `notes`.

        `JsonLines` come back as lines that are masked while they are read, and `JsonText` with every other character
        of it as it was.

        Raises:
            ObligationError: no fields are named, one of them is blank, or the value holds something that cannot be
                looked into.
        """
        fields = _named(obligation)
        notes = context.get("notes", [])
        if isinstance(value, JsonLines):
            notes.append("masked line by line, as they leave")
            return value.masked(fields, _complaint(obligation, context))
        masked = JsonText(mask_json(value.text, fields)) if isinstance(value, JsonText) else _mask(value, fields)
        unmatched = fields.unmatched()
        if unmatched:
            notes.append(f"matched nothing: {', '.join(unmatched)}")
        return masked

    def line_masker(self, obligation: Obligation) -> LineMasker:
        """What masks a body that is pushed piece by piece, for the middleware.

        Raises:
            ObligationError: as `discharge`.
        """
        return LineMasker(_named(obligation))


def _named(obligation: Obligation) -> Fields:
    fields = obligation.properties.get("fields")
    if not isinstance(fields, list | tuple) or not fields or not all(isinstance(item, str) for item in fields):
        raise ObligationError("mask_fields names no fields", got=repr(fields), expected="a list of names")
    return Fields(fields)


def _complaint(obligation: Obligation, context: Mapping[str, Any]) -> Callable[[ObligationError], None]:
    """Leaves a receipt when a stream is refused, long after the handler has returned."""

    def record(error: ObligationError) -> None:
        if "ledger" in context and "decision" in context:
            append_discharge(context["ledger"], context["decision"], obligation, outcome="refused", detail=error.what)

    return record


def mask(value: Any, fields: Iterable[str]) -> Any:
    """A copy of `value` (mappings, sequences, pydantic models, nested) with `fields` masked.

    A pydantic model comes back as its own class; masked values are not validated again.

    Raises:
        ObligationError: it is a lone text or number, holds an object that cannot be looked into, or a field's name is
            blank; nothing leaves.
    """
    return _mask(value, Fields(fields))


def _mask(value: Any, fields: Fields) -> Any:
    if isinstance(value, _SCALARS):
        raise ObligationError("a lone value has no fields to mask", got=type(value).__name__, expected="an object")
    try:
        return _Mask(fields).walk(value, ())
    except RecursionError as error:
        raise ObligationError("the result nests too deeply to be masked") from error


class _Mask:
    """One pass over a value."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def walk(self, value: Any, path: tuple[str, ...]) -> Any:
        """The masked copy of what lies at `path`."""
        if value is None or isinstance(value, _SCALARS):
            return _masked(value) if self._fields.all else value
        if isinstance(value, BaseModel):
            return self._model(value, path)
        if isinstance(value, Mapping):
            return {key: self._field(item, path, *_spellings(key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.walk(item, path) for item in value]
        if isinstance(value, tuple):
            if hasattr(value, "_fields"):
                named = zip(value._fields, value, strict=True)
                row: Any = type(value)
                return row._make(self._field(item, path, name) for name, item in named)
            return tuple(self.walk(item, path) for item in value)
        raise ObligationError(
            "the result holds something that cannot be looked into",
            got=type(value).__name__,
            expected="mappings, lists, pydantic models and plain values",
        )

    def _field(self, value: Any, path: tuple[str, ...], name: str, *other_names: str) -> Any:
        # Each name is looked at, even after one has matched, so that every field that matches anything is noted.
        matches = [self._fields.named(path, each) for each in (name, *other_names)]
        if any(matches):
            return _masked(value)
        if self._fields.all and self._fields.is_kept(name) and isinstance(value, _SCALARS):
            return value
        return self.walk(value, (*path, *parts(name)))

    def _model(self, model: BaseModel, path: tuple[str, ...]) -> BaseModel:
        kind = type(model)
        if kind.__pydantic_decorators__.model_serializers:
            raise ObligationError(f"{kind.__name__} says itself what is shown of it", hint="return a dict")
        for name in kind.model_computed_fields:
            if self._fields.all or self._fields.named(path, name):
                raise ObligationError(f"{kind.__name__}.{name} is computed and cannot be masked", hint="return a dict")
        if isinstance(model, RootModel):
            return model.model_copy(update={"root": self.walk(model.root, path)})
        update = {
            name: self._field(getattr(model, name), path, name, *_aliases(field))
            for name, field in kind.model_fields.items()
        }
        extra = {key: self._field(item, path, key) for key, item in (model.model_extra or {}).items()}
        return model.model_copy(update={**update, **extra})


def _spellings(key: object) -> tuple[str, ...]:
    """What a reader may see of a mapping's key: of a member of an enumeration its value, of bytes their text."""
    if isinstance(key, enum.Enum):
        return str(key.value), key.name
    if isinstance(key, bytes):
        return (key.decode("utf-8", "replace"),)
    return (str(key),)


def _aliases(field: Any) -> tuple[str, ...]:
    given = (field.alias, field.serialization_alias, field.validation_alias)
    return tuple({name for name in given if isinstance(name, str)})


def _masked(value: Any) -> Any:
    return MASK if isinstance(value, str) else None
