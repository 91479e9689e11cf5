"""One line an event: the same by either way, of one shape, on any stream."""

from __future__ import annotations

import io
import json
import os
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from companyos import observability
from companyos.observability import classified, get_logger, lines, pii, restricted, start_trace
from companyos.observability.lines import plain_line, searched_line
from companyos.observability.redaction import Redactor
from companyos.observability.runtime import Identity, Observability

CARD = "4111" + "1111" * 3
TEXTS = st.one_of(
    st.text(max_size=30),
    st.text(st.characters(max_codepoint=127), max_size=40),
    st.sampled_from([
        "create", "order/7", "2026-11-30T16:38:49Z", "a=b", "ann" + "@example.org", CARD, "db-7.internal", "acme",
        "Bearer " + "abcdefgh12", "pass" + "word: x1", "u-1", "0123456789abcdef" * 2, "sk" + "-" + "a" * 24,
        "x" * 9_000,
    ]),
)  # fmt: skip
NAMES = st.one_of(
    st.sampled_from([*lines.TEXTS, *lines.RESERVED, "latency_ms", "note", "count", "pass" + "word", "...", "x" * 80]),
    st.text(min_size=1, max_size=8),
)
VALUES = st.one_of(
    TEXTS, st.none(), st.booleans(), st.integers(), st.floats(), st.lists(TEXTS, max_size=3), st.just(int(CARD)),
    TEXTS.map(lambda text: classified(text, pii)), TEXTS.map(lambda text: classified(text, restricted)),
)  # fmt: skip
FIELDS = st.dictionaries(NAMES, VALUES, max_size=6)
RUNTIME = Observability(
    Identity("orders", "1.2.3", "test"),
    level="INFO",
    stream=None,
    redactor=Redactor(["Acme"], key=b"k" * 32),
    recorder=None,
)


def both(event, sources, trusted=frozenset()):
    """The line by the short way (None if that way is not taken) and by the long way."""
    arguments = (RUNTIME, "INFO", event, "a.logger", sources, trusted)
    ways = (plain_line(*arguments), searched_line(*arguments))
    return [None if line is None else json.loads(line) | {"timestamp": "now"} for line in ways]


@settings(deadline=None)
@given(TEXTS, FIELDS, FIELDS, FIELDS)
def test_either_way_writes_the_same_line(event, outer, bound, fields):
    """Where the short way is taken, its line is that of the long way, in the same order."""
    short, long = both(event, (outer, bound, fields))
    if short is not None:
        assert list(long.items()) == list(short.items())


@settings(deadline=None)
@given(st.dictionaries(NAMES, st.one_of(TEXTS, st.integers(), st.floats(allow_nan=False)), max_size=4))
def test_what_is_trusted_is_written_as_it_is_either_way(fields):
    """Texts and numbers under trusted names are not searched, on either way."""
    short, long = both("http.request", ({}, {}, fields), frozenset(fields))
    if short is not None:
        assert list(long.items()) == list(short.items())


def test_ordinary_events_take_the_short_way():
    """The short way is not only right, it is taken: for identifiers, times, routes and versions too."""
    fields = {
        "action": "GET", "resource": "/v1/orders/{order_id}", "outcome": "success", "latency_ms": 1.25, "count": 3,
        "request_id": "616f2a16-2a96-492e-aefd-80e834d6972c", "at": "2026-11-30T16:38:49.123456Z",
        "build": "1.4.0-rc.2",
        "digest": "sha256:" + "9f86d081884c7d65" * 4, "epoch": "1764520729123456789", "cached": True,
    }  # fmt: skip
    short, long = both("orders.created", ({"subject_id": "u-1"}, {"component": "api"}, fields))
    assert short is not None
    assert long == short


@settings(deadline=None)
@given(FIELDS)
def test_every_line_satisfies_the_schema(fields):
    """Whatever the fields are, the line has the published shape and is ASCII."""
    line = searched_line(RUNTIME, "WARN", "x", None, ({}, {}, fields), frozenset())
    Draft202012Validator(observability.line_schema()).validate(json.loads(line))
    assert line.isascii()
    assert b"\n" not in line


def test_the_schema_notices_what_is_missing():
    """The published schema is one, and refuses a line without a required field."""
    schema = observability.line_schema()
    Draft202012Validator.check_schema(schema)
    line = json.loads(searched_line(RUNTIME, "INFO", "x", None, ({}, {}, {}), frozenset()))
    assert set(schema["required"]) <= set(line)
    for name in schema["required"]:
        assert not Draft202012Validator(schema).is_valid({key: value for key, value in line.items() if key != name})


def test_names_without_end_are_not_all_remembered(service):
    """Names of fields that never come again do not fill the memory."""
    for number in range(lines.MAX_KNOWN_NAMES + 10):
        log.write_event("info", f"event_{number}", {f"field_{number}": 1})
    names = service.observability.names
    assert max(len(names.fields), len(names.events)) <= lines.MAX_KNOWN_NAMES


log = get_logger("streams")


def test_an_event_is_out_when_the_call_returns(tmp_path):
    """A line is written past the buffers of a file, after what others have written to it."""
    path = tmp_path / "log"
    with path.open("w", encoding="utf-8") as file, observability.setup(service="orders", stream=file):
        print("by hand", file=file)
        log.info("first")
        written = path.read_text("utf-8").splitlines()
    assert "by hand" == written[0]
    assert "first" == json.loads(written[1])["event"]


@pytest.mark.parametrize("kind", ["raw", "buffered", "memory", "utf-16"])
def test_streams_of_bytes_and_of_other_encodings(tmp_path, kind):
    """Binary streams take lines too, and a text stream keeps its encoding."""
    path = tmp_path / "log"
    memory = io.BytesIO()
    stream = {
        "raw": lambda: path.open("wb", buffering=0),
        "buffered": lambda: path.open("wb"),
        "memory": lambda: memory,
        "utf-16": lambda: path.open("w", encoding="utf-16"),
    }[kind]()
    with stream if stream is not memory else nullcontext(), observability.setup(service="orders", stream=stream):
        log.info("x")
        log.info("y")
    text = memory.getvalue().decode() if kind == "memory" else path.read_text("utf-16" if kind == "utf-16" else "utf-8")
    assert ["x", "y"] == [json.loads(line)["event"] for line in text.splitlines()]


def test_a_full_pipe_costs_lines_and_spoils_none():
    """What a pipe does not take is counted; the line after the gap is whole."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with (
        os.fdopen(writer, "wb", buffering=0) as stream,
        observability.setup(service="orders", stream=stream) as service,
    ):
        # Lines of three pages, of which a pipe has sixteen: one line is cut, and the next are refused.
        while service.dropped_lines < 5:
            log.info("fill", text="a" * 7_001, more="b" * 3_001)
        written = os.read(reader, 1 << 20)
        log.info("after")
        written += os.read(reader, 1 << 20)
    os.close(reader)
    lines_seen = written.splitlines()
    whole = [line for line in lines_seen if line.endswith(b"}")]
    assert ["fill"] * (len(whole) - 1) + ["after"] == [json.loads(line)["event"] for line in whole]
    assert b"" not in lines_seen
    assert 1 <= len(lines_seen) - len(whole) <= service.dropped_lines


def test_an_event_of_middleware_may_name_what_it_trusts(service):
    """`write_event` takes fields as a mapping, at a level, and an error; only what is named is not searched."""
    log.write_event(
        "info", "x", {"route": "ann" + "@example.org", "note": "ann" + "@example.org"}, trusted=frozenset({"route"})
    )
    log.write_event("error", "y", {}, error=ValueError("why"))
    log.write_event("debug", "z", {"n": [1]})
    first, second, third = service.events
    assert ("ann" + "@example.org", "[email]") == (first["route"], first["note"])
    assert ("ERROR", "why") == (second["level"], second["exception.message"])
    assert ("DEBUG", [1]) == (third["level"], third["n"])


def test_a_level_that_is_not_in_force_is_not_written(make_service):
    """`write_event` and `emit` keep to the level too."""
    service = make_service(log_level="error")
    log.write_event("warning", "x", {})
    assert [] == service.events


def test_ids_follow_the_span_in_hand(service):
    """The ids of one span do not stay for the next, nor for what is outside."""
    with start_trace("a") as first:
        log.info("x")
        with start_trace("b") as second:
            log.info("x")
        log.info("x")
    log.info("x")
    assert [first.span_id, second.span_id, first.span_id, None] == [event["span_id"] for event in service.events]


def test_the_schema_lies_with_the_package():
    """A reader without Python finds the schema as a file."""
    path = Path(observability.__file__).parent / "log-line.schema.json"
    assert observability.line_schema() == json.loads(path.read_text("utf-8"))
