"""DSSE envelopes: the published vector, another implementation, and every way to spoil one."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib import dsse as reference
from securesystemslib.signer import CryptoSigner, SSlibKey

from companyos.errors import CompanyOSError
from companyos.signing import Envelope, PrivateKey, PublicKey, SignatureInvalidError, UntrustedError
from companyos.signing.dsse import pae

# https://github.com/secure-systems-lab/dsse/blob/master/protocol.md, "Test Vectors"
TYPE, BODY = "http://example.com/HelloWorld", b"hello world"
PAE = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
X = 46950820868899156662930047687818585632848591499744589407958293238635476079160
Y = 5640078356564379163099075877009565129882514886557779369047442380624545832820
RAW = base64.b64decode("A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==")

KEY = PrivateKey.generate()
OTHER = PrivateKey.generate("ecdsa-p256")
ENVELOPE = Envelope.sign(TYPE, BODY, [KEY])


def test_published_encoding():
    """What is signed is byte for byte what the specification publishes; lengths count bytes."""
    assert pae(TYPE, BODY) == PAE
    assert pae("", b"") == b"DSSEv1 0  0 "
    assert "DSSEv1 2 é 2 ø".encode() == pae("é", "ø".encode())


def test_published_signature():
    """The signature that the specification publishes holds, once spelt as DER."""
    key = PublicKey(ec.EllipticCurvePublicNumbers(X, Y, ec.SECP256R1()).public_key())
    signature = encode_dss_signature(int.from_bytes(RAW[:32]), int.from_bytes(RAW[32:]))

    assert Envelope(TYPE, BODY, ((key.key_id, signature),)).verify([key], payload_type=TYPE) == BODY


@given(st.text(), st.binary(), st.text(), st.binary())
def test_encoding_is_injective(kind, body, other_kind, other_body):
    """Two different pairs of type and payload never give the same bytes to sign."""
    assert ((kind, body) == (other_kind, other_body)) == (pae(kind, body) == pae(other_kind, other_body))


@pytest.mark.parametrize("key", [KEY, OTHER], ids=lambda key: key.public.algorithm)
def test_another_implementation_accepts_ours(key):
    """Securesystemslib verifies an envelope that we signed."""
    public = SSlibKey.from_crypto(key.public.key, keyid=key.public.key_id)
    theirs = reference.Envelope.from_dict(json.loads(Envelope.sign(TYPE, BODY, [key]).to_bytes()))

    assert {key.public.key_id} == set(theirs.verify([public], 1))


@pytest.mark.parametrize("key", [KEY, OTHER], ids=lambda key: key.public.algorithm)
def test_we_accept_another_implementations(key):
    """We verify an envelope that securesystemslib signed."""
    public = SSlibKey.from_crypto(key.public.key, keyid=key.public.key_id)
    theirs = reference.Envelope(BODY, TYPE, {})
    theirs.sign(CryptoSigner(key.key, public))
    ours = Envelope(TYPE, BODY, tuple((i, bytes.fromhex(s.signature)) for i, s in theirs.signatures.items()))

    assert Envelope.from_bytes(ours.to_bytes()).verify([key.public], payload_type=TYPE) == BODY


def test_round_trip():
    """An envelope written and read again is the same, and verifies."""
    again = Envelope.from_bytes(ENVELOPE.to_bytes())

    assert again == ENVELOPE
    assert again.verify([KEY.public], payload_type=TYPE) == BODY


def test_every_changed_byte_is_refused():
    """Whatever byte of a stored envelope changes, and to whatever of these values, it no longer passes."""
    data = ENVELOPE.to_bytes()
    passed = []
    for position in range(len(data)):
        for value in {data[position] ^ 1, data[position] ^ 0x20, data[position] ^ 0x80, 0, 0x20, 0x41}:
            spoilt = data[:position] + bytes([value]) + data[position + 1 :]
            if spoilt != data:
                try:
                    Envelope.from_bytes(spoilt).verify([KEY.public], payload_type=TYPE)
                    passed.append((position, value))
                except (SignatureInvalidError, UntrustedError):
                    pass

    assert passed == []


@given(st.data())
def test_cut_and_extended_envelopes_are_refused(data):
    """An envelope cut anywhere or with anything appended or put in front is refused."""
    whole = ENVELOPE.to_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    extra = data.draw(st.binary(min_size=1, max_size=4))

    for spoilt in (whole[:cut], whole[cut + 1 :], whole + extra, extra + whole):
        with pytest.raises(SignatureInvalidError):
            Envelope.from_bytes(spoilt)


MALFORMED = {
    "empty": b"",
    "not JSON": b"hello",
    "not UTF-8": b"\xff",
    "an array": b"[]",
    "null": b"null",
    "no fields": b"{}",
    "number as type": b'{"payload":"","payloadType":5,"signatures":[]}',
    "null payload": b'{"payload":null,"payloadType":"t","signatures":[]}',
    "text as signatures": b'{"payload":"","payloadType":"t","signatures":"x"}',
    "number as key id": b'{"payload":"","payloadType":"t","signatures":[{"keyid":5,"sig":""}]}',
    "array as key id": b'{"payload":"","payloadType":"t","signatures":[{"keyid":[],"sig":""}]}',
    "no key id": b'{"payload":"","payloadType":"t","signatures":[{"sig":""}]}',
    "unknown field": b'{"a":1,"payload":"","payloadType":"t","signatures":[]}',
    "white space": b'{"payload": "","payloadType":"t","signatures":[]}',
    "other order": b'{"payloadType":"t","payload":"","signatures":[]}',
    "duplicate field": b'{"payload":"","payload":"","payloadType":"t","signatures":[]}',
    "URL-safe Base64": b'{"payload":"_-8=","payloadType":"t","signatures":[]}',
    "unpadded Base64": b'{"payload":"YQ","payloadType":"t","signatures":[]}',
    "loose bits in Base64": b'{"payload":"YR==","payloadType":"t","signatures":[]}',
    "lone surrogate": b'{"payload":"","payloadType":"\\ud800","signatures":[]}',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name):
    """What is not an envelope in its one spelling is refused by name."""
    with pytest.raises(SignatureInvalidError):
        Envelope.from_bytes(MALFORMED[name])


@given(st.binary(max_size=300) | st.from_regex(rb'\{"payload":".*","payloadType":.*,"signatures":\[.*\]\}'))
def test_parser_never_crashes(data):
    """Any bytes either parse or are refused with an error of ours; what parses fails verification cleanly."""
    try:
        Envelope.from_bytes(data).verify([KEY.public], payload_type="t")
    except CompanyOSError:
        return
    raise AssertionError("an envelope out of random bytes was accepted")


def test_threshold_counts_keys_not_signatures():
    """Two signatures by one key are one signer."""
    both = [KEY.public, OTHER.public]
    twice = Envelope.sign(TYPE, BODY, [KEY, KEY])

    assert Envelope.sign(TYPE, BODY, [KEY, OTHER]).verify(both, payload_type=TYPE, threshold=2) == BODY
    with pytest.raises(UntrustedError, match="not signed by enough"):
        twice.verify(both, payload_type=TYPE, threshold=2)
    with pytest.raises(UntrustedError):
        twice.verify([KEY.public, KEY.public], payload_type=TYPE, threshold=2)


@pytest.mark.parametrize("threshold", [0, -1])
def test_no_threshold_turns_the_check_off(threshold):
    """At least one trusted key must have signed, whatever threshold is asked for."""
    with pytest.raises(UntrustedError):
        Envelope(TYPE, BODY).verify([KEY.public], payload_type=TYPE, threshold=threshold)
    with pytest.raises(UntrustedError):
        ENVELOPE.verify([], payload_type=TYPE, threshold=threshold)


def test_unknown_keys_are_ignored():
    """A signature by a key nobody trusts neither helps nor harms."""
    mixed = Envelope.sign(TYPE, BODY, [OTHER, KEY])

    assert mixed.verify([KEY.public], payload_type=TYPE) == BODY
    with pytest.raises(UntrustedError) as caught:
        ENVELOPE.verify([OTHER.public], payload_type=TYPE)
    assert caught.value.exit_status == 3


def test_bad_signature_by_a_known_key_condemns():
    """One signature of a trusted key that does not hold condemns the envelope, however many others hold."""
    signature = bytes(64)
    spoilt = Envelope(TYPE, BODY, (*ENVELOPE.signatures, (OTHER.public.key_id, signature)))

    assert spoilt.verify([KEY.public], payload_type=TYPE) == BODY
    with pytest.raises(SignatureInvalidError):
        spoilt.verify([KEY.public, OTHER.public], payload_type=TYPE)


def test_other_payload_type_is_refused():
    """A good signature over another kind of payload does not count."""
    with pytest.raises(SignatureInvalidError, match="another type"):
        ENVELOPE.verify([KEY.public], payload_type="application/other")


def high_s(signature):
    """The other spelling of a low-S signature, which anybody can make."""
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551 - s)


def test_only_the_given_keys_each_once():
    """An envelope that nobody may change unseen has no signature by a stranger, none twice, none respelt."""
    both = Envelope.sign(TYPE, BODY, [KEY, OTHER])
    (mine, theirs) = both.signatures
    spoilt = {
        "unknown key": (*both.signatures, ("says: approved", b"x")),
        "two signatures by one key": (mine, theirs, theirs),
        "canonical spelling": (mine, (theirs[0], high_s(theirs[1]))),
    }

    both.require_only([KEY.public, OTHER.public])
    for reason, signatures in spoilt.items():
        envelope = Envelope(TYPE, BODY, signatures)
        assert envelope.verify([KEY.public, OTHER.public], payload_type=TYPE) == BODY
        with pytest.raises(SignatureInvalidError, match=reason):
            envelope.require_only([KEY.public, OTHER.public])
