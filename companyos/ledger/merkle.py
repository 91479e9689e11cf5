"""The Merkle tree of RFC 6962, section 2.1: hashes, roots, inclusion and consistency proofs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from companyos.ledger.errors import ProofInvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = (
    "EMPTY_ROOT",
    "Frontier",
    "consistency_path",
    "consistency_proof",
    "inclusion_path",
    "leaf_hash",
    "leaf_hashes",
    "node_hash",
    "node_hashes",
    "range_root",
    "root_from_path",
    "subtree_cover",
    "verify_consistency",
)

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""

_LEAF = hashlib.sha256(b"\x00")
_NODE = hashlib.sha256(b"\x01")


def leaf_hash(data: bytes) -> bytes:
    """The hash of one entry: SHA-256 of 0x00 and its bytes."""
    state = _LEAF.copy()
    state.update(data)
    return state.digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256 of 0x01 and both children."""
    state = _NODE.copy()
    state.update(left + right)
    return state.digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """The hashes of many entries."""
    # A copy of a begun hash costs less than a new one, and the loop less than a call for each.
    begun, hashes = _LEAF.copy, []
    for data in entries:
        state = begun()
        state.update(data)
        hashes.append(state.digest())
    return hashes


def node_hashes(below: Sequence[bytes]) -> list[bytes]:
    """The hashes of the nodes above `below`, an even number of neighbours."""
    begun, hashes, pairs = _NODE.copy, [], iter(below)
    for left in pairs:
        state = begun()
        state.update(left + next(pairs))
        hashes.append(state.digest())
    return hashes


class Frontier:
    """A tree that grows by one leaf at a time and remembers only the roots of its complete subtrees.

    `push` returns the inner nodes that the new leaf completes, as (level, index within level, hash).
    """

    __slots__ = ("_roots", "size")

    def __init__(self, size: int = 0, roots: Iterable[bytes] = ()) -> None:
        self.size = size
        self._roots = list(roots)

    def push(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf hash."""
        completed = []
        index, level, node = self.size, 0, leaf
        while index & 1:
            node = node_hash(self._roots.pop(), node)
            index >>= 1
            level += 1
            completed.append((level, index, node))
        self._roots.append(node)
        self.size += 1
        return completed

    def root(self) -> bytes:
        """The root of the tree as it stands."""
        if not self._roots:
            return EMPTY_ROOT
        root = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            root = node_hash(left, root)
        return root


def subtree_cover(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The complete subtrees that together cover the leaves [start, end), left to right, as (level, index).

    `start` must be aligned to the first of them, as it is for every subtree of RFC 6962.
    """
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield level, start >> level
        start += 1 << level


def inclusion_path(index: int, size: int) -> list[tuple[int, int]]:
    """The ranges of leaves [start, end) whose roots prove leaf `index` in a tree of `size`, nearest sibling first."""
    ranges: list[tuple[int, int]] = []
    start, end = 0, size
    while end - start > 1:
        split = start + (1 << ((end - start - 1).bit_length() - 1))
        if index < split:
            ranges.append((split, end))
            end = split
        else:
            ranges.append((start, split))
            start = split
    return ranges[::-1]


def range_root(start: int, end: int, node: Callable[[int, int], bytes]) -> bytes:
    """The root of the leaves [start, end) out of complete subtrees, which `node(level, index)` looks up."""
    roots = [node(level, index) for level, index in subtree_cover(start, end)]
    root = roots[-1]
    for left in reversed(roots[:-1]):
        root = node_hash(left, root)
    return root


def root_from_path(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """The root to which an inclusion proof leads (RFC 9162, section 2.1.3.2).

    Raises:
        ProofInvalidError: the index is outside the tree, or the proof has the wrong length.
    """
    if not 0 <= index < size:
        raise ProofInvalidError("index outside of the tree", got=index, expected=f"less than {size}")
    ranges = inclusion_path(index, size)
    if len(ranges) != len(path):
        raise ProofInvalidError("inclusion proof of the wrong length", got=len(path), expected=len(ranges))
    node = leaf
    for (start, _), sibling in zip(ranges, path, strict=True):
        node = node_hash(node, sibling) if start > index else node_hash(sibling, node)
    return node


def consistency_path(old: int, new: int) -> list[tuple[int, int]]:
    """The ranges whose roots prove that the tree of size `old` is a prefix of that of size `new` (RFC 6962, 2.1.2)."""

    def walk(start: int, end: int, whole: bool) -> list[tuple[int, int]]:
        if end - start == old - start:
            return [] if whole else [(start, end)]
        split = start + (1 << ((end - start - 1).bit_length() - 1))
        if old <= split:
            return [*walk(start, split, whole), (split, end)]
        return [*walk(split, end, False), (start, split)]

    return walk(0, new, True) if 0 < old < new else []


def consistency_proof(old: int, new: int, node: Callable[[int, int], bytes]) -> list[bytes]:
    """The hashes that prove the tree of size `old` a prefix of that of size `new`; `node(level, index)` looks them up.

    Raises:
        ProofInvalidError: `old` is no size of an earlier state.
    """
    if not 0 <= old <= new:
        raise ProofInvalidError("not an earlier state of the log", got=old, expected=f"at most {new}")
    return [range_root(start, end, node) for start, end in consistency_path(old, new)]


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """Return if `path` proves that the tree (`old`, `old_root`) is a prefix of (`new`, `new_root`).

    Source: RFC 9162, section 2.1.4.2.

    Raises:
        ProofInvalidError: it does not.
    """
    if old in {0, new}:
        expected = EMPTY_ROOT if old == 0 else new_root
        if path or old_root != expected or (old == new and old_root != new_root):
            raise ProofInvalidError("the trees are not consistent", got=old_root.hex(), expected=new_root.hex())
        return
    nodes = list(path) if old & (old - 1) else [old_root, *path]
    first, last = old - 1, new - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    if not nodes or old > new:
        raise ProofInvalidError("consistency proof of the wrong length", got=len(path))
    left = right = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            raise ProofInvalidError("consistency proof of the wrong length", got=len(path))
        if first & 1 or first == last:
            left, right = node_hash(sibling, left), node_hash(sibling, right)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            right = node_hash(right, sibling)
        first, last = first >> 1, last >> 1
    if last or left != old_root or right != new_root:
        raise ProofInvalidError("the trees are not consistent", got=right.hex(), expected=new_root.hex())
