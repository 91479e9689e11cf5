"""Key stores of other formats: an older one is brought into this one, any other is refused."""

from __future__ import annotations

import hashlib
import hmac
import os
import shutil
import sqlite3
from contextlib import closing

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from companyos.ledger import StoreUnreadableError
from companyos.ledger.people import Erasure, People
from tests.ledger.people_workers import killed_at

FILES = ["people.db", "people.db.lock", "people.db.master"]
NAMES = ("ann", "bob", "cleo")


@pytest.fixture
def path(tmp_path):
    """Where the key store of this test is kept."""
    return tmp_path / "keys" / "people.db"


@pytest.fixture
def people(path):
    """A key store, open."""
    store = People(path)
    yield store
    store.close()


def _names(directory):
    return sorted(file.name for file in directory.iterdir())


def _bytes(directory):
    return b"".join(file.read_bytes() for file in sorted(directory.rglob("*")) if file.is_file())


def _old_store(path, master):
    """A key store as it was written before there were epochs."""
    path.parent.mkdir(mode=0o700)
    (path.parent / "people.db.master").write_text(master.hex())
    (path.parent / "people.db.master").chmod(0o600)
    cipher, sealed = AESGCM(master), {}
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(
            "CREATE TABLE person (lookup BLOB PRIMARY KEY, pseudonym TEXT UNIQUE, wrapped BLOB) WITHOUT ROWID"
        )
        database.execute("CREATE TABLE secret (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID")
        rows = [("sameness", b"s" * 32)]
        for name in NAMES:
            key, pseudonym, nonce = os.urandom(32), f"p-{os.urandom(16).hex()}", os.urandom(12)
            wrapped = nonce + cipher.encrypt(nonce, key, pseudonym.encode())
            lookup = hmac.digest(master, b"person\x00" + name.encode(), hashlib.sha256)
            database.execute("INSERT INTO person VALUES (?, ?, ?)", (lookup, pseudonym, wrapped))
            sealed[name] = pseudonym
        for name, key in rows:
            nonce = os.urandom(12)
            wrapped = nonce + cipher.encrypt(nonce, key, name.encode())
            database.execute("INSERT INTO secret VALUES (?, ?)", (name, wrapped))
    return sealed


def test_old_format(path):
    """A store from before there were epochs is brought into this format when it is opened, and nobody is lost."""
    pseudonyms = _old_store(path, b"m" * 32)

    store = People(path, create=False)
    assert {name: store.pseudonym_of(name) for name in NAMES} == pseudonyms
    assert store.secret("sameness") == b"s" * 32
    assert store.erase("ann") == Erasure(pseudonyms["ann"], 2)
    store.close()

    store = People(path, create=False)
    assert {name: store.pseudonym_of(name) for name in NAMES} == pseudonyms | {"ann": None}
    store.close()
    assert _names(path.parent) == FILES
    assert (b"m" * 32).hex().encode() not in _bytes(path.parent)


def test_killed_while_bringing_an_old_format_into_this_one(path, tmp_path):
    """A kill before any line of it leaves a store that opens, with everybody in it."""
    pseudonyms = _old_store(path, b"m" * 32)
    kills = 0
    for number in range(1, 10_000, 6):
        copied = tmp_path / f"k{number}"
        shutil.copytree(path.parent, copied)
        inside = killed_at(copied, number, "open", "")
        store = People(copied / "people.db", create=False)
        assert {name: store.pseudonym_of(name) for name in NAMES} == pseudonyms
        store.close()
        assert _names(copied) == FILES
        if not inside:
            break
        kills += 1

    assert kills > 15


def test_old_format_with_another_master_key(path):
    """An old store is not touched with a master key that is not its own."""
    _old_store(path, b"m" * 32)
    before = path.read_bytes()
    path.with_name("people.db.master").write_text((b"x" * 32).hex())

    with pytest.raises(StoreUnreadableError, match="old format"):
        People(path, create=False)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [("PRAGMA user_version = 2", "newer companyos"), ("PRAGMA application_id = 7", "not a key store")],
    ids=["newer", "foreign"],
)
def test_other_formats_are_refused(people, path, change, message):
    """A newer key store is refused with what to do, and so is a database that is none; nothing is changed."""
    people.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(change)
    before = path.read_bytes()

    with pytest.raises(StoreUnreadableError, match=message):
        People(path)
    assert path.read_bytes() == before
