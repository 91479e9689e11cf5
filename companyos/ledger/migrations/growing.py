"""Grows the tiles of a log out of its leaf hashes, and holds the tree against the checkpoint."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import sqlalchemy as sa

from companyos.ledger.errors import CheckpointInvalidError, EntryMissingError, TailDroppedError, TreeAlteredError
from companyos.ledger.merkle import EMPTY_ROOT
from companyos.ledger.tree import HASH, NODES, Tree
from companyos.signing import Note, SignatureInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from companyos.ledger.stores.interface import Tile

__all__ = ("grow",)

_PAGE = 4096
_INDEX: sa.ColumnClause[int] = sa.column("idx")
_LEAF: sa.ColumnClause[bytes] = sa.column("leaf")
# As bytes, whatever somebody made of them at a prompt.
_LEAVES = sa.select(_INDEX, sa.cast(_LEAF, sa.LargeBinary)).select_from(sa.table("entry")).order_by(_INDEX).limit(_PAGE)
_TILE = sa.text("INSERT INTO tile (level, idx, hashes) VALUES (:level, :idx, :hashes)")


def grow(connection: sa.Connection) -> None:
    """Store the tiles of all entries, in constant memory.

    The root must be that of the checkpoint. Whether the log's own key signed that, and whether the entries' bytes give
    their leaf hashes, is not asked: that takes keys, and `verify` asks it.

    Raises:
        LedgerDamagedError: the tree is not the one in the checkpoint.
    """
    tree = Tree()
    while page := connection.execute(_LEAVES.where(tree.size <= _INDEX)).all():
        if page[-1][0] != tree.size + len(page) - 1:
            missing = next(place for place, (index, _) in enumerate(page, tree.size) if index != place)
            raise EntryMissingError("an entry is missing", index=missing)
        tiles = tree.extend([bytes(leaf) for _, leaf in page])
        _store(connection, (tile for tile in tiles if len(tile.hashes) == NODES * HASH))
    _store(connection, tree.incomplete())
    _compare(tree, connection.execute(sa.text("SELECT note FROM head WHERE one = 1")).scalar())


def _store(connection: sa.Connection, tiles: Iterable[Tile]) -> None:
    rows = [{"level": tile.level, "idx": tile.index, "hashes": tile.hashes} for tile in tiles]
    if rows:
        connection.execute(_TILE, rows)


def _compare(tree: Tree, note: bytes | str | None) -> None:
    if not note and tree.size:
        raise TailDroppedError("the log has entries but no checkpoint")
    size, root = _state(note) if note else (0, EMPTY_ROOT)
    if tree.size < size:
        raise TailDroppedError("entries are missing at the end", index=tree.size, expected=f"{size} entries")
    if tree.size > size:
        raise TreeAlteredError("entries lie beyond the signed checkpoint", index=size, got=tree.size)
    if tree.root() != root:
        raise TreeAlteredError("the entries do not give the signed root", got=tree.root().hex())


def _state(note: bytes | str) -> tuple[int, bytes]:
    """Size and root in a checkpoint, whoever signed it."""
    try:
        _, size, root, *_ = Note.parse(note.encode() if isinstance(note, str) else bytes(note)).text.split("\n")
        return int(size), base64.b64decode(root, validate=True)
    except (SignatureInvalidError, ValueError) as error:
        raise CheckpointInvalidError("the checkpoint of the log is malformed", got=str(error)) from error
