"""The bytes of a cache entry: nothing else passes for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companyos.canonical import canonical_bytes
from companyos.state import entry

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, st.integers(0, 2**53 - 1), st.integers(0, 2**63 - 1))
def test_an_entry_comes_back_as_it_was(value, version, position):
    """Version, position, payload and value survive, under the key that they were made for and no other."""
    raw = entry.encode("key", version, position, payload := canonical_bytes(value))
    found = entry.decode("key", raw)
    assert (found.version, found.position, found.payload, found.value) == (version, position, payload, value)
    with pytest.raises(entry.DamagedEntryError):
        entry.decode("kez", raw)


@given(st.data())
def test_no_altered_byte_goes_unnoticed(data):
    """Whatever byte is changed, left out or added: it is no entry any more."""
    raw = entry.encode("key", 7, 8, b'{"a":1}')
    place, byte = data.draw(st.integers(0, len(raw) - 1)), bytes([data.draw(st.integers(0, 255))])
    altered = {raw[:place] + byte + raw[place + 1 :], raw[:place], raw[:place] + byte + raw[place:]} - {raw}
    for one in altered:
        with pytest.raises(entry.DamagedEntryError):
            entry.decode("key", one)


@given(st.binary())
def test_noise_is_no_entry(raw):
    """Any bytes are refused by name."""
    with pytest.raises(entry.DamagedEntryError):
        entry.decode("key", raw)


def test_that_there_is_nothing_is_an_entry_too():
    """An entry without payload says that there is no state at that version."""
    found = entry.decode("key", entry.encode("key", 3, 9, None))
    assert (found.version, found.payload, found.value) == (3, b"", None)


def test_markers_are_told_from_entries():
    """A fence and a token are no entries, and differ each time."""
    markers = [entry.fence(), entry.fence(), entry.token(), entry.token()]
    assert len(set(markers)) == 4
    assert all(entry.is_marker(one) for one in markers)
    assert [entry.is_token(one) for one in markers] == [False, False, True, True]
    assert not entry.is_marker(entry.encode("key", 1, 1, b"1"))
