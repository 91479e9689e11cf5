"""Callers, files and signals that mean no good: the log goes on, verifies, and loses nothing."""

from __future__ import annotations

import enum
import sqlite3
import sys
import threading

import pytest

from companyos.errors import ConfigError
from companyos.ledger import Draft, EntryAlteredError, EntryInvalidError, IdReusedError, Ledger
from companyos.ledger.erasure import ERASED, erasures_source
from companyos.ledger.merkle import leaf_hash
from companyos.ledger.url import store_path
from companyos.ports import Pending, Personal

ORIGIN = "test.example/log"


def _deposit(ledger, **changes):
    deposit = ledger._prepare([Draft("a.b", {"n": 1}, id="planted", detach=bool(changes.pop("detach", False)))])[0]
    return deposit._replace(**changes)


def _spaced(deposit):
    raw = deposit.raw.replace(b'"n":1', b'"n": 1')
    return deposit._replace(raw=raw, leaf=leaf_hash(raw))


def _swapped(deposit):
    return deposit._replace(payload=deposit.payload._replace(payload=b"{}"))


BAD = {
    "leaf of something else": lambda log: _deposit(log, leaf=leaf_hash(b"other")),
    "leaf as text": lambda log: _deposit(log, leaf="text"),
    "short leaf": lambda log: _deposit(log, leaf=b"short"),
    "no entry": lambda log: _deposit(log, raw=b"{}", leaf=leaf_hash(b"{}")),
    "not JSON": lambda log: _deposit(log, raw=b"hello", leaf=leaf_hash(b"hello")),
    "another id": lambda log: _deposit(log, id="other"),
    "another source": lambda log: _deposit(log, source="other"),
    "bytes as text": lambda log: _deposit(log, raw="text"),
    "not canonical": lambda log: _spaced(_deposit(log)),
    "another payload": lambda log: _swapped(_deposit(log, detach=True)),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_deposits_are_refused(ledger, name):
    """Whatever lies where deposits wait, what is no entry of the log does not become one, and appends go on."""
    ledger.append("a.b", {"n": 0})
    ledger._store.deposit([BAD[name](ledger)])

    assert [ledger.append("a.b", {"n": n}).index for n in (1, 2)] == [1, 2]

    assert ledger.verify(deep=True).size == 3
    with Ledger.open_readonly(f"sqlite:///{ledger._store._path}", [ledger.verifier.key], origin=ORIGIN) as other:
        assert other.verify(deep=True).size == 3


def test_good_deposits_are_placed(ledger):
    """The same without anything wrong is placed, once."""
    ledger._store.deposit([_deposit(ledger), _deposit(ledger, detach=True)._replace()])
    ledger.append("a.b", {"n": 0})

    assert next(ledger.read()).id == "planted"
    assert ledger.verify(deep=True).size == 2


def test_tombstones_are_the_ledgers_own(ledger, url):
    """Nobody is erased by an entry that somebody appended, and no such entry keeps the log from being opened."""
    ledger.append("a.b", {"name": Personal("Ann", "ann")}, subject=Personal(None, "ann"))
    pseudonym = next(ledger.read()).subject

    with pytest.raises(EntryInvalidError, match="ledger's own"):
        ledger.append(ERASED, {}, id=f"erased-{pseudonym}", source=erasures_source(ORIGIN), subject=pseudonym)

    deposit = _deposit(ledger, id=f"erased-{pseudonym}", source=erasures_source(ORIGIN))
    ledger._store.deposit([deposit])
    ledger.sequence()
    ledger.close()
    with Ledger.open(url, origin=ORIGIN) as log:
        assert log.reveal(next(log.read())).data == {"name": "Ann"}


def test_guesses_of_a_person(ledger):
    """After an erasure nobody can test who it was, also where only the subject named the person."""
    draft = {"data": {"n": 1}, "id": "one", "detach": True}
    ledger.append("a.b", **draft, subject=Personal(None, "ann"))
    ledger.append("a.b", {"x": Personal(1, "ann")})
    assert ledger.append("a.b", **draft, subject=Personal(None, "ann")).index == 0
    ledger.erase("ann", reason="asked for it")

    for guess in ("ann", "bob"):
        with pytest.raises(IdReusedError):
            ledger.append("a.b", **draft, subject=Personal(None, guess))


class _Kind(str, enum.Enum):  # noqa: UP042 - the kind that prints itself as something else
    PLACED = "order.placed"
    ID = "order-1"


class _Shouting(str):
    __slots__ = ()

    def __str__(self):
        return "evil.name"

    def __format__(self, spec):
        return "evil.name"


def test_text_that_prints_itself_as_something_else(ledger):
    """Members of enumerations and other kinds of text are logged as the text that they are."""
    ledger.append(_Kind.PLACED, {_Kind.ID: _Kind.PLACED}, id=_Kind.ID)
    ledger.append(_Shouting("order.shipped"), {_Shouting("k"): _Shouting("v")}, id=_Shouting("two"))
    ledger.append("order.shipped", {})

    found = [(entry.type, entry.id, dict(entry.data)) for entry in ledger.read()]
    assert found[:2] == [
        ("order.placed", "order-1", {"order-1": "order.placed"}),
        ("order.shipped", "two", {"k": "v"}),
    ]
    assert found[2][0] == "order.shipped"
    assert ledger.verify(deep=True).size == 3


PLACES = ("_round", "_next", "_work_off", "commit", "_attempt", "waiting", "_settle", "_pass_on")


@pytest.mark.parametrize("name", PLACES)
def test_interrupts(url, name):
    """An interrupt at any place of an append leaves a log that goes on, in this process and in others."""
    with Ledger.open(url, origin=ORIGIN) as ledger:
        ledger.append("a.b", {"n": 0})
        armed = [True]

        def trace(frame, event, _):
            if armed and event == "call" and frame.f_code.co_name == name and "ledger" in frame.f_code.co_filename:
                armed.clear()
                raise KeyboardInterrupt

        sys.settrace(trace)
        try:
            with pytest.raises(KeyboardInterrupt):
                ledger.append("a.b", {"n": 1})
        finally:
            sys.settrace(None)

        done = []
        thread = threading.Thread(target=lambda: done.append(ledger.append("a.b", {"n": 2})), daemon=True)
        thread.start()
        thread.join(20)
        assert len(done) == 1
        with Ledger.open(url, origin=ORIGIN) as other:
            other.append("a.b", {"n": 3})
        assert ledger.verify(deep=True).size in {3, 4}


def test_a_planted_row_is_given_no_receipt(ledger, url):
    """A row that somebody wrote into the database is not what was appended, whatever its id says."""
    ledger.append("a.b", {"n": 0})
    deposit = _deposit(ledger)
    database = sqlite3.connect(store_path(url))
    database.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", (77, *deposit[:5]))
    database.commit()
    database.close()

    with pytest.raises(EntryAlteredError):
        ledger.wait(Pending("planted", ORIGIN, deposit.leaf))


@pytest.mark.parametrize("url", ["postgresql+psycopg://host/db?user=u&password=HUNTER2", "mysql://u:HUNTER2@host/db"])
def test_no_password_in_errors(url):
    """A URL that is none of a ledger is not shown with what is secret in it."""
    with pytest.raises(ConfigError) as caught:
        Ledger.open(url)

    assert "HUNTER2" not in str(caught.value)
