"""Structured output: what is taken out of a model's text, and what is refused rather than guessed."""

from __future__ import annotations

import json
from datetime import date
from enum import StrEnum
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from companyos.llm.errors import OutputError
from companyos.llm.output import MAX_CHARACTERS, MAX_DEPTH, OutputSchemaError, instruction, shape_of


class Kind(StrEnum):
    """A closed set."""

    BUG = "bug"
    WISH = "wish"


class Ticket(BaseModel):
    """What a caller asks for."""

    kind: Kind
    title: str
    due: date | None = None


SCHEMA = {
    "type": "object",
    "properties": {"n": {"$ref": "#/$defs/n"}, "s": {"type": "string"}},
    "required": ["n"],
    "additionalProperties": False,
    "$defs": {"n": {"type": "integer", "minimum": 1}},
}
VALUE = '{"kind": "bug", "title": "it \\"burns\\" {here}", "due": "2026-03-02"}'
TICKET = Ticket(kind=Kind.BUG, title='it "burns" {here}', due=date(2026, 3, 2))


@pytest.mark.parametrize(
    "text",
    [
        VALUE,
        f"\n  {VALUE}\n",
        f"\ufeff{VALUE}",
        f"```json\n{VALUE}\n```",
        f"```\n{VALUE}\n```",
        f"```JSON\n{VALUE}\n```\n",
        f"Sure! Here it is:\n\n```json\n{VALUE}\n```\nAnything else?",
        f"The answer is {VALUE}. Done.",
        f"In [brackets] and {{braces}} comes {VALUE}",
    ],
    ids=["plain", "space", "bom", "fence", "bare-fence", "upper", "chatty", "sentence", "decoys"],
)
def test_a_value_is_found_where_models_put_it(text):
    """Alone, in a fence, in a sentence; escapes and brackets within texts do not disturb."""
    assert TICKET == shape_of(Ticket).read(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot do that.",
        VALUE[:-5],
        f"{VALUE} {VALUE}",
        f"```json\n{VALUE}\n```\nor\n```json\n{VALUE}\n```",
        VALUE.replace("bug", "flaw"),
        VALUE.replace('"title"', '"tilte"'),
        '{"kind": "bug", "kind": "wish", "title": "x"}',
        '{"kind": "bug", "title": NaN}',
        '"bug"',
        "null",
        "[]",
        "{" * 5000,
        '{"a":' * 5000 + "1" + "}" * 5000,
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "1" * 5000,
        "1e999",
        "x" * (MAX_CHARACTERS + 1),
        '{"\\' * 20_000,
        "\x00",
    ],
    ids=[
        "empty", "prose", "truncated", "two", "two-fences", "value", "key", "key-twice", "nan", "text", "null", "list",
        "open", "abyss", "deep", "digits", "infinite", "huge", "escapes", "nul",
    ],
)  # fmt: skip
def test_what_is_no_answer_is_an_error_that_can_be_repaired(text):
    """Nothing is guessed; the error tells the model what to do, in bounded words."""
    with pytest.raises(OutputError) as error:
        shape_of(Ticket).read(text)

    assert error.value.repair
    assert len(error.value.repair) < 2_000


def test_a_json_schema_is_a_shape():
    """The value comes back as plain JSON; what is wrong is named with its place."""
    shape = shape_of(SCHEMA)

    assert {"n": 3} == shape.read('```json\n{"n": 3}\n```')
    with pytest.raises(OutputError, match="n: 0 is less than the minimum of 1"):
        shape.read('{"n": 0}')
    with pytest.raises(OutputError, match="was unexpected"):
        shape.read('{"n": 1, "extra": true}')


@pytest.mark.parametrize(
    "schema", [{"not": {}}, {"enum": [1], "const": 2}, {"type": "integer", "maximum": 0, "minimum": 1}]
)
def test_a_schema_that_no_answer_satisfies_refuses_every_one(schema):
    """It is a valid schema, so every answer is wrong by it, in bounded time and words."""
    shape = shape_of(schema)

    for text in ("1", "2", "0", "{}", '"x"', "null"):
        with pytest.raises(OutputError):
            shape.read(text)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nothing"},
        {"$ref": "https://schemas.example/x.json"},
        {"properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"$schema": "http://json-schema.org/draft-04/schema#"},
        object(),
        3,
    ],
    ids=["type", "remote", "file", "old", "object", "number"],
)
def test_what_is_no_shape_is_refused_before_anybody_is_asked(schema):
    """A schema that points elsewhere is not followed; a thing that is no type is said to be none."""
    with pytest.raises(OutputSchemaError):
        shape_of(schema)


@pytest.mark.parametrize("schema", [{"$ref": "#/$defs/gone"}, {"$ref": "#"}], ids=["dangling", "endless"])
def test_a_schema_that_leads_nowhere_is_the_callers_error(schema):
    """It is not the model's, so no repair round is spent on it."""
    with pytest.raises(OutputSchemaError):
        shape_of(schema).read("{}")


def test_any_type_that_pydantic_knows_is_a_shape():
    """Lists, unions and literals, too; a provider is told the same as JSON Schema."""
    assert [1, 2] == shape_of(list[int]).read("here: [1, 2]")
    assert "b" == shape_of(Literal["a", "b"]).read('"b"')
    assert {"type": "array", "items": {"type": "integer"}} == shape_of(list[int]).json_schema


def test_the_instruction_holds_the_schema():
    """A model that has no mode for it is told in words."""
    assert json.dumps(SCHEMA["$defs"], separators=(",", ":")) in instruction(shape_of(SCHEMA))


@settings(deadline=None)  # times are not judged here
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_every_object_survives_a_fence(value):
    """Whatever stands in it, backticks and brackets included, a value in a fence comes out as it went in."""
    text = f"Here:\n```json\n{json.dumps({'v': value})}\n```\n"

    assert {"v": value} == shape_of({}).read(text)
