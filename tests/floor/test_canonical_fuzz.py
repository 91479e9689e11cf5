"""Canonical JSON by the fast way and by the slow one: the same bytes, the same refusals, whatever comes."""

from __future__ import annotations

import json

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from companyos.canonical import NotCanonicalError, canonical_bytes, encode_plain, loads, parse

EDGES = st.sampled_from([0, -0.0, 1e21, 1e-7, 5e-324, 2**53 - 1, 2**53, -(2**53), 2**60, 1e16, 123456789012345680.0])
NUMBERS = EDGES | st.integers(-(2**60), 2**60) | st.floats()
TEXT = (
    st.text()
    | st.text('\x00\x1f\x7f\\"/\u2028\u20ac\U0001f600é\ud800', max_size=6)
    | st.text("a0.eE-1:,[]{}", max_size=24)
)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXT
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5) | st.tuples(inner, inner),
    max_leaves=25,
)


def _slow(value):
    """RFC 8785 by the reference alone; None for what it refuses."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        return None


def _fast(value):
    try:
        return canonical_bytes(value)
    except NotCanonicalError:
        return None


def _accepted(data):
    try:
        return canonical_bytes(parse(data)) == data
    except NotCanonicalError:
        return False


@settings(max_examples=300, deadline=None)
@given(VALUES)
@example({"€": 1, "\U0001f600": 2, "\ue000": 3})
@example({"a": 2**53})
@example(["\x7f", "\u2028", "\x1f"])
def test_both_ways_write_the_same(value):
    """Whatever the value: the bytes are those of the reference, or both refuse it; the fast way alone never differs."""
    expected = _slow(value)

    assert expected == _fast(value)
    assert encode_plain(value) in {None, expected}


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_exactly_the_canonical_form_is_read(value):
    """Canonical bytes are read back as the value; any other spelling of the same value is refused."""
    raw = _fast(value)
    if raw is None:
        return
    other = json.dumps(json.loads(raw), ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode()

    assert canonical_bytes(parse(raw)) == raw
    assert _accepted(other) == (other == raw)
    assert not any(_accepted(spelling) for spelling in (b" " + raw, raw + b"\n", raw + raw[-1:] + b"]"))


@settings(max_examples=400, deadline=None)
@given(VALUES, st.data())
def test_one_byte_more_or_other(value, data):
    """Canonical bytes with one byte changed, added or removed are read only if they are canonical themselves."""
    raw = _fast(value)
    if raw is None:
        return
    place = data.draw(st.integers(0, len(raw) - 1))
    piece = data.draw(
        st.sampled_from([b"", b" ", b"0", b"1", b"-", b".", b"e", b'"', b"\\", b",", b"\xc3", b"\x00", b"9" * 17])
    )
    spoilt = raw[:place] + piece + raw[place + data.draw(st.integers(0, 1)) :]

    try:
        found = parse(spoilt)
    except NotCanonicalError:
        return
    assert rfc8785.dumps(found) == spoilt


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text('[]{}",:0123456789.-+eEtrufalsn\\u \x00', max_size=40).map(str.encode))
@example(b"9" * 5000)
@example(b'{"a":1e400}')
@example(b'"\\ud800"')
@example(b"[" * 5000 + b"]" * 5000)
def test_arbitrary_bytes_are_read_or_refused(raw):
    """Bytes from anywhere are a value or a named error, and what `parse` takes is canonical."""
    for read in (loads, parse):
        try:
            value = read(raw)
        except NotCanonicalError:
            continue
        if read is parse:
            assert rfc8785.dumps(value) == raw


@pytest.mark.parametrize("levels", [99, 100, 101, 400])
def test_depth_makes_no_difference(levels):
    """On both sides of the depth at which the fast way gives up, the bytes are those of the reference."""
    value: object = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}

    assert canonical_bytes(value) == rfc8785.dumps(value)
    assert parse(canonical_bytes(value)) == value
