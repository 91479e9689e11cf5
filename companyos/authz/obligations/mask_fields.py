"""`mask_fields`: a result leaves with the named fields masked, at whatever depth they are.

A field is a name (`email`, anywhere) or a dotted path (`customer.email`, also a key spelt so); `*` is every field but
`id` and `type`. Names are compared without regard to case, width and composition. Text becomes
`***`; any other value becomes None.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, RootModel

from companyos.authz.audit import append_discharge
from companyos.authz.interface import ObligationError, Phase
from companyos.authz.obligations._fields import MASK, Fields, parts
from companyos.authz.obligations._models import bare_copy, check_shown, spellings
from companyos.authz.obligations._scalars import is_scalar, scalar
from companyos.authz.obligations.mask_lines import JsonLines, LineMasker
from companyos.authz.obligations.mask_text import JsonText, mask_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from companyos.decision import Obligation

__all__ = ("MASK", "MaskFields", "mask")


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
    if value is not None and is_scalar(value):
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
        if is_scalar(value):
            return _masked(value) if self._fields.all else scalar(value)
        if isinstance(value, BaseModel):
            return self._model(value, path)
        if isinstance(value, Mapping):
            return {_key(key): self._field(item, path, *_spellings(key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.walk(item, path) for item in value]
        if isinstance(value, tuple):
            return self._tuple(value, path)
        raise _opaque(value)

    def _field(self, value: Any, path: tuple[str, ...], name: str, *other_names: str) -> Any:
        if self._is_named(path, name, *other_names):
            return _masked(value)
        if self._fields.all and self._fields.is_kept(name) and is_scalar(value):
            return scalar(value)
        return self.walk(value, (*path, *parts(name)))

    def _is_named(self, path: tuple[str, ...], *names: str) -> bool:
        # Each name is looked at, even after one has matched, so that every field that matches anything is noted.
        matches = [self._fields.named(path, each) for each in names]
        return any(matches)

    def _tuple(self, value: tuple[Any, ...], path: tuple[str, ...]) -> tuple[Any, ...]:
        if not hasattr(value, "_fields"):
            return tuple(self.walk(item, path) for item in value)
        named = zip(value._fields, value, strict=True)
        return tuple.__new__(type(value), [self._field(item, path, name) for name, item in named])

    def _model(self, model: BaseModel, path: tuple[str, ...]) -> BaseModel:
        kind = type(model)
        check_shown(kind)
        for name, field in kind.model_computed_fields.items():
            if self._fields.all or self._is_named(path, name, *spellings(field)):
                raise _computed(kind, name)
        # What is neither a field nor an extra, such as what a cached property remembers, stays behind.
        held = {name: value for name, value in vars(model).items() if name in kind.model_fields}
        extra = {_key(key): self._field(item, path, key) for key, item in (model.__pydantic_extra__ or {}).items()}
        copy = bare_copy(model, self._held(kind, held, path), extra)
        self._check_computed(copy, path)
        return copy

    def _held(self, kind: type[BaseModel], held: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        if issubclass(kind, RootModel):
            return {name: self.walk(value, path) for name, value in held.items()}
        return {
            name: self._field(value, path, name, *spellings(kind.model_fields[name])) for name, value in held.items()
        }

    def _check_computed(self, copy: BaseModel, path: tuple[str, ...]) -> None:
        """What is computed from masked fields, and from whatever else the model knows, has nothing left to mask."""
        for name in type(copy).model_computed_fields:
            try:
                value = getattr(copy, name)
                masked = self.walk(value, (*path, *parts(name)))
                is_masked = masked is value or bool(masked == value)
            except Exception as error:
                raise _computed(type(copy), name) from error
            if not is_masked:
                raise _computed(type(copy), name)


def _key(key: Any) -> Any:
    """A mapping's key, which leaves as it is, so that nothing with an inside can be one."""
    if is_scalar(key):
        return scalar(key)
    if type(key) is tuple:
        return tuple(_key(part) for part in key)
    if type(key) is bytes:
        return key
    raise _opaque(key)


def _spellings(key: object) -> tuple[str, ...]:
    """What a reader may see of a mapping's key: of a member of an enumeration its value, of bytes their text."""
    if isinstance(key, enum.Enum):
        return str(key.value), key.name
    if isinstance(key, bytes):
        return (key.decode("utf-8", "replace"),)
    return (str(key),)


def _opaque(value: object) -> ObligationError:
    return ObligationError(
        "the result holds something that cannot be looked into",
        got=type(value).__name__,
        expected="mappings, lists, pydantic models and plain values",
    )


def _computed(kind: type, name: str) -> ObligationError:
    return ObligationError(f"{kind.__name__}.{name} is computed and cannot be masked", hint="return a dict")


def _masked(value: Any) -> Any:
    return MASK if isinstance(value, str) else None
