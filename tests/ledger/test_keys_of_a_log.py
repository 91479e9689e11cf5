"""The keys of a log, and rows that no key vouches for."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from companyos.ledger import (
    Checkpoint,
    CheckpointInvalidError,
    EntryMissingError,
    IdReusedError,
    Ledger,
    LedgerDamagedError,
    StoreUnreadableError,
)
from companyos.signing import KeyUnusableError, PrivateKey


def test_a_retired_key_cannot_rewrite_history(tmp_path):
    """Who stole the old key can forge a whole log, but not its head: rotation ends what the key was good for."""
    url = f"sqlite:///{tmp_path / 'l.db'}"
    with Ledger.open(url) as ledger:
        ledger.append("a.b", {"n": 0})
        stolen = PrivateKey.load(f"file:{tmp_path / 'l.db.keys' / 'ledger.pem'}")
        ledger.rotate_key()
        forged = Checkpoint(ledger.origin, 1, ledger.head().root).sign(stolen)
    with closing(sqlite3.connect(tmp_path / "l.db")) as database:
        database.execute("UPDATE head SET note = ?", (forged,))
        database.commit()

    with Ledger.open(url) as ledger:
        with pytest.raises(CheckpointInvalidError):
            ledger.verify()
        with pytest.raises(CheckpointInvalidError):
            ledger.append("a.b", {"n": 1})


def test_a_rotation_is_noticed_by_a_process_that_was_open_before(tmp_path):
    """The other process signs with the new key from then on, and its readers accept the new head."""
    url = f"sqlite:///{tmp_path / 'l.db'}"
    with Ledger.open(url) as first, Ledger.open(url) as second:
        first.append("a.b", {"n": 0})
        second.append("a.b", {"n": 1})
        new = first.rotate_key()

        assert second.verify().size == 2
        second.append("a.b", {"n": 2})
        assert second.verifier.key.key_id == new.key_id
        assert first.verify().size == 3


def test_rotations_and_appends_at_once(tmp_path):
    """While keys are rotated again and again, appends of another handle go on, and the log verifies all the time."""
    url = f"sqlite:///{tmp_path / 'l.db'}"
    with Ledger.open(url) as writer, Ledger.open(url) as rotator, ThreadPoolExecutor(2) as pool:
        writing = pool.submit(lambda: [writer.append("a.b", {"n": n}) for n in range(60)])
        rotating = pool.submit(lambda: [rotator.rotate_key() for _ in range(12)])
        assert (len(writing.result()), len({key.key_id for key in rotating.result()})) == (60, 12)
        assert writer.verify().size == rotator.verify().size == 60


@pytest.mark.parametrize("column", ["idx = -1", "idx = 4611686018427387904"])
def test_rows_outside_of_the_log_are_found(tmp_path, column):
    """A row that no reader would reach is damage: `append` must not trust it, `verify` must not overlook it."""
    url = f"sqlite:///{tmp_path / 'l.db'}"
    with Ledger.open(url) as ledger:
        ledger.append("a.b", {"n": 0}, id="one")
        ledger.append("a.b", {"n": 1}, id="two")
    with closing(sqlite3.connect(tmp_path / "l.db")) as database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute(
            "INSERT INTO entry SELECT 99, 'three', source, x'6a756e6b', x'6a756e6b', sameness FROM entry WHERE idx = 0"
        )
        database.execute(f"UPDATE entry SET {column} WHERE idx = 99")  # noqa: S608 - our own cases
        database.commit()

    with Ledger.open(url) as ledger:
        with pytest.raises(LedgerDamagedError):
            ledger.verify()
        with pytest.raises((LedgerDamagedError, IdReusedError)):
            ledger.append("a.b", {"n": 0}, id="three")


def test_a_planted_row_cannot_swallow_an_append(tmp_path):
    """An entry found by its id is only believed when it is proved to be under the tree."""
    url = f"sqlite:///{tmp_path / 'l.db'}"
    with Ledger.open(url) as ledger:
        ledger.append("a.b", {"n": 0}, id="one")
        ledger.append("a.b", {"n": 1}, id="two")
    with closing(sqlite3.connect(tmp_path / "l.db")) as database:
        database.execute("UPDATE entry SET raw = replace(CAST(raw AS TEXT), '\"n\":1', '\"n\":9') WHERE idx = 1")
        database.commit()

    with Ledger.open(url) as ledger, pytest.raises(LedgerDamagedError):
        ledger.append("a.b", {"n": 1}, id="two")


@pytest.mark.parametrize("lost", ["people.db", "people.db.master", "ledger.pem"])
def test_lost_keys_are_not_replaced_by_new_ones(tmp_path, lost):
    """A log with entries never gets new keys silently: they could neither read its people nor sign its head."""
    url = f"sqlite:///{tmp_path / 'l.db'}"
    with Ledger.open(url) as ledger:
        ledger.append("a.b", {"n": 0})
    (tmp_path / "l.db.keys" / lost).unlink()

    with pytest.raises((StoreUnreadableError, KeyUnusableError), match=lost):
        Ledger.open(url)
    assert not (tmp_path / "l.db.keys" / lost).exists()


def test_many_proofs_share_one_checkpoint(ledger):
    """Proofs to an earlier checkpoint hold while the log grows."""
    for number in range(5):
        ledger.append("a.b", {"n": number})
    note = ledger.checkpoint()
    ledger.append("a.b", {"n": 5})

    proofs = [ledger.prove(index, checkpoint=note) for index in range(5)]

    assert {proof.checkpoint for proof in proofs} == {note}
    assert [proof.verify(ledger.raw(i), [ledger.verifier]).size for i, proof in enumerate(proofs)] == [5] * 5
    with pytest.raises(EntryMissingError):
        ledger.prove(5, checkpoint=note)


def test_an_anchor_says_how_far_it_reaches(ledger):
    """An old anchor agrees with a log that was rolled back behind it: its size tells."""
    ledger.append("a.b", {"n": 0})
    anchor = ledger.checkpoint()
    ledger.append("a.b", {"n": 1})

    verified = ledger.verify(against=anchor)

    assert (verified.anchored, verified.anchor_size, verified.size) == (True, 1, 2)
    assert "agrees with the anchor at 1" in str(verified)
