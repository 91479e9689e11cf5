"""Appending: what goes in, what comes back, what is refused, and that a refusal leaves nothing."""

from __future__ import annotations

import json
import re
import types
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from companyos.canonical import canonical_bytes
from companyos.ledger import (
    EntryInvalidError,
    EntryMissingError,
    EntryRefusedError,
    IdReusedError,
    Ledger,
    PayloadTooLargeError,
    StoreUnreadableError,
)
from companyos.ledger.entry import MAX_DEPTH
from companyos.ledger.merkle import leaf_hash

ORIGIN = "test.example/log"


def _nested(levels):
    value = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def _endless():
    value = {}
    value["a"] = [value]
    return value


def test_receipt_and_entry(ledger):
    """The receipt names the place; the entry there is what was appended, with a time in UTC."""
    before = datetime.now(UTC) - timedelta(seconds=1)

    receipt = ledger.append("order.placed", {"total": 3}, id="o-1", source="/shop", stream="o/1", subject="sku-9")
    (entry,) = ledger.read()

    assert (receipt.id, receipt.index, receipt.size) == ("o-1", 0, 1)
    assert receipt.leaf_hash == leaf_hash(ledger.raw(0))
    assert (entry.index, entry.id, entry.source, entry.type) == (0, "o-1", "/shop", "order.placed")
    assert (entry.stream, entry.subject, entry.data) == ("o/1", "sku-9", {"total": 3})
    assert entry.time.utcoffset() == timedelta(0)
    assert before < entry.time < datetime.now(UTC) + timedelta(seconds=1)


def test_bytes_of_an_entry(ledger):
    """The stored bytes are a CloudEvents 1.0 object in canonical form, with these attributes and no others."""
    ledger.append("order.placed", {"b": 1, "a": [True, None, "é"]}, id="o-1", stream="o/1", subject="x")
    raw = ledger.raw(0)
    value = json.loads(raw)

    assert raw == canonical_bytes(value)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", value.pop("time"))
    assert value == {
        "data": {"a": [True, None, "é"], "b": 1},
        "datacontenttype": "application/json",
        "id": "o-1",
        "source": ORIGIN,
        "specversion": "1.0",
        "stream": "o/1",
        "subject": "x",
        "type": "order.placed",
    }


def test_absent_attributes_are_left_out(ledger):
    """Without stream and subject the entry has no such keys; the id is made, the source is the log."""
    ledger.append("a.b", {})

    assert set(json.loads(ledger.raw(0))) == {"data", "datacontenttype", "id", "source", "specversion", "time", "type"}


def test_same_append_again_gives_the_same_receipt(ledger):
    """The same id, type, stream, subject and data again is no second entry."""
    first = ledger.append("a.b", {"x": 1, "y": 2}, id="1", stream="s", subject="t")
    ledger.append("a.b", {}, id="2")

    again = ledger.append("a.b", {"y": 2, "x": 1.0}, id="1", stream="s", subject="t")

    assert (again.id, again.index, again.leaf_hash) == (first.id, first.index, first.leaf_hash)
    assert again.size == 2
    assert len(ledger) == 2


@pytest.mark.parametrize(
    "change",
    [{"data": {"x": 2}}, {"type": "a.c"}, {"stream": "t"}, {"stream": None}, {"subject": "u"}, {"data": {"x": "1"}}],
    ids=["data", "type", "stream", "no stream", "subject", "type of a value"],
)
def test_reused_id(ledger, change):
    """The same id with anything else than before is an error, and the first entry stays."""
    call = {"type": "a.b", "data": {"x": 1}, "stream": "s", "subject": "t"}
    ledger.append(**call, id="1")

    with pytest.raises(IdReusedError, match="taken by entry 0") as caught:
        ledger.append(**call | change, id="1")

    assert caught.value.exit_status == 1
    assert len(ledger) == 1


def test_ids_are_unique_per_source(ledger):
    """The same id of two sources is two entries, and the default source is the origin."""
    assert ledger.append("a.b", {}, id="1").index == 0
    assert ledger.append("a.b", {}, id="1", source="/other").index == 1
    assert ledger.append("a.b", {}, id="1", source=ORIGIN).index == 0


def test_ids_are_made_when_not_given(ledger):
    """Two appends without an id are two entries."""
    assert ledger.append("a.b", {}).id != ledger.append("a.b", {}).id
    assert len(ledger) == 2


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("type", ""), ("type", "single"), ("type", "A.b"), ("type", "a..b"), ("type", "a.b\n"), ("type", None),
        ("type", 5), ("id", ""), ("id", "a b"), ("id", "é"), ("id", "x" * 256), ("id", 5), ("id", "a\n"),
        ("source", ""), ("source", "a b"), ("stream", ""), ("stream", "a\0"), ("subject", ""), ("subject", "Ann B"),
    ],
)  # fmt: skip
def test_unusable_attributes(ledger, attribute, value):
    """An attribute that is not in its alphabet is refused, and nothing is written."""
    call = {"type": "a.b", "data": {}} | {attribute: value}

    with pytest.raises(EntryInvalidError, match=f"unusable {attribute}"):
        ledger.append(**call)

    assert len(ledger) == 0


NOT_JSON = {
    "NaN": {"x": float("nan")},
    "infinity": {"x": [float("-inf")]},
    "bytes": {"x": b"raw"},
    "2^60": {"x": 2**60},
    "-2^53": {"x": -(2**53)},
    "lone surrogate": {"x": "\ud800"},
    "lone surrogate as key": {"\udfff": 1},
    "number as key": {1: "x"},
    "null as key": {"x": {None: 1}},
    "set": {"x": {1, 2}},
    "decimal": {"x": Decimal("1.5")},
    "date": {"x": datetime(2026, 1, 1, tzinfo=UTC)},
    "object": {"x": object()},
    "thousands of levels": _nested(5000),
    "a level too many": _nested(MAX_DEPTH + 1),
    "endless": _endless(),
    "reserved key": {"x": [{"$personal": {}}]},
    "an array": [1],
    "text": "x",
    "nothing": None,
}


@pytest.mark.parametrize("name", NOT_JSON)
def test_not_json(ledger, name):
    """A payload that is no JSON object without loss is refused by the error promised, and nothing is written."""
    with pytest.raises(EntryInvalidError) as caught:
        ledger.append("a.b", NOT_JSON[name])

    assert caught.value.code == "ledger.entry_invalid"
    assert len(ledger) == 0


def test_any_mapping_will_do(ledger):
    """Mappings and tuples are taken as objects and arrays."""
    ledger.append("a.b", types.MappingProxyType({"x": types.MappingProxyType({"y": (1, 2)})}))

    assert next(ledger.read()).data == {"x": {"y": [1, 2]}}


def test_deepest_payload_is_readable_from_a_deep_stack(ledger):
    """What was accepted verifies from wherever it is called, even close to the limit of the stack."""
    ledger.append("a.b", _nested(MAX_DEPTH))

    def call(levels):
        return ledger.verify().size if levels == 0 else call(levels - 1)

    assert call(400) == 1
    assert next(ledger.read()).data == _nested(MAX_DEPTH)


# Hypothesis reads the constants of the code under test, so it does find the reserved key.
KEYS = st.text().filter(lambda key: key != "$personal")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.dictionaries(KEYS, JSON, max_size=5))
def test_any_json_comes_back(ledger, data):
    """Whatever JSON object goes in comes out equal, under proofs that hold."""
    receipt = ledger.append("a.b", data)

    assert next(ledger.read(receipt.index)).data == data
    ledger.prove(receipt.index).verify(ledger.raw(receipt.index), [ledger.verifier])


def test_largest_entry(ledger):
    """An entry of 65,535 canonical bytes is kept whole; one byte more and its payload is detached."""
    ledger.append("a.b", {"x": ""}, id="0")
    room = 65_535 - len(ledger.raw(0))

    ledger.append("a.b", {"x": "a" * room}, id="1")
    ledger.append("a.b", {"x": "a" * (room + 1)}, id="2")

    assert len(ledger.raw(1)) == 65_535
    assert "data" in json.loads(ledger.raw(1))
    detached = json.loads(ledger.raw(2))
    assert "data" not in detached
    assert re.fullmatch(r"detached/hmac-sha256/[0-9a-f]{64}", detached["dataref"])
    assert detached["datasize"] == len(canonical_bytes({"x": "a" * (room + 1)}))
    assert [len(entry.data["x"]) for entry in ledger.read()] == [0, room, room + 1]
    assert ledger.verify().dropped_payloads == 0


def test_detached_on_request(ledger, tmp_path):
    """A small payload can be kept beside the log; the entry holds only a salted commitment to it."""
    first = ledger.append("a.b", {"word": "guessable"}, id="1", detach=True)
    second = ledger.append("a.b", {"word": "guessable"}, id="2", detach=True)

    assert b"guessable" not in ledger.raw(0)
    assert json.loads(ledger.raw(0))["dataref"] != json.loads(ledger.raw(1))["dataref"]
    assert [entry.data for entry in ledger.read()] == [{"word": "guessable"}] * 2
    assert ledger.append("a.b", {"word": "guessable"}, id="1", detach=True).leaf_hash == first.leaf_hash
    assert second.index == 1


def test_detached_limit(tmp_path):
    """A payload at the limit is taken; one byte beyond, it is refused and nothing is written."""
    limit = 1000
    with Ledger.open(f"sqlite:///{tmp_path / 'l.db'}", detached_limit=limit) as ledger:
        room = limit - len(canonical_bytes({"x": ""}))
        ledger.append("a.b", {"x": "a" * room}, detach=True)
        with pytest.raises(PayloadTooLargeError, match="at most 1000 bytes"):
            ledger.append("a.b", {"x": "a" * (room + 1)}, detach=True)

        assert len(ledger) == 1


def test_default_detached_limit_is_16_mib(ledger, tmp_path):
    """16 MiB go in; one byte more does not, and leaves nothing in the file."""
    room = 16 * 1024 * 1024 - len(canonical_bytes({"x": ""}))
    ledger.append("a.b", {"x": "a" * room})
    size = (tmp_path / "ledger.db").stat().st_size + (tmp_path / "ledger.db-wal").stat().st_size

    with pytest.raises(PayloadTooLargeError):
        ledger.append("a.b", {"x": "a" * (room + 1)})

    assert size == (tmp_path / "ledger.db").stat().st_size + (tmp_path / "ledger.db-wal").stat().st_size
    assert ledger.verify().size == 1


def _refuse(kind, data):
    return "no export today" if kind == "export.made" else None


def _fail(kind, data):
    raise KeyError("broken")


def test_validators(tmp_path):
    """A validator can refuse an entry with a sentence; nothing is written, and nothing can be altered."""
    seen = []
    with Ledger.open(f"sqlite:///{tmp_path / 'l.db'}", validators=[_refuse], listeners=[seen.append]) as ledger:
        ledger.append("a.b", {})
        with pytest.raises(EntryRefusedError, match="no export today") as caught:
            ledger.append("export.made", {})

        assert caught.value.exit_status == 1
        assert len(ledger) == 1
        assert [entry.type for entry in seen] == ["a.b"]


def test_failing_validator_refuses(tmp_path):
    """A validator that fails has not allowed anything."""
    with Ledger.open(f"sqlite:///{tmp_path / 'l.db'}", validators=[_fail]) as ledger:
        with pytest.raises(EntryRefusedError, match="broken"):
            ledger.append("a.b", {})
        assert len(ledger) == 0


def test_listeners_hear_durable_entries_once(tmp_path):
    """A listener is told of each entry after it is durable, and not again when an append is repeated."""
    heard = []
    url = f"sqlite:///{tmp_path / 'l.db'}"

    def listen(entry):
        with Ledger.open(url) as other:
            heard.append((entry.index, entry.data, len(other)))

    with Ledger.open(url, listeners=[listen]) as ledger:
        ledger.append("a.b", {"n": 0}, id="1")
        ledger.append("a.b", {"n": 1}, detach=True)
        ledger.append("a.b", {"n": 0}, id="1")

    assert heard == [(0, {"n": 0}, 1), (1, {"n": 1}, 2)]


def test_what_is_on_the_disk_is_synced(ledger):
    """The store reports the settings under which a commit is on the disk: write-ahead log, full synchronisation."""
    assert ledger._store.durability() == ("wal", 2)


def test_reading_ranges(ledger):
    """Entries come in order, from and up to any index, across the pages in which they are fetched."""
    for number in range(260):
        ledger.append("a.b", {"n": number})

    assert [entry.data["n"] for entry in ledger.read()] == list(range(260))
    assert [entry.index for entry in ledger.read(255, 258)] == [255, 256, 257]
    assert list(ledger.read(260)) == []
    for index in (-1, 260):
        with pytest.raises(EntryMissingError):
            ledger.raw(index)
        with pytest.raises(EntryMissingError):
            ledger.prove(index)


def test_appending_while_reading(url, ledger):
    """A half-read log can be appended to, here and elsewhere; the reader ends where the log ended at its start."""
    for number in range(258):
        ledger.append("a.b", {"n": number})
    reader = ledger.read()
    next(reader)
    with Ledger.open(url, origin=ORIGIN) as other:
        other.append("a.b", {"n": 258})

    ledger.append("a.b", {"n": 259})

    assert [entry.data["n"] for entry in reader] == list(range(1, 258))
    assert len(list(ledger.read())) == 260


def test_empty_log(ledger):
    """An empty log verifies, has length 0, and has neither checkpoint nor proofs."""
    assert len(ledger) == 0
    assert ledger.head() is None
    assert ledger.verify().size == 0
    for call in (ledger.checkpoint, lambda: ledger.prove(0), lambda: ledger.raw(0)):
        with pytest.raises(EntryMissingError):
            call()


def test_closed_ledger(ledger):
    """After close every use is one clear error."""
    ledger.append("a.b", {})
    ledger.close()

    for call in (lambda: ledger.append("a.b", {}), ledger.verify, ledger.checkpoint, lambda: list(ledger.read())):
        with pytest.raises(StoreUnreadableError):
            call()


@pytest.mark.parametrize("url", ["", "ledger.db", "sqlite://ledger.db", "sqlite:///", "mysql:///x", "file:///x"])
def test_bad_urls(url):
    """What is neither a SQLite file nor a PostgreSQL database is no ledger URL."""
    with pytest.raises(ValueError, match="not a ledger URL"):
        Ledger.open(url)


def test_rotated_key(tmp_path):
    """After a rotation of its key the log goes on, and checkpoints of before still count as anchors."""
    url = f"sqlite:///{tmp_path / 'l.db'}"
    with Ledger.open(url) as ledger:
        ledger.append("a.b", {"n": 0})
        anchor, old = ledger.checkpoint(), ledger.verifier
        new = ledger.rotate_key()

        assert ledger.verifier.key.key_id == new.key_id
    with Ledger.open(url) as ledger:
        assert ledger.verify(against=anchor).anchored
        ledger.append("a.b", {"n": 1})

        assert ledger.verify(against=anchor).size == 2
        assert ledger.verifier.vkey != old.vkey
        assert ledger.prove(0).verify(ledger.raw(0), [ledger.verifier]).size == 2


@pytest.mark.parametrize("number", [2.0**53, 4.581515039400217e16, 1e20, -1e20, 1e21, 1.5e300, 5e-324, -0.0])
def test_large_floats_verify(ledger, number):
    """Numbers that canonical JSON writes without an exponent are read back as the floats they were."""
    ledger.append("a.b", {"x": number})
    ledger.append("a.b", {"x": number}, detach=True)

    assert [entry.data["x"] for entry in ledger.read()] == [number] * 2
    assert ledger.verify().size == 2
