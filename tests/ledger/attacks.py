"""What somebody can do to a log who can write its database, and what gives each of it away."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from companyos.canonical import canonical_bytes
from companyos.ledger import (
    CheckpointInvalidError,
    Draft,
    EntryAlteredError,
    EntryMissingError,
    LedgerDamagedError,
    RolledBackError,
    SplitViewError,
    TailDroppedError,
    TreeAlteredError,
)
from companyos.ledger.merkle import leaf_hash
from companyos.ledger.tree import HASH, NODES, WIDTH, Tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.signing import PublicKey
    from tests.ledger.backends import Log

__all__ = ("CASES", "EARLIER", "SIZE", "Case", "World", "fill")

SIZE = 600
"""Two complete tiles of entries, an incomplete one, and a tile above them."""
EARLIER = 300
"""Size at which the honest observer kept a checkpoint."""
DETACHED = {6, 550}
"""Entries whose payload lies beside the log, one in a complete tile and one in the incomplete."""
INSIDE, LATE = 400, 560
"""An entry under a complete tile, and one that is not."""


class World(NamedTuple):
    """A log that was written honestly, and what an honest observer kept of it."""

    log: Log
    """Where it is."""
    key: PublicKey
    """Its key."""
    old: bytes
    """Its checkpoint at `EARLIER`."""
    new: bytes
    """Its checkpoint at `SIZE`."""
    raws: list[bytes]
    """Its entries."""


def fill(log: Log, count: int) -> bytes:
    """Append entries up to `count`, and return the checkpoint."""
    with log.open() as ledger:
        ledger.append_many(
            Draft("money.moved", {"amount": 100 + number}, id=f"id-{number}", detach=number in DETACHED)
            for number in range(len(ledger), count)
        )
        return ledger.checkpoint()


def _forged(world: World, index: int) -> bytes:
    return canonical_bytes(json.loads(world.raws[index]) | {"data": {"amount": 999}})


def _other(world: World, name: str) -> bytes:
    return canonical_bytes(json.loads(world.raws[0]) | {"id": name})


def rebuild(world: World) -> None:
    """Give the database every hash and every tile that its present entries call for."""
    rows = world.log.sql("SELECT idx, raw FROM entry ORDER BY idx")
    leaves = [leaf_hash(bytes(raw)) for _, raw in rows]
    tree = Tree()
    tiles = [tile for tile in tree.extend(leaves) if len(tile.hashes) == NODES * HASH] + tree.incomplete()
    world.log.sql("DELETE FROM tile")
    world.log.many("INSERT INTO tile VALUES (?, ?, ?)", tiles)
    world.log.many(
        "UPDATE entry SET leaf = ? WHERE idx = ?", [(leaf, row[0]) for leaf, row in zip(leaves, rows, strict=True)]
    )


def edit_value(world: World, index: int = INSIDE) -> None:
    """Change an amount."""
    world.log.sql(("UPDATE entry SET raw = ? WHERE idx = ?", _forged(world, index), index))


def edit_value_in_the_tail(world: World) -> None:
    """The same with an entry that no complete tile covers."""
    edit_value(world, LATE)


def edit_value_and_leaf(world: World, index: int = INSIDE) -> None:
    """Change an amount and its hash."""
    forged = _forged(world, index)
    world.log.sql(("UPDATE entry SET raw = ?, leaf = ? WHERE idx = ?", forged, leaf_hash(forged), index))


def edit_value_and_leaf_in_the_tail(world: World) -> None:
    """The same with an entry that no complete tile covers."""
    edit_value_and_leaf(world, LATE)


def edit_value_leaf_and_tile(world: World) -> None:
    """Change an amount, its hash and the tile over it, and leave the tile above that."""
    upper = world.log.one("SELECT hashes FROM tile WHERE level = 1")
    edit_value_leaf_and_all_tiles(world)
    world.log.sql(("UPDATE tile SET hashes = ? WHERE level = 1", bytes(upper)))


def edit_value_leaf_and_all_tiles(world: World) -> None:
    """Change an amount, its hash and every tile."""
    edit_value(world)
    rebuild(world)


def edit_to_what_is_no_entry(world: World) -> None:
    """Replace an entry by bytes that are no JSON."""
    world.log.sql(("UPDATE entry SET raw = ? WHERE idx = ?", b"\x00\xff", INSIDE))


def empty_an_entry(world: World) -> None:
    """Replace the newest entry by nothing."""
    world.log.sql(("UPDATE entry SET raw = ? WHERE idx = ?", b"", SIZE - 1))


def edit_time_to_none(world: World) -> None:
    """Take the zone from the time of the newest entry, so that it cannot be compared with a clock any more."""
    raw = world.raws[-1].replace(b'Z","type"', b'0","type"')
    world.log.sql(("UPDATE entry SET raw = ? WHERE idx = ?", raw, SIZE - 1))


def edit_time_to_the_first_year(world: World) -> None:
    """Let the newest entry be of the first year that a calendar has."""
    year = json.loads(world.raws[-1])["time"][:10].encode()
    world.log.sql(("UPDATE entry SET raw = ? WHERE idx = ?", world.raws[-1].replace(year, b"0001-01-01"), SIZE - 1))


def edit_payload(world: World) -> None:
    """Change the payloads that were detached."""
    world.log.sql(("UPDATE detached SET payload = ?", b'{"amount":999}'))


def edit_salt(world: World) -> None:
    """Change the salts of their commitments."""
    world.log.sql(("UPDATE detached SET salt = ?", bytes(32)))


def edit_leaf(world: World) -> None:
    """Change only the hash of an entry under a complete tile, by which nothing is proved any more."""
    world.log.sql(("UPDATE entry SET leaf = ? WHERE idx = ?", bytes(32), INSIDE))


def edit_leaf_in_the_tail(world: World) -> None:
    """Change only the hash of an entry that no complete tile covers."""
    world.log.sql(("UPDATE entry SET leaf = ? WHERE idx = ?", bytes(32), LATE))


def shorten_leaf_in_the_tail(world: World) -> None:
    """Make the hash of such an entry shorter."""
    world.log.sql(("UPDATE entry SET leaf = ? WHERE idx = ?", b"x", LATE))


def edit_id(world: World) -> None:
    """Give an entry another id in the column by which repeated appends are recognised."""
    world.log.sql("UPDATE entry SET id = 'other' WHERE idx = 5")


def edit_source(world: World) -> None:
    """The same with its source."""
    world.log.sql(("UPDATE entry SET source = 'other' WHERE idx = ?", LATE))


def swap_ids(world: World) -> None:
    """Let two entries change their ids in these columns."""
    world.log.sql(
        "UPDATE entry SET id = 'x' WHERE idx = 5",
        "UPDATE entry SET id = 'id-5' WHERE idx = 7",
        "UPDATE entry SET id = 'id-7' WHERE idx = 5",
    )


def _edit_tile(world: World, level: int, index: int, place: int) -> None:
    hashes = bytes(world.log.one("SELECT hashes FROM tile WHERE level = ? AND idx = ?", level, index))
    spoilt = hashes[: place * HASH] + bytes(HASH) + hashes[(place + 1) * HASH :]
    world.log.sql(("UPDATE tile SET hashes = ? WHERE level = ? AND idx = ?", spoilt, level, index))


def corrupt_tile(world: World) -> None:
    """Change a hash in a complete tile."""
    _edit_tile(world, 0, 1, 44)


def corrupt_nodes_of_tile(world: World) -> None:
    """Change a node that is kept above the hashes of a complete tile: the one over its entries 44 to 47."""
    _edit_tile(world, 0, 1, WIDTH + WIDTH // 2 + 11)


def corrupt_upper_tile(world: World) -> None:
    """Change a hash in the tile above."""
    _edit_tile(world, 1, 0, 1)


def cut_tile_short(world: World) -> None:
    """Leave the nodes out of a complete tile."""
    world.log.sql("UPDATE tile SET hashes = substr(hashes, 1, 8192) WHERE level = 0 AND idx = 1")


def empty_tile(world: World) -> None:
    """Leave nothing of a complete tile."""
    world.log.sql(("UPDATE tile SET hashes = ? WHERE level = 0 AND idx = 1", b""))


def delete_tile(world: World) -> None:
    """Delete a complete tile."""
    world.log.sql("DELETE FROM tile WHERE level = 0 AND idx = 1")


def delete_upper_tile(world: World) -> None:
    """Delete the tile above."""
    world.log.sql("DELETE FROM tile WHERE level = 1")


def swap_tiles(world: World) -> None:
    """Let two complete tiles change places."""
    statement = "UPDATE tile SET idx = ? WHERE level = 0 AND idx = ?"
    world.log.sql((statement, 9, 0), (statement, 0, 1), (statement, 1, 9))


def plant_tile(world: World) -> None:
    """Add a tile that lies beyond the log."""
    world.log.sql(("INSERT INTO tile VALUES (0, 5, ?)", bytes(NODES * HASH)))


def plant_level(world: World) -> None:
    """Add a tile of a level that the log does not reach."""
    world.log.sql(("INSERT INTO tile VALUES (2, 0, ?)", bytes(HASH)))


def drop_tail(world: World) -> None:
    """Delete the newest entries."""
    world.log.sql("DELETE FROM entry WHERE idx >= 590")


def drop_tail_across_a_tile(world: World) -> None:
    """Delete so many that a complete tile loses some."""
    world.log.sql("DELETE FROM entry WHERE idx >= 500")


def drop_tail_and_rebuild(world: World) -> None:
    """Delete the newest entries and give the rest the tiles it calls for."""
    world.log.sql("DELETE FROM entry WHERE idx >= 500")
    rebuild(world)


def drop_everything(world: World) -> None:
    """Delete every entry and tile, and keep the checkpoint."""
    world.log.sql("DELETE FROM entry", "DELETE FROM tile")


def cut_middle(world: World, index: int = INSIDE) -> None:
    """Delete one entry."""
    world.log.sql(("DELETE FROM entry WHERE idx = ?", index))


def cut_middle_of_the_tail(world: World) -> None:
    """Delete one that no complete tile covers."""
    cut_middle(world, LATE)


def cut_where_a_tile_ends(world: World) -> None:
    """Delete the last entry of a tile."""
    cut_middle(world, WIDTH - 1)


def cut_middle_and_renumber(world: World, index: int = INSIDE) -> None:
    """Delete one entry and close the gap."""
    _move(world, index, SIZE, -1)


def cut_middle_renumber_and_rebuild(world: World) -> None:
    """The same, with the tiles that the rest calls for."""
    cut_middle_and_renumber(world)
    rebuild(world)


def cut_first(world: World) -> None:
    """Delete the first entry."""
    cut_middle(world, 0)


def _move(world: World, start: int, end: int, by: int) -> None:
    """Move the entries [start, end) by one place, deleting what is in the way."""
    world.log.sql(
        ("DELETE FROM entry WHERE idx = ?", start if by < 0 else end),
        ("UPDATE entry SET idx = idx + 100000 WHERE idx >= ? AND idx < ?", start, end),
        ("UPDATE entry SET idx = idx - 100000 + ? WHERE idx >= 100000", by),
    )


def reorder(world: World, one: int = INSIDE, other: int = 450) -> None:
    """Let two entries change places, hashes and all."""
    world.log.sql(
        *(
            ("UPDATE entry SET idx = ? WHERE idx = ?", new, old)
            for old, new in ((one, 99999), (other, one), (99999, other))
        )
    )


def reorder_the_tail(world: World) -> None:
    """The same with two that no complete tile covers."""
    reorder(world, LATE, LATE + 9)


def _insert(world: World, index: int) -> None:
    raw = _other(world, "extra")
    row = (index, "extra", "test.example/log", raw, leaf_hash(raw), bytes(32))
    world.log.sql(("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", *row))


def insert_at_end(world: World) -> None:
    """Add an entry without the key."""
    _insert(world, SIZE)


def insert_at_end_and_rebuild(world: World) -> None:
    """Add an entry without the key, and the tiles it calls for."""
    _insert(world, SIZE)
    rebuild(world)


def insert_far_away(world: World) -> None:
    """Add an entry at a place far beyond the end."""
    _insert(world, 10**6)


def insert_in_middle(world: World) -> None:
    """Add an entry in the middle and move the others up."""
    _move(world, INSIDE, SIZE, 1)
    _insert(world, INSIDE)


def put_checkpoint_away(world: World) -> None:
    """Delete the checkpoint."""
    world.log.sql("DELETE FROM head")


def write_own_checkpoint(world: World) -> None:
    """Change the size in the checkpoint and leave its signature."""
    world.log.sql(
        ("UPDATE head SET note = ?", world.new.replace(b"\n600\n", b"\n599\n")), "DELETE FROM entry WHERE idx = 599"
    )


def old_checkpoint_over_new_entries(world: World) -> None:
    """Put an old checkpoint back and keep the entries after it."""
    world.log.sql(("UPDATE head SET note = ?", world.old))


def checkpoint_of_nonsense(world: World) -> None:
    """Replace the checkpoint by text."""
    world.log.sql(("UPDATE head SET note = ?", b"hello"))


def swap_key(world: World) -> None:
    """Write a whole new history and sign it with a key of one's own."""
    world.log.drop()
    for path in world.log.folder.iterdir():
        path.unlink()
    fill(world.log, SIZE)


def roll_back(world: World) -> None:
    """Delete the newest entries and put the checkpoint of that time back: what restoring a backup does."""
    world.log.sql(("DELETE FROM entry WHERE idx >= ?", EARLIER), ("UPDATE head SET note = ?", world.old))
    rebuild(world)


def show_two_views(world: World) -> None:
    """Roll back and go on with another history, signed by the log's own key."""
    roll_back(world)
    with world.log.open() as ledger:
        ledger.append_many(Draft("money.moved", {"amount": -number}) for number in range(EARLIER, SIZE + 5))


class Case(NamedTuple):
    """An attack, and what finds it."""

    attack: Callable[[World], None]
    """The attack."""
    error: type[LedgerDamagedError]
    """The error by which it is found."""
    index: int | None
    """The first bad index that the error names."""
    needs: str = "key"
    """What it takes: the public key; `deep`, that is `verify(deep=True)`; or `anchor`, the checkpoint at `SIZE`."""
    refused: bool = False
    """Whether an append already refuses to sign on top of it."""


CASES = (
    Case(edit_value, EntryAlteredError, INSIDE),
    Case(edit_value_in_the_tail, EntryAlteredError, LATE),
    Case(edit_value_and_leaf, EntryAlteredError, INSIDE),
    Case(edit_value_and_leaf_in_the_tail, TreeAlteredError, None, refused=True),
    Case(edit_value_leaf_and_tile, TreeAlteredError, WIDTH),
    Case(edit_value_leaf_and_all_tiles, TreeAlteredError, None, refused=True),
    Case(edit_to_what_is_no_entry, EntryAlteredError, INSIDE),
    Case(empty_an_entry, EntryAlteredError, SIZE - 1, refused=True),
    Case(edit_time_to_none, EntryAlteredError, SIZE - 1, refused=True),
    Case(edit_time_to_the_first_year, EntryAlteredError, SIZE - 1),
    Case(edit_payload, EntryAlteredError, 6),
    Case(edit_salt, EntryAlteredError, 6),
    Case(edit_leaf, EntryAlteredError, INSIDE, "deep"),
    Case(edit_leaf_in_the_tail, EntryAlteredError, LATE, refused=True),
    Case(shorten_leaf_in_the_tail, EntryAlteredError, LATE, refused=True),
    Case(edit_id, EntryAlteredError, 5, "deep"),
    Case(edit_source, EntryAlteredError, LATE, "deep"),
    Case(swap_ids, EntryAlteredError, 5, "deep"),
    Case(corrupt_tile, TreeAlteredError, WIDTH + 44),
    Case(corrupt_nodes_of_tile, TreeAlteredError, WIDTH + 44),
    Case(corrupt_upper_tile, TreeAlteredError, WIDTH, refused=True),
    Case(cut_tile_short, TreeAlteredError, WIDTH),
    Case(empty_tile, TreeAlteredError, WIDTH),
    Case(delete_tile, TreeAlteredError, WIDTH),
    Case(delete_upper_tile, TreeAlteredError, 0, refused=True),
    Case(swap_tiles, TreeAlteredError, 0),
    Case(plant_tile, TreeAlteredError, SIZE),
    Case(plant_level, TreeAlteredError, SIZE),
    Case(drop_tail, TailDroppedError, 590, refused=True),
    Case(drop_tail_across_a_tile, TailDroppedError, 500, refused=True),
    Case(drop_tail_and_rebuild, TailDroppedError, 500, refused=True),
    Case(drop_everything, TailDroppedError, 0, refused=True),
    Case(cut_middle, EntryMissingError, INSIDE),
    Case(cut_middle_of_the_tail, EntryMissingError, LATE, refused=True),
    Case(cut_where_a_tile_ends, EntryMissingError, WIDTH - 1),
    Case(cut_middle_and_renumber, EntryAlteredError, INSIDE, refused=True),
    Case(cut_middle_renumber_and_rebuild, TailDroppedError, SIZE - 1, refused=True),
    Case(cut_first, EntryMissingError, 0),
    Case(reorder, EntryAlteredError, INSIDE),
    Case(reorder_the_tail, TreeAlteredError, None, refused=True),
    Case(insert_at_end, TreeAlteredError, SIZE, refused=True),
    Case(insert_at_end_and_rebuild, TreeAlteredError, SIZE, refused=True),
    Case(insert_far_away, EntryMissingError, SIZE, refused=True),
    Case(insert_in_middle, EntryAlteredError, INSIDE, refused=True),
    Case(put_checkpoint_away, TailDroppedError, None, refused=True),
    Case(write_own_checkpoint, CheckpointInvalidError, None, refused=True),
    Case(old_checkpoint_over_new_entries, TreeAlteredError, EARLIER, refused=True),
    Case(checkpoint_of_nonsense, CheckpointInvalidError, None, refused=True),
    Case(swap_key, CheckpointInvalidError, None),
    Case(roll_back, RolledBackError, EARLIER, "anchor"),
    Case(show_two_views, SplitViewError, None, "anchor"),
)
"""The matrix."""
