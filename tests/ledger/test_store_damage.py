"""Files of a log that are not what they were: damaged at rest, or taken away from a process that has them open."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import suppress

import pytest

from companyos.ledger import (
    EntryAlteredError,
    EntryMissingError,
    LedgerDamagedError,
    RolledBackError,
    StoreTamperedError,
    StoreUnreadableError,
)
from tests.ledger.attacks import EARLIER, SIZE, World, fill
from tests.ledger.backends import SqliteLog


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """An honest log, written once."""
    log = SqliteLog(tmp_path_factory.mktemp("honest"))
    old, new = fill(log, EARLIER), fill(log, SIZE)
    with log.open() as ledger:
        return World(log, log.key(), old, new, [ledger.raw(index) for index in range(SIZE)])


@pytest.fixture
def world(honest, tmp_path):
    """A copy of it to be damaged, keys included."""
    return honest._replace(log=honest.log.copy(tmp_path / "copy"))


@pytest.fixture
def path(world):
    """The file of the log."""
    return world.log.path


def _verify(world, against=None, *, deep=False):
    with world.log.reader(world.key) as ledger:
        return ledger.verify(against=against, deep=deep)


def _content(path):
    return path.read_bytes() if path.is_file() else None


def _wal(path):
    return path.with_name(f"{path.name}-wal")


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


def table_dropped(path):
    """A log without its entries' table."""
    database = sqlite3.connect(path)
    database.execute("DROP TABLE entry")
    database.close()


def a_directory(path):
    """A directory where the database was."""
    path.unlink()
    path.mkdir()


def not_there(path):
    """No file at all."""
    path.unlink()


FOREIGN = (not_a_database, header_overwritten, other_application, newer_schema, a_directory)
UNREADABLE = (*FOREIGN, empty_file, truncated, first_page_only, pages_overwritten, table_dropped, not_there)


def _named(attacks):
    return pytest.mark.parametrize("attack", attacks, ids=lambda attack: attack.__name__)


@_named(UNREADABLE)
def test_unreadable_is_never_a_pass(world, path, attack):
    """A file that cannot be read as a log is `could not check`, with its own exit status; it is not written to."""
    attack(path)
    before = _content(path)

    with pytest.raises(StoreUnreadableError) as caught:
        _verify(world)

    assert caught.value.exit_status == 3
    assert before == _content(path)


@_named(FOREIGN)
def test_writers_leave_foreign_files_alone(world, path, attack):
    """Opening for writing refuses what is no log of this version, and leaves every byte of it as it was."""
    attack(path)
    before = _content(path)

    with pytest.raises(StoreUnreadableError):
        world.log.open()

    assert before == _content(path)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.99])
def test_appending_to_a_truncated_log(world, path, kept):
    """A log that was cut off gets no receipt for anything, or still does not verify; put back whole, it goes on."""
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])

    def append_and_verify():
        with world.log.open() as ledger:
            ledger.append("money.moved", {"amount": 1}, id="late")
            ledger.verify(against=world.new, deep=True)

    with pytest.raises((StoreUnreadableError, LedgerDamagedError)):
        append_and_verify()

    for file in path.parent.glob("ledger.db*"):
        file.unlink()
    path.write_bytes(whole)
    with world.log.open() as ledger:
        assert ledger.append("money.moved", {"amount": 1}, id="late").index == SIZE
        assert ledger.verify(against=world.new, deep=True).size == SIZE + 1


def test_an_entry_edited_into_text(world):
    """Somebody at a SQL prompt who turns the bytes of an entry into other text has altered that entry."""
    world.log.sql(
        "UPDATE entry SET raw = replace(CAST(raw AS TEXT), '\"amount\":500', '\"amount\":999') WHERE idx = 400"
    )

    with pytest.raises(EntryAlteredError) as caught:
        _verify(world)

    assert caught.value.index == 400


def test_text_of_the_same_bytes_is_no_damage(world):
    """Columns that became text without another byte verify, prove and repeat as before."""
    world.log.sql("UPDATE entry SET raw = CAST(raw AS TEXT)", "UPDATE head SET note = CAST(note AS TEXT)")

    assert _verify(world, world.new, deep=True).size == SIZE
    with world.log.open() as ledger:
        assert ledger.append("money.moved", {"amount": 105}, id="id-5").index == 5
        ledger.prove(5).verify(ledger.raw(5), [ledger.verifier])


def test_flipped_bits_anywhere(world, path):
    """Whatever byte of the file is flipped: it is found, or not one byte of any entry reads differently."""
    whole, chance = path.read_bytes(), random.Random(20261121)
    found = 0
    for _ in range(250):
        place = chance.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :])
        try:
            assert _verify(world, world.new).size == SIZE
        except (LedgerDamagedError, StoreUnreadableError):
            found += 1
            continue
        # A key within the B-tree can be bad and every row be there: then looking one up may fail, and says so.
        with world.log.reader(world.key) as ledger:
            for index, raw in enumerate(world.raws):
                with suppress(EntryMissingError):
                    assert ledger.raw(index) == raw
            with suppress(EntryMissingError):
                assert [entry.id for entry in ledger.read(100, 200)] == [f"id-{index}" for index in range(100, 200)]

    assert found > 20


def wal_unlinked(path):
    """Delete the write-ahead log."""
    _wal(path).unlink()


def wal_replaced(path):
    """Put a copy in its place."""
    shutil.copy(_wal(path), path.with_name("copy"))
    path.with_name("copy").replace(_wal(path))


def wal_renamed(path):
    """Move it away."""
    _wal(path).rename(path.with_name("away"))


def database_unlinked(path):
    """Delete the database."""
    path.unlink()


def database_replaced(path):
    """Put a copy in its place."""
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


TAKEN = (wal_unlinked, wal_replaced, wal_renamed, database_unlinked, database_replaced)


@_named(TAKEN)
def test_files_taken_from_under_a_writer(world, path, attack):
    """No receipt is given for a commit that would go into a file that nobody finds again, first time or second."""
    with world.log.open() as ledger:
        ledger.append("money.moved", {"amount": 1}, id="before")
        attack(path)

        for _ in range(2):
            with pytest.raises(StoreTamperedError) as caught:
                ledger.append("money.moved", {"amount": 2}, id="after")

        assert (caught.value.code, caught.value.exit_status) == ("ledger.store_tampered", 1)
        assert "verify against a checkpoint kept elsewhere" in str(caught.value)


@_named((wal_unlinked, wal_renamed))
def test_what_was_lost_with_the_log_of_writes(world, path, attack):
    """What was only in a write-ahead log that is gone is named by comparison with an anchor: the first index lost."""
    with world.log.open() as ledger:
        for number in range(3):
            ledger.append("money.moved", {"amount": number}, id=f"late-{number}")
        anchor = ledger.checkpoint()
        attack(path)
        survivors = path.read_bytes()
        with pytest.raises(StoreTamperedError):
            ledger.append("money.moved", {"amount": 9})
    # The machine stops here: what SQLite writes back from memory when it is closed does not reach the disk.
    for file in path.parent.glob("ledger.db*"):
        file.unlink()
    path.write_bytes(survivors)

    assert _verify(world, world.new, deep=True).size == SIZE
    with pytest.raises(RolledBackError) as caught:
        _verify(world, anchor)
    assert caught.value.index == SIZE
    with world.log.open() as ledger:
        assert ledger.append("money.moved", {"amount": 0}, id="late-0").index == SIZE
        assert ledger.verify(against=world.new, deep=True).size == SIZE + 1


def test_two_databases_change_places(world, honest, path, tmp_path):
    """A writer that finds the database of another time in its place refuses, and writes to neither."""
    other = honest.log.copy(tmp_path / "other").path
    with world.log.open() as ledger:
        ledger.append("money.moved", {"amount": 1})
        shutil.copy(other, path.with_name("copy"))
        path.with_name("copy").replace(path)
        before = path.read_bytes()

        with pytest.raises(StoreTamperedError):
            ledger.append("money.moved", {"amount": 2})

        assert path.read_bytes() == before
