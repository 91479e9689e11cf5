"""in-toto statements: signed, verified, and refused when they claim something else."""

from __future__ import annotations

import json

import pytest

from companyos.canonical import NotCanonicalError, canonical_bytes
from companyos.signing import (
    Envelope,
    PrivateKey,
    ResourceDescriptor,
    SignatureInvalidError,
    Statement,
    UntrustedError,
)
from companyos.signing.dsse import INTOTO_PAYLOAD

KEY = PrivateKey.generate()
KIND = "https://example.com/claim/v1"
STATEMENT = Statement((ResourceDescriptor("a.txt", {"sha256": "00" * 32}),), KIND, {"passed": 3})
GOOD = STATEMENT.to_dict()


def _without(field):
    return {key: value for key, value in GOOD.items() if key != field}


SPOILT = {
    "an array": [],
    "a number": 5,
    "no type": _without("_type"),
    "version 0.1": GOOD | {"_type": "https://in-toto.io/Statement/v0.1"},
    "no subject": _without("subject"),
    "subject is an object": GOOD | {"subject": {}},
    "subject without digest": GOOD | {"subject": [{"name": "a"}]},
    "digest as pairs": GOOD | {"subject": [{"name": "a", "digest": [["sha256", "00"]]}]},
    "no predicate type": _without("predicateType"),
    "null predicate": GOOD | {"predicate": None},
    "predicate as pairs": GOOD | {"predicate": [["passed", 3]]},
    "unknown field": GOOD | {"more": 1},
    "another kind": GOOD | {"predicateType": "https://example.com/other/v1"},
}


def test_round_trip():
    """A signed statement comes back as it was."""
    envelope = Envelope.from_bytes(STATEMENT.sign([KEY]).to_bytes())

    assert Statement.verify(envelope, [KEY.public], predicate_type=KIND) == STATEMENT
    assert envelope.payload_type == INTOTO_PAYLOAD
    assert json.loads(envelope.payload)["_type"] == "https://in-toto.io/Statement/v1"


@pytest.mark.parametrize("name", SPOILT)
def test_not_the_expected_statement(name):
    """A payload that is not exactly a statement of the expected kind is refused, though its signature holds."""
    envelope = Envelope.sign(INTOTO_PAYLOAD, canonical_bytes(SPOILT[name]), [KEY])

    with pytest.raises(SignatureInvalidError):
        Statement.verify(envelope, [KEY.public], predicate_type=KIND)


def test_payload_must_be_canonical():
    """A signed statement in another spelling is refused, so that its digest is one."""
    envelope = Envelope.sign(INTOTO_PAYLOAD, json.dumps(GOOD, indent=1).encode(), [KEY])

    with pytest.raises(NotCanonicalError):
        Statement.verify(envelope, [KEY.public], predicate_type=KIND)


def test_unsigned_statement_is_not_believed():
    """The payload is not even looked at before the signature."""
    with pytest.raises(UntrustedError):
        Statement.verify(STATEMENT.sign([]), [KEY.public], predicate_type=KIND)
    with pytest.raises(SignatureInvalidError):
        Statement.verify(Envelope.sign("text/plain", b"{}", [KEY]), [KEY.public], predicate_type=KIND)
