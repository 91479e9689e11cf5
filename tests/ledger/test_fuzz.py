"""Whatever comes: the short ways give what the definitions give, and bytes from anywhere give named errors only."""

from __future__ import annotations

import functools
import hashlib
import hmac
import random
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from companyos.canonical import NotCanonicalError, canonical_bytes, parse
from companyos.errors import CompanyOSError
from companyos.ledger import Checkpoint, CheckpointInvalidError, Draft, EntryMissingError, Ledger, Proof
from companyos.ledger import entry as entries
from companyos.ledger.merkle import (
    consistency_path,
    inclusion_path,
    leaf_hash,
    range_root,
    root_from_path,
    verify_consistency,
)
from companyos.ledger.tree import WIDTH, Nodes, Tree
from tests.ledger.conftest import ORIGIN
from tests.ledger.test_merkle import naive_path, naive_root

NAMES = st.text("abcXYZ019._:/@+~-", min_size=1, max_size=20)
TYPES = st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True), min_size=2, max_size=4).map(".".join)
CLASSES = st.from_regex(r"[a-z][a-z0-9_-]{0,31}", fullmatch=True)
DATA = st.dictionaries(
    st.text(max_size=6), st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), max_size=4
)
# Within the years that every zone can show in UTC.
TIMES = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=st.timezones())  # noqa: DTZ001 - the strategy adds the zone
EDGES = (1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 66_000)


@settings(max_examples=200, deadline=None)
@given(NAMES, NAMES, TYPES, st.none() | NAMES, st.none() | NAMES, st.none() | CLASSES, DATA, TIMES)
def test_entries_written_out_are_canonical(id_, source, kind, stream, subject, retention, data, time):
    """An entry put together piece by piece has the canonical bytes of the object that it is, detached or not."""
    shared = entries.envelope(source, kind, stream, subject, retention)
    stamp, payload = entries.timestamp(time), canonical_bytes(data)
    optional = {"stream": stream, "subject": subject, "retention": retention}
    common = {"id": id_, "source": source, "type": kind, "time": stamp, "specversion": "1.0"}
    common |= {"datacontenttype": "application/json"} | {key: value for key, value in optional.items() if value}
    commit = hashlib.sha256(payload).digest()
    reference = {"dataref": f"detached/hmac-sha256/{commit.hex()}", "datasize": len(payload)}

    inside, beside = shared.encode(id_, stamp, payload), shared.encode_detached(id_, stamp, commit, len(payload))

    assert inside == canonical_bytes(common | {"data": data})
    assert beside == canonical_bytes(common | reference)
    assert entries.dataref(beside) == commit
    assert {entries.time_of(inside), entries.time_of(beside), entries.decode(0, inside).time} == {time.astimezone(UTC)}
    assert shared.message(id_, b"null", payload) == canonical_bytes([source, id_, kind, stream, None, data])


ENTRY = (
    b'{"data":{"n":%s},"datacontenttype":"application/json","id":"%s",'
    b'"source":"s","specversion":"1.0","time":"t","type":"a.b"}'
)
FORMS = st.sampled_from((b"%s", b"%s\n", b"\n%s", b" %s", b"%s%s", b"%s\n%s", b"[%s]", b"%s ", b"%s,"))
NUMBERS_AS_TEXT = st.sampled_from(
    (b"1", b"1.0", b"1.5", b"01", b"-0", b"9007199254740993", b"1e3", b'"\\u0041"', b'"\xc3\xa9"', b'{"b":1,"a":2}')
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(FORMS, NUMBERS_AS_TEXT, st.integers(0, 99)), min_size=1, max_size=6))
def test_a_page_is_canonical_only_if_each_entry_is(parts):
    """Entries that are looked at together are taken for canonical only if each of them is, read alone."""
    raws = []
    for form, number, name in parts:
        whole = ENTRY % (number, str(name).encode())
        raws.append(form.replace(b"%s", whole))

    named = entries.names_of(raws)

    if named is not None:
        assert [(value["id"], value["source"]) for value in map(parse, raws)] == list(zip(*named, strict=True))
    elif all(form == b"%s" and number == b"1" for form, number, _ in parts):
        pytest.fail("plain entries are seen to be canonical together")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=300))
def test_sameness_is_hmac(secret, message):
    """The digest by which a repeated append is recognised is HMAC-SHA256."""
    assert entries.sameness(secret, message) == hmac.new(secret, message, hashlib.sha256).digest()


class Kept:
    """Leaf hashes and tiles as a store keeps them, in memory."""

    def __init__(self) -> None:
        self.hashes: list[bytes] = []
        self.tiles: dict[tuple[int, int], bytes] = {}

    def leaves(self, start, end):
        """As stored."""
        return self.hashes[start:end]

    def tile(self, level, index):
        """As stored."""
        return self.tiles.get((level, index))

    def grow(self, tree, leaves):
        """Add leaves, and keep the tiles that this gives."""
        self.hashes += leaves
        self.tiles |= {(tile.level, tile.index): tile.hashes for tile in tree.extend(leaves)}


def _data(size):
    return [b"%d" % number for number in range(size)]


@functools.cache
def _hashes(size):
    return [leaf_hash(data) for data in _data(size)]


@functools.cache
def _root(start, end):
    """MTH of RFC 6962 over a range, with the halves remembered."""
    if end - start <= 1:
        return _hashes(EDGES[-1])[start]
    half = 1 << (end - start - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + _root(start, start + half) + _root(start + half, end)).digest()


def _grown(size, chance):
    """A tree that grew to `size` in steps of random length, and what was stored of it."""
    kept, tree = Kept(), Tree()
    while tree.size < size:
        step = min(chance.choice((1, 2, 7, 255, 256, 257, 1000, 70_000)), size - tree.size)
        kept.grow(tree, _hashes(EDGES[-1])[tree.size : tree.size + step])
    return kept, tree


def test_the_remembering_root_is_the_naive_one():
    """The definition that remembers halves is the one that does not."""
    assert [_root(0, size) for size in range(1, 70)] == [naive_root(_data(size)) for size in range(1, 70)]


@pytest.mark.parametrize("size", EDGES)
def test_trees_around_the_edges_of_tiles(size):
    """However a tree grew: root, a tree loaded from what is stored, and proofs at present and past sizes are right."""
    chance = random.Random(size)
    kept, tree = _grown(size, chance)
    loaded = Tree.load(kept, size)

    assert tree.root() == loaded.root() == _root(0, size)
    assert tree.incomplete() == loaded.incomplete()
    for past in {size, *(edge for edge in EDGES if edge <= size), *(chance.randint(1, size) for _ in range(8))}:
        nodes = Nodes(kept, loaded)
        for index in {0, past - 1, past // 2, chance.randrange(past)}:
            path = [_root(start, end) for start, end in inclusion_path(index, past)]
            assert list(nodes.path(index, past)) == path
            assert root_from_path(index, past, _hashes(EDGES[-1])[index], path) == _root(0, past)
        proof = [range_root(start, end, nodes) for start, end in consistency_path(past, size)]
        verify_consistency(past, _root(0, past), size, _root(0, size), proof)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=6), st.data())
def test_trees_of_any_growth(steps, data):
    """A tree that caught up with what others stored has the same tiles and the naive proofs."""
    kept, writer, reader = Kept(), Tree(), Tree()
    for step in steps:
        kept.grow(writer, _hashes(EDGES[-1])[writer.size : writer.size + step])
        if data.draw(st.booleans()):
            reader = reader.catch_up(kept, writer.size)
    reader = reader.catch_up(kept, writer.size)
    size = data.draw(st.integers(1, writer.size))
    index = data.draw(st.integers(0, size - 1))

    assert reader.root() == writer.root() == _root(0, writer.size)
    assert list(Nodes(kept, reader).path(index, size)) == [_root(*ends) for ends in inclusion_path(index, size)]
    if size <= 120:
        assert list(Nodes(kept, reader).path(index, size)) == naive_path(index, _data(size))


@pytest.mark.parametrize("lost", [(0, 3), (0, 255), (1, 0)])
def test_no_proof_out_of_lost_tiles(lost):
    """Where a tile that a proof needs is not stored, there is a named error and never a proof with pieces missing."""
    size = 65_537
    kept, _ = _grown(size, random.Random(1))
    del kept.tiles[lost]
    nodes = Nodes(kept, Tree.load(kept, size))

    with pytest.raises(EntryMissingError):
        nodes.path(lost[1] * WIDTH + 5, size)


BYTES = st.binary(max_size=200)
PIECES = st.sampled_from(
    [
        '{"', '"time":"', "2026-01-01T00:00:00.000000Z", "0001-01-01T00:00:00.000000Z", "2026-01-01T00:00:00.0000000",
        '"id":"x"', '"source":"s"', '"type":"a.b"', '"dataref":"detached/hmac-sha256/', '"dataref":5', "zz", "00",
        "null", "[]", '","', "}", ",", ":",
    ]
)  # fmt: skip
ENTRIES = BYTES | st.lists(PIECES, max_size=12).map("".join).map(str.encode)


@settings(max_examples=300, deadline=None)
@given(ENTRIES, st.none() | ENTRIES)
@example(b'{"id":"x","source":"s","time":"2026-01-01T00:00:00","type":"a.b"}', None)
@example(b"[" * 3000, None)
@example(b'{"dataref":"\xc3\xa9/\xd9\xa1\xd9\xa2"}', None)
def test_bytes_read_as_an_entry(raw, payload):
    """Bytes from anywhere are an entry with an aware time, or a named error."""
    for read in (entries.time_of, entries.dataref, entries.without_time):
        try:
            found = read(raw)
        except NotCanonicalError:
            continue
        assert read is not entries.time_of or found.tzinfo is not None
    try:
        assert entries.decode(0, raw, payload).time.tzinfo is not None
    except NotCanonicalError:
        return


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """A log with a checkpoint and a proof to spoil."""
    url = f"sqlite:///{tmp_path_factory.mktemp('signed') / 'ledger.db'}"
    with Ledger.open(url, origin=ORIGIN) as ledger:
        ledger.append_many(Draft("a.b", {"n": n}) for n in range(5))
        return ledger.verifier, ledger.checkpoint(), ledger.raw(3), ledger.prove(3).to_text()


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=120)
    | st.text(max_size=60).map(lambda text: f"{text}\n\n\u2014 x AAAA\n".encode("utf-8", "replace"))
)
def test_bytes_read_as_a_checkpoint(signed, note):
    """Bytes from anywhere are no checkpoint, by that name."""
    with pytest.raises(CheckpointInvalidError):
        Checkpoint.verify(note, [signed[0]])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**6), st.binary(max_size=3), st.integers(0, 3))
def test_a_spoilt_checkpoint(signed, place, piece, width):
    """A checkpoint with some of its bytes changed is the same checkpoint or a named error."""
    verifier, note, _, _ = signed
    place %= len(note)
    spoilt = note[:place] + piece + note[place + width :]

    try:
        assert Checkpoint.verify(spoilt, [verifier]) == Checkpoint.verify(note, [verifier])
    except CheckpointInvalidError:
        return


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80) | st.integers(0, 10**6), st.text(max_size=3), st.integers(0, 3))
@example("c2sp.org/tlog-proof@v1\nindex 0\n\n", "", 0)
@example("c2sp.org/tlog-proof@v1\n\n", "", 0)
@example("c2sp.org/tlog-proof@v1\nindex 0\n\n\ud800", "", 0)
def test_text_read_as_a_proof(signed, start, piece, width):
    """Text from anywhere, or a proof with some of it changed, is the same proof of the entry or a named error."""
    verifier, _, raw, proof = signed
    if isinstance(start, int):
        place = start % len(proof)
        start = proof[:place] + piece + proof[place + width :]

    try:
        found = Proof.from_text(start)
        found.verify(raw, [verifier])
    except CompanyOSError:
        return
    assert (found.index, found.path) == (3, Proof.from_text(proof).path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(min_size=32, max_size=32), max_size=6), st.integers(-1, 9))
def test_no_other_proof_holds(signed, path, index):
    """Hashes from anywhere never prove the entry."""
    verifier, note, raw, proof = signed
    genuine = Proof.from_text(proof)
    if (index, tuple(path)) == (genuine.index, genuine.path):
        return

    with pytest.raises(CompanyOSError):
        Proof(index, tuple(path), note).verify(raw, [verifier])
