"""The growing Merkle tree of a log, in tiles of 256 hashes (C2SP tlog-tiles), and nodes looked up in stored tiles.

A complete tile is kept with the inner nodes above its hashes, so that a proof reads one tile a level and hashes almost
nothing. Tile level `n` holds the nodes of tree levels `8n` to `8n + 7`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from companyos.ledger.errors import EntryMissingError
from companyos.ledger.merkle import EMPTY_ROOT, inclusion_path, node_hash, node_hashes, range_root
from companyos.ledger.stores.interface import Tile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ("HASH", "NODES", "WIDTH", "Builder", "Nodes", "TileSource", "Tree")

HASH = 32
"""Bytes of a hash."""
WIDTH = 256
"""Hashes of a complete tile."""
NODES = 510
"""Hashes of a complete tile with the nodes above them, down from the two below its root."""
_OFFSETS = tuple(2 * WIDTH - (2 * WIDTH >> level) for level in range(8))


class TileSource(Protocol):
    """Where stored leaf hashes and tiles are read."""

    def leaves(self, start: int, end: int) -> list[bytes]:
        """The leaf hashes of the entries [start, end), as far as they are there."""
        ...

    def tile(self, level: int, index: int) -> bytes | None:
        """The hashes of a tile; None if it is not stored."""
        ...


class Builder:
    """One tile in the making: its hashes and the nodes above them."""

    __slots__ = ("levels",)

    def __init__(self, hashes: Iterable[bytes] = ()) -> None:
        self.levels: tuple[list[bytes], ...] = tuple([] for _ in range(9))
        self.extend(hashes)

    def __len__(self) -> int:
        return len(self.levels[0])

    def extend(self, hashes: Iterable[bytes]) -> None:
        """Add hashes, not more than there is room for."""
        below = self.levels[0]
        below.extend(hashes)
        for above in self.levels[1:]:
            done = 2 * len(above)
            if len(below) < done + 2:
                return
            above.extend(node_hashes(below[done : len(below) & ~1]))
            below = above

    def hashes(self) -> bytes:
        """What is stored of the tile."""
        if len(self) < WIDTH:
            return b"".join(self.levels[0])
        return b"".join([b"".join(level) for level in self.levels[:8]])

    def edge(self) -> list[bytes]:
        """The roots of the complete subtrees of an incomplete tile, smallest first."""
        return [level[-1] for level in self.levels[:8] if len(level) & 1]


class Tree:
    """A tree that grows, and remembers of itself the tiles that are not complete."""

    def __init__(self) -> None:
        self.size = 0
        self._builders = [Builder()]

    @classmethod
    def load(cls, source: TileSource, size: int) -> Tree:
        """The tree of the first `size` entries of what is stored.

        Raises:
            EntryMissingError: a leaf hash or a tile that it needs is not there.
        """
        tree = cls()
        tree._builders = []
        count, level = size, 0
        while count or not level:
            tree._builders.append(Builder(_stored(source, level, count)))
            count >>= 8
            level += 1
        tree.size = size
        return tree

    def catch_up(self, source: TileSource, size: int) -> Tree:
        """The same tree grown to `size` by what others stored."""
        if size == self.size:
            return self
        if size < self.size or size >> 8 != self.size >> 8:
            return Tree.load(source, size)
        leaves = source.leaves(self.size, size)
        if len(leaves) != size - self.size:
            raise EntryMissingError("an entry is missing", index=self.size + len(leaves))
        self.extend(leaves)
        return self

    def extend(self, leaves: Sequence[bytes]) -> list[Tile]:
        """Add leaf hashes and return the tiles that are to be stored."""
        tiles: list[Tile] = []
        place = 0
        while place < len(leaves):
            room = WIDTH - len(self._builders[0])
            self._builders[0].extend(leaves[place : place + room])
            place += room
            if len(self._builders[0]) == WIDTH:
                self._complete(0, self.size + min(place, len(leaves)) >> 8, tiles)
        self.size += len(leaves)
        touched = {tile.level + 1 for tile in tiles}
        return tiles + [tile for tile in self.incomplete() if tile.level in touched]

    def root(self) -> bytes:
        """The root as it stands."""
        root = None
        for builder in self._builders:
            for node in builder.edge():
                root = node if root is None else node_hash(node, root)
        return EMPTY_ROOT if root is None else root

    def node(self, level: int, index: int) -> bytes | None:
        """The root of a complete subtree, if it lies in a tile that is not complete."""
        tier, inner = divmod(level, 8)
        if tier >= len(self._builders):
            return None
        first = index - ((self.size >> 8 * (tier + 1)) << (8 - inner))
        nodes = self._builders[tier].levels[inner]
        return nodes[first] if 0 <= first < len(nodes) else None

    def incomplete(self) -> list[Tile]:
        """The tiles above level 0 that are not complete."""
        return [
            Tile(level, self.size >> 8 * (level + 1), builder.hashes())
            for level, builder in enumerate(self._builders)
            if level and len(builder)
        ]

    def _complete(self, level: int, count: int, tiles: list[Tile]) -> None:
        """Close the tile of `level`, which becomes the `count`th of it, and carry its root upwards."""
        builder = self._builders[level]
        tiles.append(Tile(level, count - 1, builder.hashes()))
        self._builders[level] = Builder()
        if len(self._builders) == level + 1:
            self._builders.append(Builder())
        self._builders[level + 1].extend([builder.levels[8][0]])
        if len(self._builders[level + 1]) == WIDTH:
            self._complete(level + 1, count >> 8, tiles)


class Nodes:
    """Looks up the roots of complete subtrees of a tree: in its incomplete tiles, else in stored ones."""

    def __init__(self, source: TileSource, tree: Tree) -> None:
        self._source = source
        self._tree = tree
        self._tiles: dict[tuple[int, int], bytes] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """The root of the subtree `index` of those with 2^`level` leaves.

        Raises:
            EntryMissingError: it is not in the store.
        """
        found = self._tree.node(level, index)
        if found is not None:
            return found
        tier, inner = divmod(level, 8)
        hashes = self._tile(tier, index >> (8 - inner))
        place = (_OFFSETS[inner] + (index & ((1 << (8 - inner)) - 1))) * HASH
        node = hashes[place : place + HASH]
        if len(node) != HASH:
            raise EntryMissingError(f"node {level}/{index} is not in the store", index=index << level)
        return node

    def path(self, index: int, size: int) -> tuple[bytes, ...]:
        """The sibling hashes that prove leaf `index` in the tree of `size`, from the leaf upwards (RFC 6962, 2.1.1).

        Raises:
            EntryMissingError: one of them is not in the store.
        """
        hashes: list[bytes] = []
        tier = 0
        # Inside complete tiles all siblings lie side by side, eight levels a tile.
        while ((index >> 8 * (tier + 1)) + 1) << 8 * (tier + 1) <= size:
            tile = self._tile(tier, index >> 8 * (tier + 1))
            if len(tile) != NODES * HASH:
                raise EntryMissingError("a tile is not in the store", index=index >> 8 * (tier + 1) << 8 * (tier + 1))
            place = index >> 8 * tier & WIDTH - 1
            places = [offset + (place >> level ^ 1) for level, offset in enumerate(_OFFSETS)]
            hashes += [tile[at * HASH : at * HASH + HASH] for at in places]
            tier += 1
        rest = inclusion_path(index, size)[8 * tier :]
        return (*hashes, *(range_root(start, end, self) for start, end in rest))

    def _tile(self, tier: int, index: int) -> bytes:
        key = tier, index
        if key not in self._tiles:
            self._tiles[key] = self._source.tile(tier, index) or b""
        return self._tiles[key]


def _stored(source: TileSource, level: int, count: int) -> list[bytes]:
    """The hashes of the incomplete tile of a level that has `count` hashes."""
    start = count & ~(WIDTH - 1)
    if start == count:
        return []
    if level == 0:
        hashes = source.leaves(start, count)
    else:
        stored = source.tile(level, count >> 8) or b""
        hashes = [stored[at : at + HASH] for at in range(0, len(stored), HASH)][: count - start]
    if len(hashes) != count - start:
        raise EntryMissingError("a part of the tree is missing", index=(start + len(hashes)) << 8 * level)
    return hashes
