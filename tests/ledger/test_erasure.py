"""Erasing a person from the ledger, and what somebody with backups, keys and every file can still read: nothing."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import time
from contextlib import closing, suppress

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from companyos.canonical import canonical_bytes
from companyos.ledger import (
    EntryAlteredError,
    ErasedError,
    IdReusedError,
    Ledger,
    LedgerDamagedError,
    PersonUnknownError,
)
from companyos.ledger.erasure import ERASED, erasures_source
from companyos.ledger.people import People
from companyos.ledger.people.master import Master
from companyos.ports import Personal
from tests.ledger.ledger_workers import PROCESSES, erase_in_a_process

ORIGIN = "shop.example/log"


@pytest.fixture
def path(tmp_path):
    """Where the log lies."""
    return tmp_path / "log" / "ledger.db"


@pytest.fixture
def ledger(path):
    """A log with values about two people."""
    with Ledger.open(f"sqlite:///{path}", origin=ORIGIN) as log:
        for number, person in enumerate(["person-ann", "person-bob", "person-ann"]):
            data = {"address": Personal(f"{person} lives here", person), "parcel": number}
            log.append("parcel.sent", data, id=f"p-{number}", subject=Personal(None, person))
        yield log


def _values(log):
    return [_value(log, entry) for entry in log.read(0, 3)]


def _value(log, entry):
    try:
        return log.reveal(entry).data["address"]
    except ErasedError:
        return None


def _reopened(path):
    return Ledger.open(f"sqlite:///{path}", origin=ORIGIN)


def test_erasing_a_person(ledger, path):
    """What was said about the person is unreadable, for others nothing changes, and every proof still verifies."""
    before = [ledger.prove(index) for index in range(3)]

    receipt = ledger.erase("person-ann", reason="asked for it")

    assert _values(ledger) == [None, "person-bob lives here", None]
    (tombstone,) = ledger.read(3)
    assert (tombstone.index, tombstone.type, tombstone.data) == (receipt.index, ERASED, {"reason": "asked for it"})
    assert tombstone.subject == next(ledger.read()).subject
    assert ledger.verify(deep=True).size == 4
    for index, proof in enumerate(before):
        proof.verify(ledger.raw(index), [ledger.verifier])
    for file in path.parent.rglob("*"):
        assert not file.is_file() or b"person-ann" not in file.read_bytes(), file


def test_a_backup_with_every_file_and_the_current_keys(ledger, path, tmp_path):
    """With a copy of the log from before, its write-ahead log and the keys of now, nothing about the person opens."""
    backup = tmp_path / "backup"
    backup.mkdir()
    for file in path.parent.iterdir():
        if file.is_file():
            shutil.copy(file, backup / file.name)
    assert (backup / "ledger.db-wal").stat().st_size > 0
    shutil.copy(path.parent / "ledger.db.keys" / "people.db", tmp_path / "people.db")

    ledger.erase("person-ann", reason="asked for it")
    ledger.close()
    old = backup / "old people.db"
    shutil.copy(tmp_path / "people.db", old)
    keys = path.parent / "ledger.db.keys"
    shutil.copytree(keys, backup / "ledger.db.keys")

    with _reopened(backup / "ledger.db") as restored:
        assert len(list(restored.read())) == 3
        assert _values(restored) == [None, "person-bob lives here", None]
    # By hand: every key that the master key of now unwraps, in the key store of now and of then, on every ciphertext.
    found = _opened_by_hand(
        backup / "ledger.db", [keys / "people.db", old], Master.read(keys / "people.db.master"), ORIGIN
    )
    assert found == [b'"person-bob lives here"']


def _opened_by_hand(log, keystores, master, origin):
    """The values that somebody reads who unwraps whatever the master key unwraps, and does not ask our code."""
    keys = []
    for keystore in keystores:
        with closing(sqlite3.connect(keystore)) as database:
            for name, wrapped in database.execute("SELECT pseudonym, wrapped FROM person"):
                with suppress(ErasedError):
                    keys.append(master.unwrap(wrapped, name))
    with closing(sqlite3.connect(log)) as database:
        raws = [raw for (raw,) in database.execute("SELECT raw FROM entry ORDER BY idx")]
    return [value for key in keys for raw in raws for value in _opens(key, json.loads(raw), origin)]


def _opens(key, entry, origin):
    sealed = entry["data"]["address"]["$personal"]
    context = canonical_bytes([origin, entry["source"], entry["id"], "/address"])
    with suppress(InvalidTag):
        yield AESGCM(key).decrypt(base64.b64decode(sealed["iv"]), base64.b64decode(sealed["ct"]), context)


def test_a_restored_key_store_is_brought_up_to_date(ledger, path, tmp_path):
    """A key store from before the erasure, old master key and all, loses the person when the log is opened."""
    keys = path.parent / "ledger.db.keys"
    ledger.close()
    shutil.copytree(keys, tmp_path / "old keys")
    with _reopened(path) as log:
        log.erase("person-ann", reason="asked for it")

    shutil.rmtree(keys)
    shutil.copytree(tmp_path / "old keys", keys)

    with _reopened(path) as log:
        assert _values(log) == [None, "person-bob lives here", None]


def test_a_restored_log_brings_nobody_back(ledger, path, tmp_path):
    """A log from before the erasure, beside the key store of now, shows nothing about the person."""
    ledger.close()
    shutil.copy(path, tmp_path / "old.db")
    with _reopened(path) as log:
        log.erase("person-ann", reason="asked for it")
    shutil.copy(tmp_path / "old.db", path)

    with _reopened(path) as log:
        assert _values(log) == [None, "person-bob lives here", None]


def test_planted_tombstones_destroy_nothing(ledger, path):
    """Somebody who writes a tombstone into the database without the log's key has nobody erased by it."""
    pseudonym = next(ledger.read(1)).subject
    ledger.close()
    database = sqlite3.connect(path)
    raw, leaf = database.execute("SELECT raw, leaf FROM entry WHERE idx = 2").fetchone()
    planted = raw.replace(b"parcel.sent", ERASED.encode())
    row = (2, f"erased-{pseudonym}", erasures_source(ORIGIN), planted, leaf, b"")
    database.execute("REPLACE INTO entry VALUES (?, ?, ?, ?, ?, ?)", row)
    database.commit()
    database.close()

    with pytest.raises(LedgerDamagedError):
        _reopened(path)

    store = People(path.parent / "ledger.db.keys" / "people.db", create=False)
    assert store.living([pseudonym]) == {pseudonym}
    store.close()


def test_sameness_after_an_erasure(ledger):
    """Nobody can test a guess of an erased value by appending it again: it is other content, whatever the guess."""
    draft = {"address": Personal("person-ann lives here", "person-ann"), "parcel": 0}
    assert ledger.append("parcel.sent", draft, id="p-0", subject=Personal(None, "person-ann")).index == 0
    ledger.erase("person-ann", reason="asked for it")

    for guess in ("person-ann lives here", "person-ann lives there"):
        with pytest.raises(IdReusedError):
            ledger.append("parcel.sent", draft | {"address": Personal(guess, "person-ann")}, id="p-0", subject="x")


def test_unknown_and_repeated(ledger):
    """Erasing nobody is an error; the person named again is somebody new, who can be erased again."""
    with pytest.raises(PersonUnknownError):
        ledger.erase("cleo", reason="asked for it")
    first = ledger.erase("person-ann", reason="asked for it")
    with pytest.raises(PersonUnknownError):
        ledger.erase("person-ann", reason="asked for it")

    ledger.append("parcel.sent", {"address": Personal("ann is back", "person-ann")})
    assert ledger.reveal(list(ledger.read())[-1]).data == {"address": "ann is back"}
    assert ledger.erase("person-ann", reason="again").index > first.index
    assert _values(ledger) == [None, "person-bob lives here", None]


def test_killed_in_the_middle(path, tmp_path):
    """Killed at any moment of an erasure, the person is whole or gone, and gone once there is a tombstone."""
    inside = 0
    for number in range(24):
        place = tmp_path / str(number) / "ledger.db"
        with _reopened(place) as log:
            log.append("parcel.sent", {"address": Personal("person-ann lives here", "person-ann")})
        begun = place.parent / "begun"
        process = PROCESSES.Process(target=erase_in_a_process, args=(f"sqlite:///{place}", ORIGIN, "person-ann", begun))
        process.start()
        while not begun.exists():
            time.sleep(0.0005)
        time.sleep(number * 0.0007)
        process.kill()  # of no effect on one that has ended; how many had not is counted
        process.join()
        inside += begun.read_text() == "begun"

        with _reopened(place) as log:
            tombstones = [entry for entry in log.read() if entry.type == ERASED]
            assert _value(log, next(log.read())) == (None if tombstones else "person-ann lives here")
            assert log.verify(deep=True).size == 1 + len(tombstones)
    assert inside >= 8


def test_tombstones_must_be_under_the_tree(ledger, path):
    """A tombstone that was altered after it was logged is damage, and is not applied."""
    ledger.erase("person-ann", reason="asked for it")
    ledger.close()
    database = sqlite3.connect(path)
    bob = database.execute("SELECT raw FROM entry WHERE idx = 1").fetchone()[0]
    subject = bob.partition(b'"subject":"')[2].partition(b'"')[0].decode()
    raw, name = database.execute("SELECT raw, id FROM entry WHERE idx = 3").fetchone()
    changed = raw.replace(name.encode(), f"erased-{subject}".encode())
    database.execute("UPDATE entry SET raw = ?, id = ? WHERE idx = 3", (changed, f"erased-{subject}"))
    database.commit()
    database.close()

    with pytest.raises((LedgerDamagedError, EntryAlteredError)):
        _reopened(path)
