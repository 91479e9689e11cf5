"""Typed events: every field is of a class, and leaves as its class says."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any, NamedTuple, Optional

import msgspec
import pydantic
import pytest

from companyos.observability import (
    ClassificationError,
    Event,
    Redactor,
    SetupError,
    annotate,
    bind,
    classified,
    get_logger,
    metrics,
    non_sensitive,
    pii,
    restricted,
    secret,
    sensitive,
    start_trace,
    telemetry,
)

KEY = "0123456789abcdef-a"
NAME = "Ann Lee"
log = get_logger("events")

Email = Annotated[str, pii]


@dataclasses.dataclass
class Customer:
    """As an application may have it."""

    number: Annotated[int, non_sensitive]
    email: Email
    notes: Annotated[list[str], restricted]
    parent: Annotated[Optional[Customer], telemetry] = None  # noqa: UP045 - this spelling is to be read too


class OrderCreated(Event, name="orders.created"):
    """An event of an application."""

    order_id: Annotated[str, non_sensitive]
    email: Email
    amount: Annotated[float, sensitive]
    card: Annotated[str, restricted]
    latency_ms: Annotated[float, telemetry]
    subject_id: Email | None = None
    customer: Customer | None = None
    old: Annotated[dict[str, Any], telemetry] = dataclasses.field(default_factory=dict)


def order(**fields):
    """An order with everything that it needs."""
    needed = {"order_id": "7", "email": "ann" + "@example.org", "amount": 12.5, "card": "4" * 16, "latency_ms": 1.5}
    return OrderCreated(**needed | fields)


@pytest.fixture
def keyed(make_service):
    """A service with a key of its own."""
    return make_service(redaction_key=KEY)


def test_each_field_leaves_as_its_class_says(keyed):
    """Kept, hashed, masked, dropped; the event's name and level are those of its class."""
    log.emit(order())
    event = keyed.event
    assert ("orders.created", "INFO", "7", 1.5) == (
        event["event"],
        event["level"],
        event["order_id"],
        event["latency_ms"],
    )
    assert "[sensitive]" == event["amount"]
    assert event["email"].startswith("hmac-sha256:")
    assert "card" not in event
    assert event["subject_id"] is None


def test_a_hash_is_stable_for_its_key(make_service, monkeypatch):
    """The same value with the same key has the same hash, from a variable too; a rotated key shows as another id."""
    seen = []
    for key in (KEY, KEY, "another key of 16 bytes"):
        service = make_service(redaction_key=key)
        log.emit(order())
        seen.append(service.event["email"])
    monkeypatch.setenv("COMPANYOS_REDACTION_KEY", KEY)
    service = make_service()
    log.emit(order())
    seen.append(service.event["email"])
    assert seen[0] == seen[1] == seen[3]
    assert seen[0].split(":")[1] != seen[2].split(":")[1]
    assert seen[0].split(":")[2] != seen[2].split(":")[2]


def test_the_hash_is_that_of_the_standard():
    """HMAC-SHA256, checked with the fourth test case of RFC 4231, cut to 128 bits."""
    key = bytes(range(1, 26))
    shown = Redactor(key=key).hashed(("\xcd" * 50).encode("latin-1").decode("latin-1"))
    import hashlib
    import hmac

    expected = hmac.new(key, ("\xcd" * 50).encode(), hashlib.sha256).hexdigest()[:32]
    assert expected == shown.rpartition(":")[2]


def test_without_a_key_hashes_hold_for_the_process(make_service):
    """They agree within the process, not between setups, and an event says so once."""
    service = make_service()
    log.emit(order())
    log.emit(order())
    warning, first, second = service.events
    assert ("redaction.key_missing", "WARN") == (warning["event"], warning["level"])
    assert first["email"] == second["email"]
    assert first["email"].startswith("hmac-sha256:process:")
    other = make_service()
    log.emit(order())
    assert other.events[-1]["email"] != first["email"]


def test_a_short_key_is_refused():
    """A key that can be guessed is none."""
    with pytest.raises(SetupError, match="at least 16 bytes"):
        Redactor(key=b"short")


def test_classes_hold_within(keyed):
    """What is nested is treated by its own classes, however deep."""
    inner = Customer(1, "bob" + "@example.org", ["n1"])
    log.emit(order(customer=Customer(2, NAME, ["n2"], inner), old={"a": [inner]}))
    shown = keyed.event["customer"]
    assert {"number", "email", "parent"} == set(shown)
    assert (2, 1) == (shown["number"], shown["parent"]["number"])
    assert shown["parent"]["email"] == keyed.event["old"]["a"][0]["email"]
    assert shown["email"].startswith("hmac-sha256:")


class Loose(NamedTuple):
    name: Annotated[str, pii("mask")]
    size: int


class Model(pydantic.BaseModel):
    name: Annotated[str, pii("mask")]
    size: int = 3
    mail: Email | None = None


class Struct(msgspec.Struct):
    name: Annotated[str, pii("mask")]
    size: int = 3


class Attrs:
    """What attrs leaves on a class."""

    name: Annotated[str, pii("mask")]
    size: int
    __attrs_attrs__ = tuple(type("A", (), {"name": name})() for name in ("name", "size"))

    def __init__(self):
        self.name, self.size = NAME, 3


@pytest.mark.parametrize(
    "value", [Loose(NAME, 3), Model(name=NAME), Struct(NAME), Attrs()], ids=lambda each: type(each).__name__
)
def test_classes_are_found_on_all_kinds_of_models(keyed, value):
    """In an untyped event too, by themselves, in lists and as values of mappings."""
    log.info("x", it=value, many=[value], by={"key": value})
    shown = keyed.event["it"]
    assert ("[pii]", 3) == (shown["name"], shown["size"])
    assert [shown] == keyed.event["many"] == list(keyed.event["by"].values())
    assert NAME not in keyed.stream.getvalue()


@dataclasses.dataclass
class Unreadable:
    name: Nowhere  # noqa: F821 - that is what is tested
    size: int = 3


def test_an_annotation_that_cannot_be_read_hides_its_field(keyed):
    """What could not be classified is not shown; the rest is."""
    log.info("x", it=Unreadable(NAME))
    assert {"name": "[unclassified]", "size": 3} == keyed.event["it"]


def test_the_stricter_class_wins():
    """Of several marks the strictest holds, within unions and collections and from outside in."""
    redactor = Redactor(key=KEY.encode())

    @dataclasses.dataclass
    class Mixed:
        a: Annotated[list[Annotated[str, secret]], non_sensitive]
        b: Annotated[str, pii, restricted]
        c: Annotated[Any, non_sensitive]

    shown = redactor.value(Mixed(["x"], "y", classified("z", pii("mask"))))
    assert {"c": "[pii]"} == shown
    outer = redactor.value(classified(Customer(1, NAME, []), sensitive))
    assert "[sensitive]" == outer


def test_hashes_of_collections():
    """Every leaf is hashed, and names in keys; what is missing stays missing."""
    redactor = Redactor(key=KEY.encode())
    shown = redactor.value(classified({"Ann": [1, None, ("x",)]}, pii))
    assert {redactor.hashed("Ann"): [redactor.hashed("1"), None, [redactor.hashed("x")]]} == shown
    loop: list = []
    loop.append(loop)
    assert "[too deep]" in json.dumps(redactor.value(classified(loop, pii)))


def test_a_classified_value_stands_wherever_a_value_may(keyed):
    """In bound fields, annotations, attributes, tags and the arguments of exceptions."""
    value = classified(NAME, pii("mask"))
    with bind(bound=value), start_trace("work", attributes={"a": value, "gone": classified(NAME, secret)}) as trace:
        annotate(learnt=value)
        trace.set("b", value)
        trace.set("c", classified(NAME, restricted))
        metrics.increment("jobs", {"who": value, "gone": classified(NAME, secret)})
        log.bind(mine=value).info("x", error=ValueError("no", value), formatted=f"{value}")
        try:
            raise LookupError(value)  # noqa: TRY301 - it has to be raised to be handled
        except LookupError:
            log.exception("y")
    (span,) = keyed.observability.spans(trace_id=trace.trace_id)
    assert {"a": "[pii]", "b": "[pii]"} == span.attributes
    assert {"who": "[pii]"} == keyed.observability.metrics("jobs")[0].attributes
    assert NAME not in keyed.stream.getvalue()
    assert "LookupError: [pii]" in keyed.events[-1]["exception.stacktrace"]


def test_events_do_not_tell_when_shown():
    """Neither an event nor a classified value shows what it holds."""
    assert NAME not in f"{order(email=NAME)!r} {classified(NAME, pii)} {classified(NAME, secret)!r}"
    assert "order_id='7'" in repr(order())


def test_the_net_still_looks_at_what_is_kept(keyed):
    """A class of `non_sensitive` does not let a secret through, nor does a name that says what it is."""

    class Careless(Event, name="careless", level="warning"):
        note: Annotated[str, non_sensitive]
        token: Annotated[str, non_sensitive]

    log.emit(Careless(note="ann" + "@example.org", token="t"))
    event = keyed.event
    assert ("WARN", "[email]", "[secret]") == (event["level"], event["note"], event["token"])


def test_events_are_frozen_and_inherit(keyed):
    """A base without a name adds fields; the subclass has the name."""

    class Base(Event, level="error"):
        order_id: Annotated[str, non_sensitive]

    class Failed(Base, name="orders.failed"):
        reason: Annotated[str, telemetry] = "unknown"

    event = Failed(order_id="7")
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.reason = "x"
    log.emit(event, error=ValueError("why"))
    shown = keyed.event
    assert ("orders.failed", "ERROR", "7", "why") == (
        shown["event"], shown["level"], shown["order_id"], shown["exception.message"]
    )  # fmt: skip


@dataclasses.dataclass
class Half:
    a: Annotated[str, pii]
    b: str


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (str, "not classified"),
        (Annotated[str, "a comment"], "not classified"),
        (list[str], "not classified"),
        (Customer | str, "not classified"),
        (Half, "not classified"),
        (Any, "not classified"),
        ("Nowhere", "cannot be resolved"),
    ],
)
def test_a_field_without_a_class_is_refused(annotation, message):
    """When the class is made, with the name of the field."""
    with pytest.raises(ClassificationError, match=rf"Bad\.field.*{message}"):
        type(Event)("Bad", (Event,), {"__annotations__": {"field": annotation}, "__module__": __name__}, name="bad")


def test_an_event_class_that_cannot_be_used_is_refused():
    """A name that every line has already; an event's name that is no name; a level that is none."""
    with pytest.raises(ClassificationError, match="already"):

        class Forged(Event, name="x"):
            trace_id: Annotated[str, telemetry]

    with pytest.raises(ClassificationError, match="not a name"):

        class Shouting(Event, name="Order Created"):
            pass

    with pytest.raises(ClassificationError, match="no such level"):

        class Loud(Event, name="x", level="shout"):
            pass


@pytest.mark.parametrize(
    ("mark", "treatment"), [(pii, "keep"), (secret, "hash"), (restricted, "keep"), (sensitive, "x")]
)
def test_a_class_has_a_floor(mark, treatment):
    """Personal data cannot be declared to be shown."""
    with pytest.raises(ClassificationError, match="cannot be treated so"):
        mark(treatment)
