"""C2SP signed notes, held against the examples and test vectors that others publish."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from companyos.signing import (
    KeyUnusableError,
    Note,
    NoteVerifier,
    PrivateKey,
    SignatureInvalidError,
    UntrustedError,
    sign_note,
)

# golang.org/x/mod/sumdb/note: the example of the package and its note_test.go.
PETER_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
ENOCH_VKEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)  # fmt: skip
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
PETER, ENOCH = NoteVerifier.from_vkey(PETER_VKEY), NoteVerifier.from_vkey(ENOCH_VKEY)
PETER_KEY = PrivateKey(Ed25519PrivateKey.from_private_bytes(PETER_SEED))
BOTH = (TEXT + "\n" + PETER_LINE + ENOCH_LINE).encode()

# https://c2sp.org/signed-note, the note at the head of the specification.
SALVATORE = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n"
    "\n— quasimodo.example/salvatore "
    "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
)


def test_vectors_of_go_verify():
    """Both published signatures hold under both published keys."""
    note = Note.parse(BOTH)

    assert note.text == TEXT
    assert note.verify([PETER]) == (PETER,)
    assert note.verify([PETER, ENOCH]) == (PETER, ENOCH)
    assert PETER.vkey == PETER_VKEY
    assert ENOCH.vkey == ENOCH_VKEY


def test_we_sign_what_go_signs():
    """With the published private key we produce the published note, byte for byte."""
    assert (TEXT + "\n" + PETER_LINE).encode() == sign_note(TEXT, "PeterNeumann", PETER_KEY)


def test_example_of_the_specification_parses():
    """The text with its empty line is told from the signatures by the last empty line; its key is not published."""
    note = Note.parse(SALVATORE.encode())

    assert note.text.count("\n") == 4
    assert note.text.endswith("sera.\n")
    assert [(n, len(h), len(s)) for n, h, s in note.signatures] == [("quasimodo.example/salvatore", 4, 64)]
    with pytest.raises(UntrustedError):
        note.verify([PETER])


def test_non_ascii_text_is_signed_as_utf8():
    """As Go signs it (output of its note package for the same key and text)."""
    text = "árvore de transparência 日本語 🌲\n"
    line = (
        "— PeterNeumann x08go++3OV7s/KeQz0gcxdTb0xCe6RGE+WqNgFmfn4c7Kh2Tj4rqMVeBKDYPti8V31GF/I1uTTEjjn8pxz1ai4qlEwM=\n"
    )

    assert f"{text}\n{line}".encode() == sign_note(text, "PeterNeumann", PETER_KEY)


@pytest.mark.parametrize("vkey", [PETER_VKEY, ENOCH_VKEY])
def test_no_mangled_verifier_key_is_accepted(vkey):
    """No part of a verifier key is one, nor is one with any single character changed (as in Go's tests)."""
    parts = [vkey[i:j] for i in range(len(vkey)) for j in range(i, len(vkey) + 1) if (i, j) != (0, len(vkey))]
    changed = [vkey[:i] + chr(ord(c) + 1) + vkey[i + 1 :] for i, c in enumerate(vkey)]
    for bad in [*parts, *changed]:
        with pytest.raises(KeyUnusableError):
            NoteVerifier.from_vkey(bad)


@pytest.mark.parametrize(
    "vkey",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
        "",
        "a+b+c",
    ],
    ids=["wrong length", "unknown algorithm", "cosignature key", "empty", "not hexadecimal"],
)
def test_bad_verifier_keys(vkey):
    """Keys that Go refuses, and kinds that we do not support, are refused."""
    with pytest.raises(KeyUnusableError):
        NoteVerifier.from_vkey(vkey)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\u2003b"])
def test_bad_key_names(name):
    """A key name is not empty and has neither spaces of any kind nor plus signs."""
    with pytest.raises(KeyUnusableError):
        NoteVerifier(name, PETER.key)


def test_notes_need_ed25519():
    """A note is not signed with another kind of key."""
    with pytest.raises(KeyUnusableError):
        sign_note("text\n", "name", PrivateKey.generate("ecdsa-p256"))


MALFORMED = {
    "empty": b"",
    "text only": TEXT.encode(),
    "no signature": (TEXT + "\n").encode(),
    "no final newline": (TEXT + "\n" + PETER_LINE[:-1]).encode(),
    "control character": ("\x01" + TEXT + "\n" + PETER_LINE).encode(),
    "carriage returns": (TEXT + "\n" + PETER_LINE).replace("\n", "\r\n").encode(),
    "not UTF-8": b"\xff" + (TEXT + "\n" + PETER_LINE).encode(),
    "space in the name": (TEXT + "\n" + PETER_LINE.replace("PeterNeumann", "Peter Neumann")).encode(),
    "wide space in the name": (TEXT + "\n" + PETER_LINE.replace("PeterNeumann", "Peter\u2003Neumann")).encode(),
    "plus in the name": (TEXT + "\n" + PETER_LINE.replace("PeterNeumann", "Peter+Neumann")).encode(),
    "line that is no signature": (TEXT + "\n" + PETER_LINE + "Unexpected line.\n").encode(),
    "short signature": (TEXT + "\n— PeterNeumann x08goA==\n").encode()[:-6] + b"\n",
    "no text": ("\n\n" + PETER_LINE).encode(),
    "hyphen for a dash": (TEXT + "\n" + PETER_LINE.replace("—", "-")).encode(),
    "loose Base64": (TEXT + "\n" + PETER_LINE.replace("nAM=", "nAN=")).encode(),
    "101 signatures": (TEXT + "\n" + PETER_LINE * 101).encode(),
    "too large": b"a" * 1_000_001,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name):
    """What is not a note is refused by name (most cases are Go's)."""
    with pytest.raises(SignatureInvalidError):
        Note.parse(MALFORMED[name])


def test_many_signatures_are_accepted():
    """At least the 16 signatures that the specification demands, and as many as Go takes."""
    assert Note.parse((TEXT + "\n" + PETER_LINE * 100).encode()).verify([PETER]) == (PETER,)


def test_unknown_keys_are_ignored_and_known_ones_condemn():
    """A signature by an unknown key does not matter; one of a known key that does not hold condemns the note."""
    bad_enoch = ENOCH_LINE.replace("5n2ti", "5n3ti")
    note = Note.parse((TEXT + "\n" + PETER_LINE + bad_enoch).encode())

    assert note.verify([PETER]) == (PETER,)
    with pytest.raises(SignatureInvalidError):
        note.verify([PETER, ENOCH])
    with pytest.raises(UntrustedError):
        note.verify([])


def test_name_and_hash_must_both_match():
    """The same key under another name, or another hash under the same name, is an unknown key."""
    with pytest.raises(UntrustedError):
        Note.parse(BOTH).verify([NoteVerifier("CarmenSandiego", PETER.key)])
    with pytest.raises(UntrustedError):
        Note.parse(BOTH.replace(b"x08g", b"xxxx")).verify([PETER])


def test_every_changed_byte_is_refused():
    """Whatever byte of a note signed by one known key changes, it is no longer accepted."""
    data = (TEXT + "\n" + PETER_LINE).encode()
    passed = []
    for position in range(len(data)):
        for value in {data[position] ^ 1, data[position] ^ 0x20, data[position] ^ 0x80, 0x0A, 0x20}:
            spoilt = data[:position] + bytes([value]) + data[position + 1 :]
            if spoilt != data:
                try:
                    Note.parse(spoilt).verify([PETER])
                    passed.append((position, value))
                except (SignatureInvalidError, UntrustedError):
                    pass

    assert passed == []


@given(st.binary(max_size=400) | st.text(alphabet="— aA+/=\n\u2003", max_size=60).map(str.encode))
def test_parser_never_crashes(data):
    """Any bytes either are a note or are refused with an error of ours."""
    try:
        note = Note.parse(data)
    except SignatureInvalidError:
        return
    assert data.startswith(note.text.encode() + b"\n")
    with pytest.raises((SignatureInvalidError, UntrustedError)):
        note.verify([PETER])


LINES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=30)


@given(st.lists(LINES, min_size=1, max_size=5).map(lambda lines: "\n".join(lines) + "\n"))
def test_any_text_signs_and_verifies(text):
    """Text without control characters comes back as it was signed, empty lines and all."""
    if text == "\n":
        return
    note = Note.parse(sign_note(text, "PeterNeumann", PETER_KEY))

    assert text == note.text
    assert note.verify([PETER]) == (PETER,)


@pytest.mark.parametrize("text", ["", "no newline", "bell\x07\n", "cut\r\n"])
def test_text_that_cannot_be_a_note(text):
    """Text that would not survive as a note is not signed."""
    with pytest.raises(SignatureInvalidError):
        sign_note(text, "PeterNeumann", PETER_KEY)
