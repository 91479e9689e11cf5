"""Pydantic models under a mask: which of them show nothing but their fields, and copies that hold nothing else."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from companyos.authz.interface import ObligationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel

__all__ = ("bare_copy", "check_shown", "spellings")

_HARMLESS = frozenset({"builtins", "operator", "pydantic", "pydantic_core"})
"""Whose functions show the value that they are given, and know of no other."""


def bare_copy(model: BaseModel, fields: Mapping[str, Any], extra: Mapping[str, Any]) -> BaseModel:
    """A model of the same class with these values and nothing else.

    `model_copy` would keep what cached properties remember and the private attributes: both may hold, or have been
    computed from, what is masked. Properties are computed again, from the masked fields; a private attribute is gone,
    so that whoever reads it fails instead of showing it.
    """
    copy = object.__new__(type(model))
    for name, value in (
        ("__dict__", dict(fields)),
        ("__pydantic_extra__", dict(extra) if model.__pydantic_extra__ is not None else None),
        ("__pydantic_fields_set__", model.__pydantic_fields_set__ & {*fields, *extra}),
        ("__pydantic_private__", {} if type(model).__private_attributes__ else None),
    ):
        object.__setattr__(copy, name, value)
    return copy


def check_shown(kind: type[BaseModel]) -> None:
    """Nothing is shown of a model but its fields, as they are.

    Raises:
        ObligationError: the class has a serializer of its own, of the model or of any field or type in it.
    """
    if _has_serializer(kind):
        raise ObligationError(f"{kind.__name__} says itself what is shown of it", hint="return a dict")


def spellings(field: Any) -> tuple[str, ...]:
    """The other names that a field, or a computed one, may have on the wire."""
    given = (getattr(field, name, None) for name in ("alias", "serialization_alias", "validation_alias"))
    return tuple({name for name in given if isinstance(name, str)})


@functools.lru_cache(maxsize=1024)
def _has_serializer(kind: type[BaseModel]) -> bool:
    # The schema holds them all, however they were declared: decorators, annotations, `json_encoders`, custom types.
    if not isinstance(kind.__pydantic_core_schema__, dict):
        kind.model_rebuild()  # `defer_build`, and made by `model_construct`
    return any(not _is_harmless(function) for function in _functions(kind.__pydantic_core_schema__, kind))


def _functions(schema: Any, kind: type) -> Iterator[Any]:
    """The functions by which a class's own schema serializes; other models are looked at where they are met."""
    pending, seen = [schema], set()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, list | tuple):
            pending.extend(node)
        elif isinstance(node, dict) and (node.get("type") != "model" or node.get("cls") is kind):
            how = node.get("serialization")
            if isinstance(how, dict) and "function" in how:
                yield how["function"]
            pending.extend(node.values())


def _is_harmless(function: object) -> bool:
    return str(getattr(function, "__module__", "")).partition(".")[0] in _HARMLESS
