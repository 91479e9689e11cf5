"""The attack matrix on every store: what finds each attack, by what name, and where."""

from __future__ import annotations

from contextlib import suppress

import pytest

from companyos.ledger import (
    CheckpointInvalidError,
    EntryAlteredError,
    EntryMissingError,
    LedgerDamagedError,
    RolledBackError,
    SplitViewError,
    TreeAlteredError,
)
from companyos.ledger.tree import HASH, NODES, WIDTH
from tests.ledger import attacks
from tests.ledger.attacks import CASES, DETACHED, EARLIER, SIZE, Case, World, fill
from tests.ledger.backends import BACKENDS, PostgresqlLog, SqliteLog

TALL = WIDTH * WIDTH + 300


def _new_log(folder, request):
    if request.param == "sqlite":
        return SqliteLog(folder)
    return PostgresqlLog(folder, request.getfixturevalue("postgresql").create_database())


@pytest.fixture(scope="module", params=BACKENDS)
def honest(request, tmp_path_factory):
    """The honest log, written once for each store."""
    log = _new_log(tmp_path_factory.mktemp("honest"), request)
    old, new = fill(log, EARLIER), fill(log, SIZE)
    with log.open() as ledger:
        return World(log, log.key(), old, new, [ledger.raw(index) for index in range(SIZE)])


@pytest.fixture
def world(honest, tmp_path):
    """A copy of it to be attacked, keys included."""
    copy = honest.log.copy(tmp_path / "copy")
    yield honest._replace(log=copy)
    copy.drop()


def verify(world, against=None, *, deep=False):
    """What somebody finds who has the public key and perhaps an anchor."""
    with world.log.reader(world.key) as ledger:
        return ledger.verify(against=against, deep=deep)


def _case(case):
    return case.attack.__name__


def _needing(*needs):
    return pytest.mark.parametrize("case", [case for case in CASES if case.needs in needs], ids=_case)


def test_honest_log(world):
    """The log that nobody touched verifies, alone and against both checkpoints kept elsewhere."""
    assert not verify(world).anchored
    assert "rollback not excluded" in str(verify(world))
    for anchor in (world.old, world.new):
        assert verify(world, anchor, deep=True).anchored
        assert verify(world, anchor).size == SIZE


@_needing("key")
@pytest.mark.parametrize("deep", [False, True])
def test_seen_by_the_public_key_alone(world, case, deep):
    """These attacks are found with nothing but the public key, each by its name and first bad index."""
    case.attack(world)

    with pytest.raises(LedgerDamagedError) as caught:
        verify(world, deep=deep)

    assert (type(caught.value), caught.value.index) == (case.error, case.index), str(caught.value)
    assert caught.value.exit_status == 1


@_needing("deep")
def test_seen_by_a_deep_verification_only(world, case):
    """What these change lies beside the entries and proves nothing; it is named by who looks there as well."""
    case.attack(world)

    assert verify(world, world.new).anchored
    with pytest.raises(case.error) as caught:
        verify(world, deep=True)
    assert (type(caught.value), caught.value.index) == (case.error, case.index)


@_needing("anchor")
def test_seen_by_an_anchor_only(world, case):
    """These leave a log that the key itself signed, and only a checkpoint kept elsewhere tells that it was another."""
    case.attack(world)

    assert not verify(world, deep=True).anchored
    assert verify(world, world.old).anchored
    with pytest.raises(case.error) as caught:
        verify(world, world.new)
    assert (type(caught.value), caught.value.index) == (case.error, case.index)


@_needing("key", "deep")
def test_an_anchor_never_hides_an_attack(world, case):
    """With an anchor the same attacks are found as well."""
    case.attack(world)

    for anchor in (world.old, world.new):
        with pytest.raises(LedgerDamagedError):
            verify(world, anchor, deep=True)


@pytest.mark.parametrize("case", [case for case in CASES if case.attack is not attacks.swap_key], ids=_case)
def test_an_append_never_makes_a_forgery_genuine(world, case):
    """After an attack the next append refuses, or changes nothing about its being found."""
    case.attack(world)

    with world.log.open() as ledger:
        if case.refused:
            with pytest.raises(LedgerDamagedError):
                ledger.append("money.moved", {"amount": 1})
        else:
            ledger.append("money.moved", {"amount": 1})

    with pytest.raises(LedgerDamagedError):
        verify(world, world.new, deep=True)


REPAIRED = {attacks.corrupt_upper_tile, attacks.delete_upper_tile, attacks.edit_value_leaf_and_tile}
"""What a writer that has the log open writes anew with its next append."""


@pytest.mark.parametrize("case", [case for case in CASES if case.attack is not attacks.swap_key], ids=_case)
def test_a_process_that_has_the_log_open(world, case):
    """A writer that knows the tree of before the attack refuses, or goes on with the true one: it signs no other."""
    with world.log.open() as ledger:
        assert ledger.append("money.moved", {"amount": 101}, id="id-1").index == 1
        case.attack(world)
        with suppress(LedgerDamagedError):
            ledger.append("money.moved", {"amount": 1}, id="after")

    try:
        found = verify(world, world.new, deep=True)
    except LedgerDamagedError:
        return
    assert case.attack in REPAIRED
    assert found.anchored
    with world.log.reader(world.key) as ledger:
        assert [ledger.raw(index) for index in range(SIZE)] == world.raws


@pytest.fixture(scope="module", params=BACKENDS)
def tall(request, tmp_path_factory):
    """A log in which a tile of the second level is complete, written once for each store."""
    log = _new_log(tmp_path_factory.mktemp("tall"), request)
    fill(log, TALL)
    return log


@pytest.mark.parametrize(
    ("level", "place", "index"),
    [
        (0, 3, 200 * WIDTH + 3),
        (0, WIDTH, 200 * WIDTH),
        (0, NODES - 1, 200 * WIDTH + WIDTH // 2),
        (1, 0, 0),
        (1, 7, 7 * WIDTH),
        (1, WIDTH + 4, 8 * WIDTH),
        (1, NODES - 1, WIDTH * WIDTH // 2),
        (2, 0, 0),
    ],
)
def test_tiles_of_every_level(tall, level, place, index):
    """A hash or a node changed in a tile of any level is found where the entries under it begin; so is a lost tile."""
    which = level, 200 if level == 0 else 0
    hashes = bytes(tall.one("SELECT hashes FROM tile WHERE level = ? AND idx = ?", *which))
    spoilt = hashes[: place * HASH] + bytes(HASH) + hashes[(place + 1) * HASH :]
    tall.sql(("UPDATE tile SET hashes = ? WHERE level = ? AND idx = ?", spoilt, *which))
    try:
        with tall.reader(tall.key()) as ledger, pytest.raises(TreeAlteredError) as altered:
            ledger.verify()
        tall.sql(("DELETE FROM tile WHERE level = ? AND idx = ?", *which))
        with tall.reader(tall.key()) as ledger, pytest.raises(TreeAlteredError) as missing:
            ledger.verify()
    finally:
        tall.sql(
            ("DELETE FROM tile WHERE level = ? AND idx = ?", *which),
            ("INSERT INTO tile VALUES (?, ?, ?)", *which, hashes),
        )

    assert altered.value.index == index
    assert missing.value.index == (200 * WIDTH if level == 0 else 0)


@pytest.mark.parametrize("size", [EARLIER + 2, SIZE, SIZE + 3])
def test_two_views_of_any_length(honest, world, size):
    """Of two histories signed by the log's own key each verifies; the checkpoint of one condemns the other."""
    attacks.roll_back(world)
    with world.log.open() as ledger:
        for number in range(EARLIER, size):
            ledger.append("money.moved", {"amount": -number})
        other = ledger.checkpoint()

    assert verify(world, other).anchored
    with pytest.raises(RolledBackError if size < SIZE else SplitViewError):
        verify(world, world.new)
    with pytest.raises(RolledBackError if size > SIZE else SplitViewError):
        verify(honest, other)


def test_stolen_database_key_swapped_in_place(world):
    """Somebody who swaps the key pair beside the log fools those who trust that directory, not who kept the key."""
    attacks.swap_key(world)
    fooled = world._replace(key=world.log.key())

    assert verify(fooled).size == SIZE
    for who, anchor in ((world, None), (world, world.new), (fooled, world.new)):
        with pytest.raises(CheckpointInvalidError):
            verify(who, anchor)


def test_foreign_anchor(world, tmp_path):
    """An anchor that is no checkpoint, or of another log, is an error and never silently no anchor."""
    (tmp_path / "other").mkdir()
    other = fill(SqliteLog(tmp_path / "other"), 1)
    for anchor in (other, b"", b"hello", world.new[:-5]):
        with pytest.raises(CheckpointInvalidError):
            verify(world, anchor)


def test_dropped_payload_is_no_damage(world):
    """A detached payload may be dropped: its entry, its proof and the log stay valid, and it is counted."""
    world.log.sql("DELETE FROM detached")

    assert verify(world, world.new).dropped_payloads == len(DETACHED)
    with world.log.reader(world.key) as ledger:
        assert {entry.index for entry in ledger.read() if entry.data is None} == DETACHED
        for index in DETACHED:
            ledger.prove(index).verify(ledger.raw(index), [ledger.verifier])


def test_reading_a_damaged_entry(world):
    """Reading an entry whose bytes are not an entry names it."""
    world.log.sql(("UPDATE entry SET raw = ? WHERE idx = 300", b"\x00\xff"))

    with world.log.reader(world.key) as ledger:
        assert [entry.index for entry in ledger.read(298, 300)] == [298, 299]
        with pytest.raises(EntryAlteredError) as caught:
            list(ledger.read())
    assert caught.value.index == 300


def test_reading_over_a_hole(world):
    """Reading where entries were cut out names the first of them, and never leaves them out in silence."""
    world.log.sql("DELETE FROM entry WHERE idx IN (300, 301, 599)", ("UPDATE entry SET idx = 599 WHERE idx = 598"))

    with world.log.reader(world.key) as ledger:
        for start, end, missing in ((298, None, 300), (300, 302, 300), (598, None, 598), (597, 599, 598)):
            with pytest.raises(EntryMissingError) as caught:
                list(ledger.read(start, end))
            assert caught.value.index == missing


def test_every_attack_is_in_the_matrix():
    """No attack is written down and not carried out."""
    written = {value for name, value in vars(attacks).items() if callable(value) and not name.startswith("_")}
    helpers = {attacks.fill, attacks.rebuild}

    assert {case.attack for case in CASES} == {
        value
        for value in written
        if getattr(value, "__module__", "") == attacks.__name__ and not isinstance(value, type)
    } - helpers
    assert isinstance(CASES[0], Case)
