"""What a model, an enumeration's member or a value of a subclass holds beside what is seen of it, under a mask."""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
import pickle
import re  # noqa: TC003 - a model looks it up
import warnings
from collections import deque  # noqa: TC003 - a model looks it up
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from ipaddress import IPv4Address  # noqa: TC003 - a model looks it up
from types import MappingProxyType, SimpleNamespace
from typing import Annotated, Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    ConfigDict,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    SecretStr,
    TypeAdapter,
    WrapSerializer,
    computed_field,
    field_serializer,
)
from pydantic_core import PydanticSerializationError
from typing_extensions import TypedDict

from companyos.authz import ObligationError, mask

CANARY = "DE02-c4n4ry"
_LOOKED_UP = {"1": {"e": {"mail": CANARY}}}


class Row(NamedTuple):
    id: str
    iban: str
    more: object


class Key(enum.Enum):
    EMAIL = "iban"


class Card(BaseModel):
    id: str
    email: str

    @computed_field
    @cached_property
    def display(self) -> str:
        return f"<{self.email}>"

    @cached_property
    def digits(self):
        return list(self.email)


class Private(BaseModel):
    id: str
    email: str
    _raw: str = PrivateAttr("")

    def model_post_init(self, context):
        self._raw = self.email


class ByField(BaseModel):
    id: str
    email: str

    @field_serializer("id")
    def tell(self, value):
        return value + CANARY


class ByAnyField(BaseModel):
    email: str

    @field_serializer("*")
    def tell(self, value):
        return CANARY


class ByAnnotation(BaseModel):
    email: Annotated[str, PlainSerializer(lambda _: CANARY)]


class ByInnerAnnotation(BaseModel):
    names: list[Annotated[str, WrapSerializer(lambda value, handler: handler(value) and CANARY)]]


class Typed(TypedDict):
    x: Annotated[str, PlainSerializer(lambda _: CANARY)]


class ByTypedDict(BaseModel):
    row: Typed


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecated, and still in use

    class ByEncoder(BaseModel):
        model_config = ConfigDict(json_encoders={Decimal: lambda _: CANARY})

        at: Decimal


class ByInheritance(ByField):
    pass


class ByComputed(BaseModel):
    id: str

    @computed_field
    @property
    def more(self) -> Annotated[str, PlainSerializer(lambda _: CANARY)]:
        return "x"


class Ordinary(BaseModel):
    id: str
    email: str
    pattern: re.Pattern[str] | None = None
    address: IPv4Address | None = None
    secret: SecretStr | None = None
    others: deque[int] | None = None
    nested: list[ByField] | None = None


class Looked(BaseModel):
    id: str

    @computed_field(alias="anschrift")
    @property
    def address(self) -> dict[str, dict[str, str]]:
        return _LOOKED_UP[self.id]


class Repeated(BaseModel):
    email: str

    @computed_field
    @property
    def row(self) -> dict[str, str]:
        return {"email": self.email}


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)

    email: str


class Opaque(enum.Enum):
    DICT = {"email": CANARY}  # noqa: RUF012 - what is to be refused
    LIST = [CANARY]  # noqa: RUF012 - what is to be refused
    TUPLE = ("email", CANARY)
    MODEL = Frozen(email=CANARY)


@dataclass(frozen=True)
class Stored:
    id: str
    email: str


class Pairs(msgspec.Struct):
    email: str


class Spelt(str):  # noqa: SLOT000 - it is to have attributes
    pass


class Counted(int):
    pass


class Weighed(float):
    pass


class Told_at(dt.datetime):  # noqa: N801 - a kind of date-time
    pass


class Loose(Row):
    pass


class Anything(RootModel[list[Card | Frozen]]):
    pass


class Whole(RootModel[Any]):
    pass


class Envelope(BaseModel):
    model_config = ConfigDict(extra="allow")

    body: Any = None
    _kept: Any = PrivateAttr(None)

    @cached_property
    def copied(self):
        return self.body

    def model_post_init(self, context):
        self._kept = self.copied


def _all_of(value):
    """All that can be made of what left: its text, its bytes and its JSON, of models and of whatever is in them."""
    shown = [repr(value), str(value), str(pickle.dumps(value)), str(pickle.dumps(value, protocol=0))]
    adapter = TypeAdapter(Any)
    shown += [str(adapter.dump_python(value)), str(adapter.dump_python(value, by_alias=True))]
    with contextlib.suppress(PydanticSerializationError):  # keys that JSON has no text for
        shown.append(adapter.dump_json(value, warnings=False).decode())
    return "\n".join(shown)


def _wrapped(inner):
    return st.one_of(
        st.lists(inner, max_size=2),
        st.tuples(inner, st.integers()),
        st.dictionaries(st.sampled_from(["a", "id", "type", Key.EMAIL, 7]), inner, max_size=2),
        st.builds(Row, st.just("1"), st.just("x"), inner),
        st.builds(lambda it: Envelope(body=it), inner),
        st.builds(lambda it: Envelope.model_validate({"more": it}), inner),
        st.builds(Whole, inner),
        st.builds(lambda it: MappingProxyType({"a": it}), inner),
        st.builds(lambda it: Stored("1", it), inner),
        st.builds(iter, st.lists(inner, max_size=1)),
    )


_secret = st.recursive(st.just(CANARY) | st.just(Spelt(CANARY)) | st.sampled_from(list(Opaque)), _wrapped, max_leaves=3)
_hiding = st.recursive(
    st.one_of(
        st.builds(lambda it: {"email": it, "n": 1}, _secret),
        st.builds(lambda it: {"EMAIL": it}, _secret),
        st.builds(lambda it: {"contact.email": it}, _secret),
        st.builds(lambda it: Envelope.model_validate({"email": it}), _secret),
        st.builds(Card, id=st.just("1"), email=st.just(CANARY)),
        st.builds(Private, id=st.just("1"), email=st.just(CANARY)),
        st.builds(Frozen, email=st.just(CANARY)),
        st.sampled_from([Stored("1", CANARY), Pairs(email=CANARY), Opaque.DICT, Opaque.MODEL]),
        st.integers() | st.text(max_size=3) | st.none() | st.floats(allow_nan=False),
    ),
    _wrapped,
    max_leaves=6,
)


def test_what_a_cached_property_remembers():
    """A computed field that was read before is computed again from the masked fields."""
    card = Card(id="1", email=CANARY)
    assert card.display == f"<{CANARY}>"
    assert card.digits == list(CANARY)
    masked = mask({"card": card}, ["email"])["card"]

    assert masked.model_dump() == {"id": "1", "email": "***", "display": "<***>"}
    assert CANARY not in _all_of(masked)
    assert masked.digits == list("***")


def test_private_attributes():
    """Private attributes stay behind, and who reads one fails."""
    masked = mask(Private(id="1", email=CANARY), ["email"])

    assert CANARY not in _all_of(masked)
    assert masked.__pydantic_private__ == {}
    with pytest.raises(AttributeError):
        masked._raw  # noqa: B018 - reading it is what fails


@pytest.mark.parametrize(
    "model",
    [ByField, ByAnyField, ByAnnotation, ByInnerAnnotation, ByTypedDict, ByEncoder, ByInheritance, ByComputed],
)
def test_serializers_of_every_kind(model):
    """A class in which anything serializes itself is refused, however that was declared."""
    value = model.model_construct(id="1", email=CANARY, at=Decimal(1), row={"x": "y"}, names=["x"])

    with pytest.raises(ObligationError, match=f"{model.__name__} says itself"):
        mask({"rows": [value]}, ["email"])


def test_types_that_pydantic_itself_writes():
    """A class is not refused for types that pydantic brings a serializer for."""
    assert mask(Ordinary(id="1", email=CANARY), ["email"]).model_dump()["email"] == "***"


@pytest.mark.parametrize("fields", [["address"], ["anschrift"], ["e.mail"]])
def test_names_of_computed_fields(fields):
    """A computed field is refused by its alias too, and where it holds what is to be masked."""
    with pytest.raises(ObligationError, match="is computed and cannot be masked"):
        mask(Looked(id="1"), fields)


def test_a_computed_field_of_what_is_masked():
    """A computed field may hold what is to be masked as long as it is masked there."""
    assert mask(Repeated(email=CANARY), ["email"]).model_dump() == {"email": "***", "row": {"email": "***"}}


@pytest.mark.parametrize("fields", [["email"], ["*"]])
@pytest.mark.parametrize(
    "value",
    [
        {"a": Opaque.DICT},
        [Opaque.LIST],
        {"a": (Opaque.MODEL,)},
        {"id": Opaque.DICT},
        {Opaque.TUPLE: 1},
        {"a": Stored("1", CANARY)},
        [Pairs(email=CANARY)],
        {"a": {Stored("1", CANARY)}},
        {Row("1", CANARY, None): "x"},
        {("a", Row("1", CANARY, None)): "x"},
        {Frozen(email=CANARY): "x"},
        {frozenset({CANARY}): "x"},
        {"a": (line for line in [CANARY])},
        {"a": SecretStr(CANARY)},
        {"a": bytearray(CANARY.encode())},
        {"a": SimpleNamespace(email=CANARY)},
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_has_an_inside(value, fields):
    """An inside that cannot be walked is refused, wherever it is, as a key too; a lone one is hidden by `*`."""
    try:
        masked = mask(value, fields)
    except ObligationError:
        return
    assert fields == ["*"]
    assert CANARY not in _all_of(masked)


@pytest.mark.parametrize("value", [Spelt("x"), Counted(7), Weighed(1.5), Told_at(2026, 1, 2, 3, tzinfo=dt.UTC)])
def test_attributes_of_plain_values(value):
    """A value of a subclass leaves as its value alone, as a key too."""
    value.email = CANARY
    masked = mask({"a": value, value: [value]}, ["email"])

    assert masked == {"a": value, value: [value]}
    assert CANARY not in _all_of(masked)


def test_attributes_of_a_named_tuple():
    """A named tuple leaves with nothing but its fields."""
    row = Loose("1", "x", None)
    row.hidden = CANARY

    assert CANARY not in _all_of(mask([row], ["iban"]))


def test_a_root_model():
    """A model of a list is looked into, and so are models in a union."""
    held = Anything([Card(id="1", email=CANARY), Frozen(email=CANARY)])

    assert CANARY not in _all_of(mask(held, ["email"]))


@given(st.data())
def test_whatever_the_structure(data):
    """However a value under a masked name is wrapped and nested, nothing of it is in what leaves."""
    value = data.draw(_hiding)
    try:
        masked = mask({"outer": value}, ["email"])
    except ObligationError:
        return
    assert CANARY not in _all_of(masked)
