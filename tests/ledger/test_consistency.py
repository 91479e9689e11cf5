"""Proofs of consistency as values and as text, held against the definition written out naively."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree, verify_consistency

from companyos.errors import CompanyOSError
from companyos.ledger import Checkpoint, CheckpointInvalidError, ProofInvalidError
from companyos.ledger.checkpoint import Consistency
from companyos.ledger.merkle import EMPTY_ROOT, Frontier, consistency_proof, leaf_hash
from companyos.signing import Note, NoteVerifier, PrivateKey
from companyos.signing.cosignature import Cosigner

ORIGIN = "test.example/log"
KEY = PrivateKey.generate()
VERIFIER = NoteVerifier(ORIGIN, KEY.public)
LARGEST = 300
LEAVES = [b"leaf %d" % number for number in range(LARGEST)]


def grown(leaves):
    """The inner nodes of a tree, and its root at each size."""
    frontier, nodes, roots = Frontier(), {}, [EMPTY_ROOT]
    for index, data in enumerate(leaves):
        nodes[0, index] = leaf_hash(data)
        nodes.update({(level, at): node for level, at, node in frontier.push(nodes[0, index])})
        roots.append(frontier.root())
    return nodes, roots


NODES, ROOTS = grown(LEAVES)
SIZES = st.tuples(st.integers(0, LARGEST), st.integers(0, LARGEST)).map(sorted)


def root(leaves):
    """MTH of RFC 6962, section 2.1."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root(leaves[:half]) + root(leaves[half:])).digest()


def subproof(old, leaves, *, whole):
    """SUBPROOF of RFC 6962, section 2.1.2."""
    if old == len(leaves):
        return [] if whole else [root(leaves)]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    if old <= half:
        return [*subproof(old, leaves[:half], whole=whole), root(leaves[half:])]
    return [*subproof(old - half, leaves[half:], whole=False), root(leaves[:half])]


def checkpoint(size):
    """The state at a size."""
    return Checkpoint(ORIGIN, size, ROOTS[size])


def proof(old, new):
    """A proof out of the nodes, with a checkpoint signed by the log."""
    path = consistency_proof(old, new, lambda level, index: NODES[level, index])
    return Consistency(old, tuple(path), checkpoint(new).sign(KEY))


@settings(deadline=None)
@given(SIZES)
def test_proofs_are_those_of_the_definition(sizes):
    """Between any two sizes the hashes are those of RFC 6962, lead from state to state, and survive as text."""
    old, new = sizes
    made = proof(old, new)

    assert list(made.path) == (subproof(old, LEAVES[:new], whole=True) if 0 < old < new else [])
    assert made.verify(checkpoint(old), [VERIFIER]) == checkpoint(new)
    assert Consistency.from_text(made.to_text()) == made
    assert len(made.path) <= 63


@settings(deadline=None, max_examples=50)
@given(st.integers(1, LARGEST), st.data())
def test_another_implementation_agrees(new, data):
    """Roots are those that pymerkle gives, and what it proves consistent is proved by us."""
    old = data.draw(st.integers(1, new))
    tree = InmemoryTree(algorithm="sha256")
    for leaf in LEAVES[:new]:
        tree.append_entry(leaf)
    roots = [getattr(tree, "get_root", getattr(tree, "get_state", None))(size) for size in (old, new)]

    verify_consistency(*roots, tree.prove_consistency(old, new))

    assert [ROOTS[old], ROOTS[new]] == roots
    assert proof(old, new).verify(Checkpoint(ORIGIN, old, roots[0]), [VERIFIER]).root == roots[1]


@settings(deadline=None, max_examples=60)
@given(st.integers(2, LARGEST), st.data())
def test_spoilt_proofs(new, data):
    """With a hash changed, dropped, added or swapped, another old root or another size, no proof holds."""
    old = data.draw(st.integers(1, new - 1))
    made, before = proof(old, new), checkpoint(old)
    place = data.draw(st.integers(0, max(0, len(made.path) - 1)))
    path = list(made.path)
    spoilt = [
        replace(made, path=(*path, bytes(32))),
        replace(made, path=(bytes(32), *path)),
        replace(made, path=tuple(path[:place] + path[place + 1 :])),
        replace(made, path=(*path[:place], bytes(32), *path[place + 1 :])),
        replace(made, old_size=old - 1),
        replace(made, old_size=old + 1),
        replace(made, checkpoint=Checkpoint(ORIGIN, new, bytes(32)).sign(KEY)),
    ]
    for wrong in spoilt:
        with pytest.raises(ProofInvalidError):
            wrong.verify(before, [VERIFIER])
    with pytest.raises(ProofInvalidError):
        made.verify(replace(before, root=bytes(32)), [VERIFIER])


def test_another_log_or_key():
    """A proof for another log's checkpoint, or whose checkpoint another key signed, is refused."""
    made = proof(5, 9)
    with pytest.raises(ProofInvalidError):
        made.verify(Checkpoint("other.example/log", 5, ROOTS[5]), [VERIFIER])
    with pytest.raises(CheckpointInvalidError):
        made.verify(checkpoint(5), [NoteVerifier(ORIGIN, PrivateKey.generate().public)])


def test_never_backwards():
    """There is no proof that a longer log is a prefix of a shorter one."""
    with pytest.raises(ProofInvalidError):
        proof(9, 5)
    with pytest.raises(ProofInvalidError):
        Consistency(9, (), checkpoint(5).sign(KEY)).verify(checkpoint(9), [VERIFIER])


def test_text_form():
    """As text a proof is `old`, a hash a line, an empty line, and the checkpoint verbatim."""
    made = proof(3, 7)
    first, *hashes = made.to_text().partition("\n\n")[0].split("\n")

    assert first == "old 3"
    assert [base64.b64decode(line) for line in hashes] == list(made.path)
    assert made.to_text().encode().endswith(b"\n\n" + made.checkpoint)


HASH = base64.b64encode(bytes(32)).decode()
NOTE = checkpoint(5).sign(KEY).decode()


NO_PROOF = {
    "empty": "",
    "no checkpoint": "old 3",
    "no empty line": f"old 3\n{NOTE}",
    "no size": f"old\n\n{NOTE}",
    "a zero in front": f"old 03\n\n{NOTE}",
    "another word": f"new 3\n\n{NOTE}",
    "a negative size": f"old -3\n\n{NOTE}",
    "a short hash": f"old 3\nAAAA\n\n{NOTE}",
    "Base64 cut off": f"old 3\n{HASH[:-1]}\n\n{NOTE}",
    "64 hashes": "old 3\n" + f"{HASH}\n" * 64 + f"\n{NOTE}",
}


@pytest.mark.parametrize("text", NO_PROOF.values(), ids=NO_PROOF)
def test_text_that_is_no_proof(text):
    """What is not the body of a request is refused by name."""
    with pytest.raises(ProofInvalidError):
        Consistency.from_text(text)


@given(st.text(max_size=120) | st.text(alphabet="old 0123\nAB=/+—", max_size=80))
def test_parser_never_crashes(text):
    """Any text either is a proof, which nobody signed, or is refused with an error of ours."""
    try:
        made = Consistency.from_text(text)
    except ProofInvalidError:
        return
    with pytest.raises(CompanyOSError):
        made.verify(checkpoint(5), [VERIFIER])


def test_cosigned_and_extended_checkpoints():
    """Signatures of others, and extension lines, which are the log's own business, do not hinder a reader."""
    text = f"{ORIGIN}\n9\n{base64.b64encode(ROOTS[9]).decode()}\nextension one\nextension two\n"
    cosigner = Cosigner.ed25519("witness.example/w", PrivateKey.generate())
    lines = (cosigner.cosign(text), (ORIGIN, VERIFIER.hint, KEY.sign(text.encode())), ("other", b"abcd", b"?" * 64))
    note = Note(text, lines).to_bytes()

    assert Checkpoint.verify(note, [VERIFIER]) == checkpoint(9)
    assert replace(proof(4, 9), checkpoint=note).verify(checkpoint(4), [VERIFIER]) == checkpoint(9)


def test_the_origin_of_a_log_whose_key_has_another_name():
    """A key that does not bear the log's name is taken for the log that is named, and for no other."""
    note = Checkpoint("test.example/log", 9, ROOTS[9]).sign(KEY)
    text = Note.parse(note).text
    key = NoteVerifier("key.example", KEY.public)
    note = Note(text, (("key.example", key.hint, KEY.sign(text.encode())),)).to_bytes()

    assert Checkpoint.verify(note, [key], origin=ORIGIN) == checkpoint(9)
    for origin in (None, "key.example", "other.example/log"):
        with pytest.raises(CheckpointInvalidError):
            Checkpoint.verify(note, [key], origin=origin)
