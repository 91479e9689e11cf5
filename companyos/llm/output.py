"""Structured output: the value that a caller asked for, out of the text that a model wrote, or an error that says why.

A model may wrap its JSON in a fence or in a sentence; that is taken. It may also write two values, or none, or one of
another shape; then nothing is guessed, and `OutputError.repair` holds what to tell the model in one further round.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from companyos._json import strict_loads
from companyos.errors import ConfigError, printable
from companyos.llm.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jsonschema.protocols import Validator
    from pydantic import TypeAdapter

    from companyos.llm.interface import OutputShape

__all__ = ("MAX_CHARACTERS", "MAX_DEPTH", "OutputSchemaError", "extract", "instruction", "shape_of")

MAX_CHARACTERS = 1_000_000
"""Longest answer that is looked into."""
MAX_DEPTH = 64
"""Deepest nesting of a value."""
_MAX_PROBLEMS = 5
_MAX_PROBLEM = 200
_MAX_STARTS = 200
"""How many opening brackets of a text are tried as the beginning of a value."""
_FENCE = re.compile(
    r"^[ \t]*```[ \t]*(?:json[a-z0-9]*)?[ \t]*\n(.*?)^[ \t]*```[ \t]*$", re.MULTILINE | re.DOTALL | re.IGNORECASE
)
_EXPECTED = "one JSON value of the shape that was asked for"


class OutputSchemaError(ConfigError):
    """What a caller gave as the shape of an answer is none."""

    code = "llm.schema"


def shape_of(schema: Any) -> OutputShape:
    """The shape that a caller asks for by a pydantic model, any type that pydantic knows, or a JSON Schema (2020-12).

    Raises:
        OutputSchemaError: it is neither, or a schema that points outside of itself.
    """
    return _SchemaShape(schema) if isinstance(schema, Mapping) else _TypeShape(schema)


def instruction(shape: OutputShape) -> str:
    """What to tell a model that cannot be told the shape in any other way."""
    schema = json.dumps(shape.json_schema, separators=(",", ":"), ensure_ascii=False)
    return f"Answer with one JSON value and nothing else. It has to be valid by this JSON Schema:\n{schema}"


def extract(text: str) -> tuple[str, Any]:
    """The one JSON value in a text, as written and as read: all of it, or what a single fence or sentence wraps.

    Raises:
        OutputError: there is none or more than one, or it is too long, too deep, or not JSON in the strict sense.
    """
    if len(text) > MAX_CHARACTERS:
        raise _error("the answer is too long", f"{len(text)} characters", "Answer with much less text.")
    whole = text.strip().removeprefix("\ufeff").strip()
    for candidates in ([whole], _fenced(whole), _embedded(whole)):
        found = [(one, _loaded(one)) for one in candidates]
        values = [(one, value) for one, value in found if not isinstance(value, ValueError)]
        if len(values) > 1:
            many = f"{len(values)} values"
            raise _error("the answer holds more than one JSON value", many, "Answer with exactly one JSON value.")
        if values:
            _check_bounds(values[0][1])
            return values[0]
    problem = str(_loaded(whole))
    raise _error("the answer holds no JSON value", problem, f"Answer with JSON alone; yours is not: {problem}.")


class _TypeShape:
    """A type that pydantic can validate."""

    def __init__(self, kind: Any) -> None:
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(kind)
            self.json_schema: Mapping[str, Any] = self._adapter.json_schema()
        except (PydanticSchemaGenerationError, PydanticUserError, TypeError, NameError) as error:
            raise OutputSchemaError(
                "that is no shape of an answer",
                got=repr(kind),
                expected="a pydantic model, a type that pydantic knows, or a JSON Schema as a mapping",
            ) from error

    def read(self, text: str) -> Any:
        """The value in the text, as an instance of the type."""
        from pydantic import ValidationError

        written, _ = extract(text)
        try:
            return self._adapter.validate_json(written)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            raise _mismatch(f"{_path(one['loc'])}: {one['msg']}" for one in problems) from error


class _SchemaShape:
    """A JSON Schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError
        from referencing import Registry

        self.json_schema = schema
        if outside := sorted({ref for ref in _references(schema) if not ref.startswith("#")}):
            raise OutputSchemaError("the schema points outside of itself", got=", ".join(outside[:3]), expected="#/…")
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            where = _path(error.absolute_path)
            raise OutputSchemaError("that is no JSON Schema", got=f"{where}: {error.message}") from error
        formats = Draft202012Validator.FORMAT_CHECKER
        self._validator: Validator = Draft202012Validator(schema, registry=Registry(), format_checker=formats)

    def read(self, text: str) -> Any:
        """The value in the text, as plain JSON."""
        from referencing.exceptions import Unresolvable

        _, value = extract(text)
        try:
            problems = sorted(self._validator.iter_errors(value), key=lambda one: len(one.absolute_path))
        except Unresolvable as error:
            raise OutputSchemaError("the schema points to a part that it does not have", got=error) from error
        except RecursionError as error:
            raise OutputSchemaError("the schema refers to itself without end") from error
        if problems:
            raise _mismatch(f"{_path(one.absolute_path)}: {one.message}" for one in problems)
        return value


def _loaded(text: str) -> Any:
    """The value of a text, or the error that says why it has none."""
    try:
        return strict_loads(text)
    except ValueError as error:
        return error


def _fenced(text: str) -> list[str]:
    return [body.strip() for body in _FENCE.findall(text) if body.strip()]


def _embedded(text: str) -> list[str]:
    """Every object or array in a text that is not within another one."""
    decoder = json.JSONDecoder()
    found: list[str] = []
    at, starts = 0, 0
    while starts < _MAX_STARTS and (match := re.compile(r"[{\[]").search(text, at)):
        starts += 1
        try:
            _, end = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            at = match.start() + 1
            continue
        found.append(text[match.start() : end])
        at = end
    return found


def _check_bounds(value: Any) -> None:
    """No nesting without measure and no number that is none; without recursion, since it may be deep."""
    level = [value]
    for depth in range(MAX_DEPTH + 2):
        if not level:
            return
        if depth > MAX_DEPTH:
            break
        if any(isinstance(one, float) and not math.isfinite(one) for one in level):
            raise _error("the answer holds a number without end", "infinity", "Numbers have to be finite.")
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    raise _error("the answer nests too deeply", f"more than {MAX_DEPTH} levels", "Nest the value less deeply.")


def _references(schema: Any) -> Iterator[str]:
    stack = [schema]
    while stack:
        one = stack.pop()
        if isinstance(one, Mapping):
            yield from (str(one[name]) for name in ("$ref", "$dynamicRef", "$schema") if _points(one, name))
            stack += one.values()
        elif isinstance(one, list | tuple):
            stack += one


def _points(schema: Mapping[str, Any], name: str) -> bool:
    value = schema.get(name)
    return isinstance(value, str) and not (name == "$schema" and "json-schema.org/draft/2020-12/" in value)


def _path(parts: Iterable[object]) -> str:
    return "/".join(map(str, parts)) or "the value"


def _mismatch(problems: Iterable[str]) -> OutputError:
    shown = [printable(one)[:_MAX_PROBLEM] for one, _ in zip(problems, range(_MAX_PROBLEMS), strict=False)]
    told = "\n".join(f"- {one}" for one in shown)
    repair = (
        f"Your answer does not have the shape that was asked for:\n{told}\nAnswer again, with the JSON value alone."
    )
    return OutputError(
        "the answer is not of the shape that was asked for", repair=repair, got="; ".join(shown), expected=_EXPECTED
    )


def _error(what: str, got: str, repair: str) -> OutputError:
    return OutputError(what, repair=repair, got=got, expected=_EXPECTED)
