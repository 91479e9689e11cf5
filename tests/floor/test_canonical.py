"""Canonical JSON."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companyos import canonical_bytes, digest
from companyos.canonical import NotCanonicalError, parse

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def test_the_example_of_rfc_8785():
    """The sorted, number-normalised form of the RFC's own example (section 3.2.2)."""
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '\u20ac$\u000f\u000aA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical_bytes(value) == expected.encode()


@given(VALUES)
def test_parse_inverts_canonical_bytes(value):
    """What was written canonically is read back, and is still the same JSON."""
    raw = canonical_bytes(value)
    assert canonical_bytes(parse(raw)) == raw


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), b"bytes", 2**60, "\ud800", {1: "number as key"}, {"set": {1}}, object()],
    ids=["nan", "infinity", "bytes", "2^60", "lone surrogate", "key not text", "set", "object"],
)
def test_what_json_cannot_carry_is_refused(value):
    """Values that would be changed or lost have no canonical form."""
    with pytest.raises(NotCanonicalError):
        canonical_bytes(value)


def test_deep_nesting_is_refused_not_crashed_on():
    """A hundred thousand levels are an error with a name."""
    value: list = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(NotCanonicalError):
        canonical_bytes(value)


@pytest.mark.parametrize(
    "raw", [b'{"a": 1}', b'{"b":1,"a":1}', b'{"a":1,"a":1}', b"1.0", b"1 ", b"\xff", b"", b"[" * 100_000, b'"\\u0041"']
)
def test_other_spellings_are_refused(raw):
    """White space, order, duplicate keys, other numbers, trailing bytes, escapes: one value, one spelling."""
    with pytest.raises(NotCanonicalError):
        parse(raw)


def test_digest_is_that_of_the_canonical_form():
    """Key order does not matter to a digest."""
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})
