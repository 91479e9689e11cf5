"""Values about people: encrypted in the log, bound to their place, gone with their key."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from dataclasses import replace

import pytest

from companyos.ledger import EntryInvalidError, ErasedError, IdReusedError, Ledger, StoreUnreadableError
from companyos.ports import Personal

ORIGIN = "test.example/log"
PERSON, VALUE = "ann.example@customers.test", "Lindenstrasse 17, Graz"
DATA = {"order": 7, "ship": {"to": [Personal(VALUE, PERSON)], "a/b~c": Personal({"x": VALUE}, PERSON)}}
PLAIN = {"order": 7, "ship": {"to": [VALUE], "a/b~c": {"x": VALUE}}}


def _everything(directory):
    return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


def test_round_trip(ledger):
    """A personal value is ciphertext and a pseudonym in the entry, and comes back with `reveal`."""
    ledger.append("order.placed", DATA, subject=Personal(None, PERSON))
    (entry,) = ledger.read()

    sealed = entry.data["ship"]["to"][0]["$personal"]
    assert set(sealed) == {"alg", "ct", "iv", "sub"}
    assert sealed["alg"] == "A256GCM"
    assert entry.subject == sealed["sub"]
    assert entry.data["order"] == 7
    assert ledger.reveal(entry).data == PLAIN


@pytest.mark.parametrize("detach", [False, True])
def test_nothing_of_the_person_on_the_disk(tmp_path, detach):
    """Neither the value nor the person's id is in any byte of the log, its write-ahead log or the key store."""
    with Ledger.open(f"sqlite:///{tmp_path / 'l.db'}", origin=ORIGIN) as ledger:
        ledger.append("order.placed", DATA, subject=Personal(None, PERSON), detach=detach)
        assert (tmp_path / "l.db-wal").stat().st_size > 0
        before = _everything(tmp_path)
    after = _everything(tmp_path)

    for data in (before, after):
        assert b"order.placed" in data
        for secret in (PERSON, VALUE, "Lindenstrasse", "ann.example"):
            assert secret.encode() not in data
            assert secret.encode("utf-16-le") not in data
            assert secret.encode().hex().encode() not in data


def test_key_store_is_private(ledger, tmp_path):
    """The master key is readable by its owner only, and the key store holds wrapped keys only."""
    ledger.append("order.placed", DATA)
    master = tmp_path / "ledger.db.keys" / "people.db.master"

    assert stat.S_IMODE(master.stat().st_mode) == 0o600
    assert {stat.S_IMODE(file.stat().st_mode) for file in master.parent.glob("people.db*")} == {0o600}
    assert stat.S_IMODE(master.parent.stat().st_mode) == 0o700
    with ledger._people._tables() as tables:
        key = tables.key(next(ledger.read()).data["ship"]["to"][0]["$personal"]["sub"])
    assert len(key) == 32
    assert key not in _everything(tmp_path)


def test_pseudonyms(ledger):
    """A person has one random pseudonym, two persons have two, and other logs give other ones."""
    for person in (PERSON, "bob", PERSON):
        ledger.append("a.b", {}, subject=Personal(None, person))
    ann, bob, again = (entry.subject for entry in ledger.read())

    assert ann == again
    assert ann != bob
    assert PERSON not in ann


def test_same_value_twice_gives_different_ciphertext(ledger):
    """Equal values cannot be told to be equal."""
    ledger.append("a.b", {"x": Personal(VALUE, PERSON), "y": Personal(VALUE, PERSON)})
    data = next(ledger.read()).data

    assert data["x"]["$personal"]["ct"] != data["y"]["$personal"]["ct"]


def test_repeated_append(ledger):
    """Sameness is that of the plain value and person, though the ciphertext differs every time."""
    first = ledger.append("a.b", DATA, id="1", subject=Personal(None, PERSON))

    assert ledger.append("a.b", DATA, id="1", subject=Personal(None, PERSON)).leaf_hash == first.leaf_hash
    for other in ({**DATA, "ship": {}}, PLAIN, {**DATA, "ship": {**DATA["ship"], "to": [Personal(VALUE, "bob")]}}):
        with pytest.raises(IdReusedError):
            ledger.append("a.b", other, id="1", subject=Personal(None, PERSON))
    with pytest.raises(IdReusedError):
        ledger.append("a.b", DATA, id="1", subject=Personal(None, "bob"))


def test_moved_ciphertext_is_refused(ledger):
    """Ciphertext put into another entry, another field or another source's entry does not open."""
    for number in ("1", "2"):
        ledger.append("a.b", {"x": Personal(VALUE, PERSON), "y": Personal(VALUE, PERSON)}, id=number)
    ledger.append("a.b", {"x": Personal(VALUE, PERSON)}, id="1", source="/other")
    first, second, third = ledger.read()

    for forged in (
        replace(second, data=first.data),
        replace(third, data={"x": first.data["x"]}),
        replace(first, data={"x": first.data["y"], "y": first.data["x"]}),
        replace(first, data={"z": first.data["x"]}),
        replace(first, data={"x": [first.data["x"]]}),
    ):
        with pytest.raises(ErasedError, match="cannot be decrypted here"):
            ledger.reveal(forged)


def test_another_log_cannot_open_it(url, ledger):
    """Ciphertext is bound to the origin of its log."""
    ledger.append("a.b", {"x": Personal(VALUE, PERSON)})
    entry = next(ledger.read())

    with Ledger.open(url, origin="other.example/log") as other, pytest.raises(ErasedError):
        other.reveal(entry)


def test_erased_key(url, ledger, tmp_path):
    """With the person's key gone the value is gone, by its own error; the log still verifies."""
    ledger.append("a.b", DATA)
    ledger.append("a.b", {"x": Personal("hers", "bob")})
    anchor = ledger.checkpoint()
    pseudonym = next(ledger.read()).data["ship"]["to"][0]["$personal"]["sub"]
    ledger.close()
    database = sqlite3.connect(tmp_path / "ledger.db.keys" / "people.db", isolation_level=None)
    database.execute("DELETE FROM person WHERE pseudonym = ?", (pseudonym,))
    database.close()

    with Ledger.open(url, origin=ORIGIN) as again:
        first, second = again.read()
        with pytest.raises(ErasedError) as caught:
            again.reveal(first)
        assert again.reveal(second).data == {"x": "hers"}
        assert again.verify(against=anchor).anchored
    assert caught.value.exit_status == 3
    assert VALUE not in str(caught.value)


def test_readers_without_the_key_store(url, ledger):
    """Who has only the public key reads everything but the personal values."""
    ledger.append("a.b", DATA)
    with Ledger.open_readonly(url, [ledger.verifier.key], origin=ORIGIN) as reader:
        entry = next(reader.read())
        assert entry.data["order"] == 7
        with pytest.raises(StoreUnreadableError):
            reader.reveal(entry)


def test_other_master_key(url, ledger, tmp_path):
    """A key store is not opened with another master key than its own, and nothing is destroyed by the attempt."""
    ledger.append("a.b", DATA)
    entry = next(ledger.read())
    ledger.close()
    master = tmp_path / "ledger.db.keys" / "people.db.master"
    kept = master.read_bytes()
    master.write_text(os.urandom(32).hex())
    with pytest.raises(StoreUnreadableError, match="is not the master key"):
        Ledger.open(url, origin=ORIGIN)

    master.write_bytes(kept)
    with Ledger.open(url, origin=ORIGIN) as again:
        assert again.reveal(entry).data == PLAIN


@pytest.mark.parametrize("text", ["", "hello", "00" * 31, "zz" * 32])
def test_bad_master_key(url, ledger, tmp_path, text):
    """A master key file that holds none is an error, and never replaced by a new key."""
    ledger.close()
    master = tmp_path / "ledger.db.keys" / "people.db.master"
    master.write_text(text)

    with pytest.raises(StoreUnreadableError, match="cannot open the key store"):
        Ledger.open(url, origin=ORIGIN)
    assert master.read_text() == text


@pytest.mark.parametrize(
    "personal",
    [Personal(float("nan"), PERSON), Personal(b"raw", PERSON), Personal(Personal(1, "a"), "b"), Personal(1, "\ud800")],
    ids=["NaN", "bytes", "personal in personal", "surrogate as person"],
)
def test_bad_personal_values(ledger, personal):
    """A personal value that is no JSON, or of a person that is no text, is refused without being shown."""
    with pytest.raises(EntryInvalidError):
        ledger.append("a.b", {"x": personal})

    assert len(ledger) == 0


def test_wrapped_keys_are_bound_to_their_person(ledger, url, tmp_path):
    """Keys exchanged between two people inside the key store open nothing."""
    ledger.append("a.b", {"x": Personal(VALUE, PERSON), "y": Personal(VALUE, "bob")})
    entry = next(ledger.read())
    ledger.close()
    database = sqlite3.connect(tmp_path / "ledger.db.keys" / "people.db", isolation_level=None)
    (first, one), (second, two) = database.execute("SELECT pseudonym, wrapped FROM person").fetchall()
    database.execute("UPDATE person SET wrapped = ? WHERE pseudonym = ?", (two, first))
    database.execute("UPDATE person SET wrapped = ? WHERE pseudonym = ?", (one, second))
    database.close()

    with Ledger.open(url, origin=ORIGIN) as again, pytest.raises(ErasedError):
        again.reveal(entry)


def test_raw_entry_shows_the_documented_form(ledger):
    """In the bytes a personal value is an object with the one reserved key."""
    ledger.append("a.b", {"x": Personal(VALUE, PERSON)})

    assert set(json.loads(ledger.raw(0))["data"]["x"]) == {"$personal"}
