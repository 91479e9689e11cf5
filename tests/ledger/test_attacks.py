"""The attack matrix: what somebody with the file but not the key can do to a log, and what sees it."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

import pytest

from companyos.canonical import canonical_bytes
from companyos.ledger import (
    CheckpointInvalidError,
    EntryAlteredError,
    EntryMissingError,
    Ledger,
    LedgerDamagedError,
    RolledBackError,
    SplitViewError,
    StoreUnreadableError,
    TailDroppedError,
    TreeAlteredError,
)
from companyos.ledger.merkle import Frontier, leaf_hash
from companyos.signing import PublicKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ORIGIN = "test.example/log"
SIZE, EARLIER = 13, 8


class World(NamedTuple):
    """A log that was written honestly, and what an honest witness kept of it."""

    path: Path
    key: PublicKey
    old: bytes
    """The checkpoint at size 8."""
    new: bytes
    """The checkpoint at size 13."""
    raws: list[bytes]


def _fill(url, count):
    with Ledger.open(url, origin=ORIGIN) as ledger:
        for number in range(len(ledger), count):
            ledger.append("money.moved", {"amount": 100 + number}, id=f"id-{number}", detach=number == 6)
        return ledger.checkpoint(), ledger.verifier.key, [ledger.raw(index) for index in range(count)]


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """The honest log, written once."""
    path = tmp_path_factory.mktemp("honest") / "ledger.db"
    old, _, _ = _fill(f"sqlite:///{path}", EARLIER)
    new, key, raws = _fill(f"sqlite:///{path}", SIZE)
    return World(path, key, old, new, raws)


@pytest.fixture
def world(honest, tmp_path):
    """A copy of it to be attacked, keys included."""
    shutil.copytree(honest.path.parent, tmp_path / "copy")
    return honest._replace(path=tmp_path / "copy" / "ledger.db")


def _sql(world, *statements):
    database = sqlite3.connect(world.path, isolation_level=None)
    for statement in statements:
        query, *parameters = (statement,) if isinstance(statement, str) else statement
        database.execute(query, parameters)
    database.close()


def _verify(world, against=None, *, deep=True):
    with Ledger.open_readonly(f"sqlite:///{world.path}", [world.key], origin=ORIGIN) as ledger:
        return ledger.verify(against=against, deep=deep)


def _forged(world, index):
    value = json.loads(world.raws[index])
    value["data"] = {"amount": 999}
    return canonical_bytes(value)


def _rebuild(world):
    """Give the database every inner node that its present entries call for."""
    database = sqlite3.connect(world.path, isolation_level=None)
    frontier = Frontier()
    database.execute("DELETE FROM node")
    for index, raw in database.execute("SELECT idx, raw FROM entry ORDER BY idx").fetchall():
        leaf = leaf_hash(raw)
        database.execute("UPDATE entry SET leaf = ? WHERE idx = ?", (leaf, index))
        database.executemany("INSERT INTO node VALUES (?, ?, ?)", frontier.push(leaf))
    database.close()


def edit_value(world, index=4):
    """Change an amount."""
    _sql(world, ("UPDATE entry SET raw = ? WHERE idx = ?", _forged(world, index), index))


def edit_value_as_text(world):
    """Change an amount the way somebody at a SQL prompt does, which turns the bytes into text."""
    _sql(world, "UPDATE entry SET raw = replace(raw, '104', '999') WHERE idx = 4")


def edit_value_and_leaf(world, index=4):
    """Change an amount and its hash."""
    forged = _forged(world, index)
    _sql(world, ("UPDATE entry SET raw = ?, leaf = ? WHERE idx = ?", forged, leaf_hash(forged), index))


def edit_last_value_and_leaf(world):
    """The same with the newest entry, which no inner node covers yet."""
    edit_value_and_leaf(world, SIZE - 1)


def edit_value_leaf_and_nodes(world):
    """Change an amount, its hash and every inner node above it."""
    edit_value(world)
    _rebuild(world)


def edit_commitment(world):
    """Change the payload that was detached from entry 6."""
    _sql(world, ("UPDATE detached SET payload = ?", b'{"amount":999}'))


def edit_id(world):
    """Give an entry another id in the index columns."""
    _sql(world, "UPDATE entry SET id = 'other' WHERE idx = 5")


def edit_node(world):
    """Change one inner node."""
    _sql(world, ("UPDATE node SET hash = ? WHERE level = 1 AND idx = 2", bytes(32)))


def drop_node(world):
    """Delete one inner node."""
    _sql(world, "DELETE FROM node WHERE level = 1 AND idx = 2")


def drop_tail(world):
    """Delete the newest entries."""
    _sql(world, "DELETE FROM entry WHERE idx >= 10")


def drop_everything(world):
    """Delete every entry, and keep the checkpoint."""
    _sql(world, "DELETE FROM entry", "DELETE FROM node")


def cut_middle(world):
    """Delete one entry."""
    _sql(world, "DELETE FROM entry WHERE idx = 5")


def cut_middle_and_renumber(world):
    """Delete one entry and close the gap."""
    _sql(world, "DELETE FROM entry WHERE idx = 5")
    for index in range(6, SIZE):
        _sql(world, ("UPDATE entry SET idx = ? WHERE idx = ?", index - 1, index))


def cut_first(world):
    """Delete the first entry."""
    _sql(world, "DELETE FROM entry WHERE idx = 0")


def reorder(world):
    """Let two entries change places, hashes and all."""
    _sql(
        world,
        "UPDATE entry SET idx = 100 WHERE idx = 3",
        "UPDATE entry SET idx = 3 WHERE idx = 9",
        "UPDATE entry SET idx = 9 WHERE idx = 100",
    )


def insert_at_end(world):
    """Add an entry without the key."""
    raw = canonical_bytes(json.loads(world.raws[0]) | {"id": "extra"})
    _sql(world, ("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", SIZE, "extra", ORIGIN, raw, leaf_hash(raw), bytes(32)))
    _rebuild(world)


def insert_in_middle(world):
    """Add an entry in the middle and move the others up."""
    for index in range(SIZE - 1, 6, -1):
        _sql(world, ("UPDATE entry SET idx = ? WHERE idx = ?", index + 1, index))
    raw = canonical_bytes(json.loads(world.raws[0]) | {"id": "extra"})
    _sql(world, ("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", 7, "extra", ORIGIN, raw, leaf_hash(raw), bytes(32)))


def put_checkpoint_away(world):
    """Delete the checkpoint."""
    _sql(world, "DELETE FROM head")


def write_own_checkpoint(world):
    """Change the size in the checkpoint and leave its signature."""
    note = world.new.replace(b"\n13\n", b"\n12\n")
    _sql(world, ("UPDATE head SET note = ?", note), "DELETE FROM entry WHERE idx = 12")


def old_checkpoint_over_new_entries(world):
    """Put an old checkpoint back and keep the entries after it."""
    _sql(world, ("UPDATE head SET note = ?", world.old))


def checkpoint_of_nonsense(world):
    """Replace the checkpoint by text."""
    _sql(world, "UPDATE head SET note = 'hello'")


def swap_key(world):
    """Write a whole new history and sign it with a key of one's own."""
    shutil.rmtree(world.path.parent)
    _fill(f"sqlite:///{world.path}", SIZE)


class Case(NamedTuple):
    """An attack, the error by which it is found, and the first bad index that is named."""

    attack: Callable[[World], None]
    error: type[LedgerDamagedError]
    index: int | None


SEEN_BY_THE_KEY_ALONE = (
    Case(edit_value, EntryAlteredError, 4),
    Case(edit_value_as_text, EntryAlteredError, 4),
    Case(edit_value_and_leaf, EntryAlteredError, 4),
    Case(edit_last_value_and_leaf, TreeAlteredError, None),
    Case(edit_value_leaf_and_nodes, TreeAlteredError, None),
    Case(edit_commitment, EntryAlteredError, 6),
    Case(edit_id, EntryAlteredError, 5),
    Case(edit_node, EntryAlteredError, 4),
    Case(drop_node, EntryMissingError, 4),
    Case(drop_tail, TailDroppedError, 10),
    Case(drop_everything, TailDroppedError, 0),
    Case(cut_middle, EntryMissingError, 5),
    Case(cut_middle_and_renumber, EntryAlteredError, 4),
    Case(cut_first, EntryMissingError, 0),
    Case(reorder, EntryAlteredError, 2),
    Case(insert_at_end, TreeAlteredError, 13),
    Case(insert_in_middle, EntryAlteredError, 6),
    Case(put_checkpoint_away, TailDroppedError, None),
    Case(write_own_checkpoint, CheckpointInvalidError, None),
    Case(old_checkpoint_over_new_entries, TreeAlteredError, 8),
    Case(checkpoint_of_nonsense, CheckpointInvalidError, None),
    Case(swap_key, CheckpointInvalidError, None),
)


def test_honest_log(world):
    """The log that nobody touched verifies, alone and against both checkpoints kept elsewhere."""
    assert not _verify(world).anchored
    assert "rollback not excluded" in str(_verify(world))
    for anchor in (world.old, world.new):
        assert _verify(world, anchor).anchored
        assert _verify(world, anchor).size == SIZE


@pytest.mark.parametrize("case", SEEN_BY_THE_KEY_ALONE, ids=lambda case: case.attack.__name__)
def test_seen_by_the_public_key_alone(world, case):
    """These attacks are found with nothing but the public key, each by its name and first bad index."""
    case.attack(world)

    with pytest.raises(LedgerDamagedError) as caught:
        _verify(world)

    assert (type(caught.value), caught.value.index) == (case.error, case.index), str(caught.value)
    assert caught.value.exit_status == 1


@pytest.mark.parametrize("case", SEEN_BY_THE_KEY_ALONE, ids=lambda case: case.attack.__name__)
def test_an_anchor_never_hides_an_attack(world, case):
    """With an anchor the same attacks are found as well."""
    case.attack(world)

    for anchor in (world.old, world.new):
        with pytest.raises(LedgerDamagedError):
            _verify(world, anchor)


NEED_THE_WALK = {
    "edit_value", "edit_value_as_text", "edit_value_and_leaf", "edit_commitment", "edit_id", "edit_node", "drop_node",
    "cut_middle", "cut_first", "reorder",
}  # fmt: skip
KEYLESS = [case for case in SEEN_BY_THE_KEY_ALONE if case.attack is not swap_key]


@pytest.mark.parametrize("case", KEYLESS, ids=lambda case: case.attack.__name__)
def test_an_append_never_makes_a_forgery_genuine(world, case):
    """After an attack the next append refuses, or changes nothing about its being found."""
    case.attack(world)

    with Ledger.open(f"sqlite:///{world.path}", origin=ORIGIN) as ledger:
        try:
            ledger.append("money.moved", {"amount": 1})
            assert case.attack.__name__ in NEED_THE_WALK
        except LedgerDamagedError:
            assert case.attack.__name__ not in NEED_THE_WALK

    with pytest.raises(LedgerDamagedError):
        _verify(world)


def drop_tail_and_roll_back(world):
    """Delete the newest entries and put the checkpoint of that time back: a backup restored, to be exact."""
    _sql(world, "DELETE FROM entry WHERE idx >= 8", ("UPDATE head SET note = ?", world.old))
    _rebuild(world)


def test_rollback_is_seen_by_an_anchor_only(world):
    """A log set back to an earlier state of its own is consistent; only a newer checkpoint kept elsewhere tells."""
    drop_tail_and_roll_back(world)

    alone = _verify(world)
    assert (alone.size, alone.anchored) == (EARLIER, False)
    assert _verify(world, world.old).anchored
    with pytest.raises(RolledBackError) as caught:
        _verify(world, world.new)
    assert caught.value.index == EARLIER


@pytest.mark.parametrize("size", [EARLIER + 2, SIZE, SIZE + 3])
def test_two_views_are_seen_by_an_anchor_only(world, size):
    """Two histories signed by the log's own key each verify; the checkpoint of one condemns the other."""
    drop_tail_and_roll_back(world)
    with Ledger.open(f"sqlite:///{world.path}", origin=ORIGIN) as ledger:
        for number in range(EARLIER, size):
            ledger.append("money.moved", {"amount": -number})
        other = ledger.checkpoint()

    assert _verify(world).size == size
    assert _verify(world, other).anchored
    with pytest.raises(RolledBackError if size < SIZE else SplitViewError):
        _verify(world, world.new)


def test_first_view_condemns_the_second(honest, world):
    """Seen from the honest log, the checkpoint that the other view signed is of another history."""
    drop_tail_and_roll_back(world)
    with Ledger.open(f"sqlite:///{world.path}", origin=ORIGIN) as ledger:
        ledger.append("money.moved", {"amount": -1})
        other = ledger.checkpoint()

    with pytest.raises(SplitViewError):
        _verify(honest, other)


def test_stolen_database_key_swapped_in_place(world):
    """Somebody who swaps the key pair beside the log fools those who trust that directory, not who kept the key."""
    swap_key(world)
    new = PublicKey.load(f"file:{world.path.with_name(world.path.name + '.keys') / 'ledger.pem.pub'}")

    assert _verify(world._replace(key=new)).size == SIZE
    with pytest.raises(CheckpointInvalidError):
        _verify(world)
    with pytest.raises(CheckpointInvalidError):
        _verify(world._replace(key=new), world.new)


def test_foreign_anchor(world, tmp_path):
    """An anchor that is no checkpoint, or of another log, is an error and never silently no anchor."""
    other, _, _ = _fill(f"sqlite:///{tmp_path / 'other.db'}", 1)
    for anchor in (other, b"", b"hello", world.new[:-5]):
        with pytest.raises(CheckpointInvalidError):
            _verify(world, anchor)


def test_dropped_payload_is_no_damage(world):
    """A detached payload may be dropped: its entry, its proof and the log stay valid, and it is counted."""
    _sql(world, "DELETE FROM detached")

    assert _verify(world, world.new).dropped_payloads == 1
    with Ledger.open_readonly(f"sqlite:///{world.path}", [world.key], origin=ORIGIN) as ledger:
        assert [entry.index for entry in ledger.read() if entry.data is None] == [6]
        ledger.prove(6).verify(ledger.raw(6), [ledger.verifier])


def test_reading_a_damaged_entry(world):
    """Reading an entry whose bytes are not an entry names it."""
    _sql(world, "UPDATE entry SET raw = x'00ff' WHERE idx = 3")

    with Ledger.open_readonly(f"sqlite:///{world.path}", [world.key], origin=ORIGIN) as ledger:
        assert [entry.index for entry in ledger.read(0, 3)] == [0, 1, 2]
        with pytest.raises(EntryAlteredError) as caught:
            list(ledger.read())
    assert caught.value.index == 3


def _noise(size):
    return random.Random(1).randbytes(size)


def not_a_database(path):
    """Text where the database was."""
    path.write_text("once upon a time " * 1000)


def empty_file(path):
    """Nothing where the database was."""
    path.write_bytes(b"")


def truncated(path):
    """The first half of the database."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def first_page_only(path):
    """The first page of the database."""
    path.write_bytes(path.read_bytes()[:4096])


def pages_overwritten(path):
    """Noise in every page but the first."""
    data = path.read_bytes()
    path.write_bytes(data[:4096] + _noise(len(data) - 4096))


def header_overwritten(path):
    """Noise in the header."""
    path.write_bytes(_noise(100) + path.read_bytes()[100:])


def other_application(path):
    """The database of another application."""
    path.unlink()
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE entry (idx)")
    database.close()


def newer_schema(path):
    """A log written by a later version."""
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()


def a_directory(path):
    """A directory where the database was."""
    path.unlink()
    path.mkdir()


def not_there(path):
    """No file at all."""
    path.unlink()


UNREADABLE = (
    not_a_database, empty_file, truncated, first_page_only, pages_overwritten, header_overwritten, other_application,
    newer_schema, a_directory, not_there,
)  # fmt: skip


@pytest.mark.parametrize("attack", UNREADABLE, ids=lambda attack: attack.__name__)
def test_unreadable_is_never_a_pass(world, attack):
    """A file that cannot be read as a log is `could not check`, with its own exit status; it is not written to."""
    attack(world.path)
    before = world.path.read_bytes() if world.path.is_file() else None

    with pytest.raises(StoreUnreadableError) as caught:
        _verify(world)

    assert caught.value.exit_status == 3
    assert before == (world.path.read_bytes() if world.path.is_file() else None)


@pytest.mark.parametrize(
    "attack",
    [not_a_database, header_overwritten, other_application, newer_schema, a_directory],
    ids=lambda attack: attack.__name__,
)
def test_writers_leave_foreign_files_alone(world, attack):
    """Opening for writing refuses what is no log of this version, and leaves every byte of it as it was."""
    attack(world.path)
    before = world.path.read_bytes() if world.path.is_file() else None

    with pytest.raises(StoreUnreadableError):
        Ledger.open(f"sqlite:///{world.path}", origin=ORIGIN)

    assert before == (world.path.read_bytes() if world.path.is_file() else None)


def test_flipped_bits_anywhere(world):
    """Whatever byte of the file is flipped: it is found, or not one byte of any entry reads differently."""
    whole, chance = world.path.read_bytes(), random.Random(20261121)
    found = 0
    for _ in range(250):
        place = chance.randrange(len(whole))
        world.path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :])
        try:
            assert _verify(world, world.new).size == SIZE
        except (LedgerDamagedError, StoreUnreadableError):
            found += 1
            continue
        with Ledger.open_readonly(f"sqlite:///{world.path}", [world.key], origin=ORIGIN) as ledger:
            assert [ledger.raw(index) for index in range(SIZE)] == world.raws

    assert found > 20
