"""Cosignatures: made and verified as the specification has them, and refused when anything in them is not so."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import struct
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from companyos.signing import (
    KeyUnusableError,
    Note,
    NoteVerifier,
    PrivateKey,
    SignatureInvalidError,
    UntrustedError,
    cosignature,
)
from companyos.signing.cosignature import CosignatureVerifier, Cosigner

TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
KEY = PrivateKey.generate()
NAME = "witness.example.com/w1"
HAS_ML_DSA = importlib.util.find_spec("cryptography.hazmat.primitives.asymmetric.mldsa") is not None
ml_dsa = pytest.mark.skipif(not HAS_ML_DSA, reason="the cryptography library here has no ML-DSA")


@pytest.fixture(params=["ed25519", pytest.param("ml-dsa-44", marks=ml_dsa)])
def cosigner(request):
    """A cosigner of each kind."""
    return Cosigner.ed25519(NAME, KEY) if request.param == "ed25519" else Cosigner.ml_dsa_44(NAME, bytes(range(32)))


def test_what_is_signed_with_ed25519():
    """The signature is over `cosignature/v1`, the time and the checkpoint's text, after eight bytes of time."""
    name, hint, signature = Cosigner.ed25519(NAME, KEY).cosign(TEXT, at=1679315147)
    message = f"cosignature/v1\ntime 1679315147\n{TEXT}".encode()

    assert name == NAME
    assert hint == hashlib.sha256(NAME.encode() + b"\n\x04" + KEY.public.raw).digest()[:4]
    assert struct.unpack(">Q", signature[:8]) == (1679315147,)
    Ed25519PublicKey.from_public_bytes(KEY.public.raw).verify(signature[8:], message)


@ml_dsa
def test_what_is_signed_with_ml_dsa():
    """The signature is over the structure `subtree/v1`, which names the cosigner, the log, and the whole tree."""
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

    cosigner = Cosigner.ml_dsa_44("w", bytes(32))
    _, hint, signature = cosigner.cosign(TEXT, at=7)
    origin, _, root = TEXT.split("\n")[:3]
    message = b"subtree/v1\n\0\x01w" + struct.pack(">Q", 7) + bytes([len(origin)]) + origin.encode()
    message += struct.pack(">QQ", 0, 20852163) + base64.b64decode(root)

    assert hint == hashlib.sha256(b"w\n\x06" + cosigner.verifier.raw).digest()[:4]
    assert len(signature) == 8 + 2420
    MLDSA44PublicKey.from_public_bytes(cosigner.verifier.raw).verify(signature[8:], message)


def test_a_note_with_a_cosignature(cosigner):
    """A cosignature is one more line of a note: known to whoever knows the key, ignored by everybody else."""
    log = NoteVerifier("example.com/behind-the-sofa", PrivateKey.generate().public)
    note = Note.parse(Note(TEXT, (cosigner.cosign(TEXT),)).to_bytes())
    (held,) = note.verify([log, cosigner.verifier])

    assert held == cosigner.verifier
    assert abs(held.time(note.signatures[0][2]).timestamp() - time.time()) < 60
    with pytest.raises(UntrustedError):
        note.verify([log])


def test_vkey(cosigner):
    """A cosigner's key as text reads back as the same key."""
    assert CosignatureVerifier.from_vkey(cosigner.verifier.vkey) == cosigner.verifier


def test_every_changed_byte_is_refused(cosigner):
    """Whatever byte of text, time or signature changes, the cosignature does not hold."""
    _, _, signature = cosigner.cosign(TEXT, at=1679315147)
    passed = []
    for place in range(0, len(signature), 1 if len(signature) < 100 else 37):
        spoilt = bytearray(signature)
        spoilt[place] ^= 1
        try:
            cosigner.verifier.check(bytes(spoilt), TEXT.encode())
            passed.append(("signature", place))
        except SignatureInvalidError:
            pass
    for place in range(len(TEXT)):
        spoilt = bytearray(TEXT.encode())
        spoilt[place] ^= 1
        try:
            cosigner.verifier.check(signature, bytes(spoilt))
            passed.append(("text", place))
        except SignatureInvalidError:
            pass

    assert passed == []


def test_a_plain_signature_is_no_cosignature():
    """The same key under the same name signs notes and cosigns: neither passes as the other."""
    plain = NoteVerifier(NAME, KEY.public)
    cosigner = Cosigner.ed25519(NAME, KEY)

    assert plain.hint != cosigner.verifier.hint
    with pytest.raises(SignatureInvalidError):
        cosigner.verifier.check(KEY.sign(TEXT.encode()), TEXT.encode())
    with pytest.raises(SignatureInvalidError):
        plain.check(cosigner.cosign(TEXT)[2][8:], TEXT.encode())
    with pytest.raises(KeyUnusableError):
        CosignatureVerifier.from_vkey(plain.vkey)
    with pytest.raises(KeyUnusableError):
        NoteVerifier.from_vkey(cosigner.verifier.vkey)


@ml_dsa
def test_an_ml_dsa_cosignature_names_its_cosigner():
    """The same ML-DSA key under another name is another cosigner."""
    one, two = (Cosigner.ml_dsa_44(name, bytes(32)) for name in ("one", "two"))

    with pytest.raises(SignatureInvalidError):
        two.verifier.check(one.cosign(TEXT)[2], TEXT.encode())


@pytest.mark.parametrize(
    "text", ["", "hello\n", "a\nb\nc\n", "a\n01\nAAAA\n", "a\n1\nAAAA", "\n1\nAAAA\n", "a\n1\nAAAA\n\nmore\n"]
)
def test_only_checkpoints_are_cosigned(cosigner, text):
    """Text that is not a checkpoint's is not cosigned."""
    with pytest.raises(SignatureInvalidError):
        cosigner.cosign(text)


@ml_dsa
@pytest.mark.parametrize("text", [f"{'a' * 256}\n1\n{base64.b64encode(bytes(32)).decode()}\n", "a\n1\nAAAA\n"])
def test_what_does_not_fit_the_structure(text):
    """An origin beyond 255 bytes, or a root of another length, has no ML-DSA cosignature."""
    with pytest.raises(SignatureInvalidError):
        Cosigner.ml_dsa_44(NAME, bytes(32)).cosign(text)


@pytest.mark.parametrize("signature", [b"", bytes(8), bytes(71), bytes(73), b"\x80" + bytes(71), b"\xff" * 72])
def test_malformed_signatures(signature):
    """Another length, or a time that does not fit, is refused."""
    verifier = Cosigner.ed25519(NAME, KEY).verifier
    with pytest.raises(SignatureInvalidError):
        verifier.check(signature, TEXT.encode())


def test_times():
    """The time is the POSIX time in the first eight bytes; a year that no calendar has is refused."""
    verifier = Cosigner.ed25519(NAME, KEY).verifier

    assert datetime(2023, 3, 20, 12, 25, 47, tzinfo=UTC) == verifier.time(struct.pack(">Q", 1679315147) + bytes(64))
    with pytest.raises(SignatureInvalidError):
        verifier.time(struct.pack(">Q", 2**62) + bytes(64))


OF_OTHER_KINDS = [f"w+00000000+{base64.b64encode(bytes([kind]) + bytes(32)).decode()}" for kind in (1, 2, 4, 5, 6, 255)]


@pytest.mark.parametrize("vkey", ["", "w", "w+00000000+BA==", "w+00000000+****", *OF_OTHER_KINDS])
def test_bad_vkeys(vkey):
    """What is not the key of a cosigner, or does not match its hash, is refused by name."""
    with pytest.raises(KeyUnusableError):
        CosignatureVerifier.from_vkey(vkey)


def test_bad_names_and_keys():
    """A name with a space or a plus sign, and a key that is not Ed25519, make no cosigner."""
    for name in ("", "a b", "a+b", "a\u2003b"):
        with pytest.raises(KeyUnusableError):
            Cosigner.ed25519(name, KEY)
    with pytest.raises(KeyUnusableError):
        Cosigner.ed25519(NAME, PrivateKey.generate("ecdsa-p256"))
    with pytest.raises(KeyUnusableError):
        Cosigner.ml_dsa_44(NAME, b"short")


@given(st.binary(max_size=80), st.text(max_size=60))
def test_check_never_crashes(signature, text):
    """Whatever comes as signature and text is refused with an error of ours."""
    with pytest.raises(SignatureInvalidError):
        Cosigner.ed25519(NAME, KEY).verifier.check(signature, text.encode())


@ml_dsa
def test_a_signature_by_another_implementation():
    """A key and a signature over a subtree that filippo.io/torchwood made hold under our message.

    Source: transparency-dev/formats, note/note_cosigv1_test.go.
    """
    vkey, line = Path(__file__).with_name("mldsa44.txt").read_text("ascii").split()
    signature, verifier = base64.b64decode(line), CosignatureVerifier.from_vkey(vkey)
    root = base64.b64decode("E7ERCtFloiK1fdb+B6/dLG0pM1nmIR0ETKBSauCjtVw=")

    assert (verifier.name, verifier.kind, verifier.hint) == ("witness.example/w1", "ml-dsa-44", signature[:4])
    message = cosignature._subtree(verifier.name, 0, "example.com/log", (8, 13), root)
    verifier._public().verify(signature[12:], message)
    with pytest.raises(InvalidSignature):
        verifier._public().verify(signature[12:], cosignature._subtree("w2", 0, "example.com/log", (8, 13), root))
