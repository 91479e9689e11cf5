"""The tree, held against RFC 6962 written out naively and against another implementation."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from companyos.ledger import ProofInvalidError
from companyos.ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_path,
    inclusion_path,
    leaf_hash,
    range_root,
    root_from_path,
    verify_consistency,
)

# Certificate Transparency's reference vectors (RFC 6962 implementations): the inputs and the roots over the first n.
INPUTS = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
INPUTS.append(bytes(range(0x60, 0x70)))
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def _split(size):
    half = 1
    while half * 2 < size:
        half *= 2
    return half


def _node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def naive_root(leaves):
    """MTH of RFC 6962, section 2.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    half = _split(len(leaves))
    return _node(naive_root(leaves[:half]), naive_root(leaves[half:]))


def naive_path(index, leaves):
    """PATH of RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    half = _split(len(leaves))
    if index < half:
        return [*naive_path(index, leaves[:half]), naive_root(leaves[half:])]
    return [*naive_path(index - half, leaves[half:]), naive_root(leaves[:half])]


def naive_proof(old, leaves, *, whole=True):
    """SUBPROOF of RFC 6962, section 2.1.2."""
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    half = _split(len(leaves))
    if old <= half:
        return [*naive_proof(old, leaves[:half], whole=whole), naive_root(leaves[half:])]
    return [*naive_proof(old - half, leaves[half:], whole=False), naive_root(leaves[:half])]


def _leaves(size):
    return [b"leaf %d" % number for number in range(size)]


def _grow(leaves):
    frontier, nodes = Frontier(), {}
    for index, data in enumerate(leaves):
        leaf = leaf_hash(data)
        nodes[0, index] = leaf
        nodes.update({(level, place): node for level, place, node in frontier.push(leaf)})
    return frontier, lambda level, index: nodes[level, index]


def _other_root(tree, size):
    # pymerkle 7 renamed it, and warns of the old name.
    return tree.get_root(size) if hasattr(tree, "get_root") else tree.get_state(size)


SIZES = st.integers(1, 300)


def test_reference_roots():
    """The roots over the reference inputs are the published ones."""
    frontier = Frontier()
    assert frontier.root() == EMPTY_ROOT == naive_root([])
    for data, root in zip(INPUTS, ROOTS, strict=True):
        frontier.push(leaf_hash(data))
        assert frontier.root().hex() == root


@settings(deadline=None)
@given(SIZES)
def test_roots(size):
    """At every size the root is that of the naive definition and of the other implementation."""
    leaves = _leaves(size)
    other = InmemoryTree(algorithm="sha256")
    for data in leaves:
        other.append_entry(data)
    frontier, node = _grow(leaves)

    assert frontier.root() == naive_root(leaves) == _other_root(other, size)
    assert frontier.root() == range_root(0, size, node)


@settings(deadline=None)
@given(SIZES, st.data())
def test_inclusion(size, data):
    """A proof is that of the definition and of the other implementation, and leads to the root."""
    index = data.draw(st.integers(0, size - 1))
    leaves = _leaves(size)
    other = InmemoryTree(algorithm="sha256")
    for item in leaves:
        other.append_entry(item)
    _, node = _grow(leaves)

    path = [range_root(start, end, node) for start, end in inclusion_path(index, size)]

    assert path == naive_path(index, leaves)
    assert path == other.prove_inclusion(index + 1, size).path[1:]
    assert root_from_path(index, size, leaf_hash(leaves[index]), path) == naive_root(leaves)


@settings(deadline=None)
@given(SIZES, st.data())
def test_spoilt_inclusion_proofs(size, data):
    """A proof for another index, of another leaf, with a hash changed, cut or added never leads to the root."""
    index = data.draw(st.integers(0, size - 1))
    leaves = _leaves(size)
    _, node = _grow(leaves)
    path = [range_root(start, end, node) for start, end in inclusion_path(index, size)]
    leaf, root = leaf_hash(leaves[index]), naive_root(leaves)

    for other in {0, index ^ 1, size - 1} - {index}:
        if other < size:
            with contextlib.suppress(ProofInvalidError):
                assert root_from_path(other, size, leaf, path) != root
    assert root_from_path(index, size, leaf_hash(b"forged"), path) != root
    for place in range(len(path)):
        changed = [*path[:place], bytes(32), *path[place + 1 :]]
        assert root_from_path(index, size, leaf, changed) != root
    for wrong in (path[:-1], path[1:]) if path else ():
        with pytest.raises(ProofInvalidError):
            root_from_path(index, size, leaf, wrong)
    for call in ((index, size, leaf, [*path, root]), (size, size, leaf, path), (-1, size, leaf, path)):
        with pytest.raises(ProofInvalidError):
            root_from_path(*call)


@settings(deadline=None)
@given(SIZES, st.data())
def test_consistency(size, data):
    """The proof from any earlier size is that of the definition, and verifies."""
    old = data.draw(st.integers(1, size))
    leaves = _leaves(size)
    _, node = _grow(leaves)

    path = [range_root(start, end, node) for start, end in consistency_path(old, size)]

    assert path == naive_proof(old, leaves)
    verify_consistency(old, naive_root(leaves[:old]), size, naive_root(leaves), path)


@settings(deadline=None)
@given(st.integers(2, 300), st.data())
def test_spoilt_consistency_proofs(size, data):
    """A proof for another history, with a hash changed, cut or added is refused."""
    old = data.draw(st.integers(1, size - 1))
    leaves = _leaves(size)
    _, node = _grow(leaves)
    path = [range_root(start, end, node) for start, end in consistency_path(old, size)]
    before, after = naive_root(leaves[:old]), naive_root(leaves)

    spoilt = [
        (old, bytes(32), size, after, path),
        (old, before, size, bytes(32), path),
        (old, before, size, after, [*path, bytes(32)]),
        (old, before, size, after, path[:-1]),
        (old, before, size, after, []),
        (size, after, old, before, path),
        *((old, before, size, after, [*path[:i], bytes(32), *path[i + 1 :]]) for i in range(len(path))),
    ]
    for call in spoilt:
        with pytest.raises(ProofInvalidError):
            verify_consistency(*call)


def test_consistency_at_the_ends():
    """Every tree is consistent with the empty one and with itself, by an empty proof; not with another root."""
    root = naive_root(_leaves(5))

    verify_consistency(0, EMPTY_ROOT, 5, root, [])
    verify_consistency(5, root, 5, root, [])
    assert consistency_path(0, 5) == consistency_path(5, 5) == []
    for call in ((5, root, 5, bytes(32), []), (5, root, 5, root, [root]), (0, EMPTY_ROOT, 5, root, [root])):
        with pytest.raises(ProofInvalidError):
            verify_consistency(*call)


def test_the_empty_tree_has_one_root():
    """An old tree of size 0 with any other root than the empty one is refused."""
    with pytest.raises(ProofInvalidError):
        verify_consistency(0, bytes(32), 5, naive_root(_leaves(5)), [])


def test_log_agrees_with_the_oracle(ledger):
    """Roots, proofs and checkpoints of a log are those of the definition over its entries' bytes."""
    for number in range(13):
        ledger.append("a.b", {"n": number})
    leaves = [ledger.raw(index) for index in range(13)]

    assert ledger.head().root == naive_root(leaves)
    for index in range(13):
        assert list(ledger.prove(index).path) == naive_path(index, leaves)
