"""Erasure: what is gone from the key store is gone from every copy of it, and stays so through crashes and restores."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import sqlite3
import stat
import threading
import time
from contextlib import closing

import pytest

from companyos.errors import UserError
from companyos.ledger import EntryInvalidError, ErasedError, Ledger, StoreUnreadableError
from companyos.ledger.people import Erasure, People
from companyos.ledger.people.master import Master
from companyos.ports import Personal
from tests.ledger.ledger_workers import PROCESSES, Descriptor
from tests.ledger.people_workers import (
    CONTEXT,
    erase_many,
    erase_on_a_full_disk,
    erase_until_killed,
    killed_at,
    seal_many,
)

ORIGIN = "test.example/log"
FILES = ["people.db", "people.db.lock", "people.db.master"]
VALUES = {name: f"{name} lives in Graz" for name in ("ann", "bob", "cleo")}
KILLS = 24


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


def _fill(store):
    return {name: store.seal(Personal(value, name), CONTEXT)["$personal"] for name, value in VALUES.items()}


def _names(directory):
    return sorted(file.name for file in directory.iterdir())


def _bytes(directory):
    return b"".join(file.read_bytes() for file in sorted(directory.rglob("*")) if file.is_file())


def _copy(path, to):
    """What a backup takes while the store is open: the database with whatever lies beside it, without the lock."""
    to.mkdir()
    for file in path.parent.iterdir():
        shutil.copy2(file, to)
    return to / path.name


def _row(path, pseudonym):
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT lookup, wrapped FROM person WHERE pseudonym = ?", (pseudonym,)).fetchone()


def _opens_anywhere(master, data, pseudonym, length):
    """Whether the master key opens a stretch of these bytes as the key of the pseudonym."""
    for start in range(len(data) - length + 1):
        try:
            return master.unwrap(data[start : start + length], pseudonym)
        except ErasedError:
            continue
    return None


def test_erasure(people, path):
    """The erased is gone at once, by a new master key; all others are as before, also after opening it again."""
    sealed = _fill(people)
    secret, master = people.secret("sameness"), path.with_name("people.db.master").read_bytes()

    assert people.erase("ann") == Erasure(sealed["ann"]["sub"], 2)

    assert path.with_name("people.db.master").read_bytes() != master
    assert _names(path.parent) == FILES
    people.close()
    store = People(path, create=False)
    with pytest.raises(ErasedError, match="was erased at"):
        store.open(sealed["ann"], CONTEXT)
    assert store.open(sealed["bob"], CONTEXT) == VALUES["bob"]
    assert store.pseudonym("cleo") == sealed["cleo"]["sub"]
    assert store.secret("sameness") == secret
    assert (store.epoch, store.erasures()) == (2, (Erasure(sealed["ann"]["sub"], 2),))
    store.close()


def test_nothing_of_the_erased_is_left(people, path):
    """No byte of any file holds the old key, wrapped or bare, the old lookup or the old master key."""
    sealed = _fill(people)
    pseudonym = sealed["ann"]["sub"]
    lookup, wrapped = _row(path, pseudonym)
    master = path.with_name("people.db.master").read_bytes()
    key = Master.read(path.with_name("people.db.master")).unwrap(wrapped, pseudonym)
    for old in (wrapped, lookup, master):
        assert old in _bytes(path.parent)
    held = path.parent.parent / "another name of the same file"
    held.hardlink_to(path.with_name("people.db.master"))

    people.erase("ann")

    assert len(held.read_bytes()) == len(master)
    assert master not in held.read_bytes()
    data = _bytes(path.parent)
    for old in (wrapped, wrapped[12:], lookup, master, bytes.fromhex(master.decode()), key):
        assert old not in data
    # The tombstone alone remembers the name.
    assert data.count(pseudonym.encode()) == 1
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_backups_taken_before_do_not_help(tmp_path):
    """With copies of the log and of the key store from before, every WAL file and the master key of now: nothing."""
    url, keys = f"sqlite:///{tmp_path / 'log' / 'l.db'}", tmp_path / "keys"
    with Ledger.open(url, origin=ORIGIN, keystore=keys / "people.db", key=f"file:{tmp_path / 'k.pem'}") as ledger:
        for name, value in VALUES.items():
            ledger.append("a.b", {"x": Personal(value, name)}, subject=Personal(None, name))
        pseudonym = next(ledger.read()).subject
        assert (tmp_path / "log" / "l.db-wal").stat().st_size > 0
        old_log, old_keys = _copy(tmp_path / "log" / "l.db", tmp_path / "a"), _copy(keys / "people.db", tmp_path / "b")
        ledger._people.erase("ann")
        newer_log = _copy(tmp_path / "log" / "l.db", tmp_path / "c")

    for copied in (old_log, newer_log):
        with Ledger.open(
            f"sqlite:///{copied}", origin=ORIGIN, keystore=keys / "people.db", key=f"file:{tmp_path / 'k.pem'}"
        ) as log:
            first, second, _ = log.read()
            assert log.reveal(second).data == {"x": VALUES["bob"]}
            with pytest.raises(ErasedError):
                log.reveal(first)
    length = len(_row(old_keys, pseudonym)[1])
    assert _opens_anywhere(
        Master.read(old_keys.with_name("people.db.master")), old_keys.read_bytes(), pseudonym, length
    )
    now = Master.read(keys / "people.db.master")
    for directory in ("a", "b", "c", "keys", "log"):
        assert _opens_anywhere(now, _bytes(tmp_path / directory), pseudonym, length) is None
    shutil.copy2(keys / "people.db.master", old_keys.with_name("people.db.master"))
    with pytest.raises(StoreUnreadableError, match="is not the master key"):
        People(old_keys, create=False)


def test_nobody_is_recognised_in_an_old_copy(people, path, tmp_path):
    """By what a person is looked up is another value in each epoch: who was who cannot be read off an old copy."""
    sealed = _fill(people)
    before = {name: _row(path, sealed[name]["sub"])[0] for name in ("bob", "cleo")}
    people.erase("ann")
    after = {name: _row(path, sealed[name]["sub"])[0] for name in ("bob", "cleo")}

    assert set(before.values()).isdisjoint(after.values())
    assert people.pseudonym_of("bob") == sealed["bob"]["sub"]


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "killed"])
def test_a_write_ahead_log_beside_the_store(people, path, tmp_path, closed):
    """A store that somebody switched to WAL mode is switched back, and nothing lingers in files beside it."""
    sealed = _fill(people)
    people.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("UPDATE store SET epoch = 1")
    assert "people.db-wal" in _names(path.parent)
    lookup, wrapped = other.execute(
        "SELECT lookup, wrapped FROM person WHERE pseudonym = ?", (sealed["ann"]["sub"],)
    ).fetchone()
    if closed:
        other.close()
    moved = _copy(path, tmp_path / "moved")
    other.close()

    store = People(moved, create=False)
    store.erase("ann")
    store.close()

    assert _names(moved.parent) == FILES
    assert wrapped not in _bytes(moved.parent)
    assert lookup not in _bytes(moved.parent)


def test_somebody_else_writes_in_wal_mode(people, path):
    """While another program has the store open in WAL mode nothing is erased, and the error says why."""
    sealed = _fill(people)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("UPDATE store SET epoch = 1")
        with pytest.raises(StoreUnreadableError, match="locked"):
            people.erase("ann")

    assert people.erase("ann") == Erasure(sealed["ann"]["sub"], 2)
    assert _names(path.parent) == FILES


def test_a_journal_left_by_a_kill(people, path):
    """A journal that SQLite neither plays back nor removes, because its head was never written, goes all the same."""
    sealed = _fill(people)
    _, wrapped = _row(path, sealed["ann"]["sub"])
    path.with_name("people.db-journal").write_bytes(bytes(512) + wrapped)

    people.erase("ann")

    assert _names(path.parent) == FILES
    assert wrapped not in _bytes(path.parent)
    assert people.open(sealed["bob"], CONTEXT) == VALUES["bob"]


def test_a_restore_resurrects_nobody(people, path, tmp_path):
    """A key store restored with its old master key loses the person again once the log's tombstones are applied."""
    sealed = _fill(people)
    old = _copy(path, tmp_path / "old")
    erased = people.erase("ann")
    people.close()

    restored = People(old, create=False)
    assert restored.open(sealed["ann"], CONTEXT) == VALUES["ann"]
    assert restored.living([erased.pseudonym, "p-unknown"]) == {erased.pseudonym}
    assert restored.bury([erased.pseudonym]) == 1

    with pytest.raises(ErasedError):
        restored.open(sealed["ann"], CONTEXT)
    assert restored.pseudonym_of("ann") is None
    assert restored.open(sealed["bob"], CONTEXT) == VALUES["bob"]
    assert restored.erasures() == (erased,)
    restored.close()


def test_a_restore_under_a_running_process(people, path, tmp_path):
    """A backup copied over the open files is noticed before anything is read or written with the wrong master key."""
    sealed = _fill(people)
    old = _copy(path, tmp_path / "old")
    people.erase("bob")
    for name in ("people.db", "people.db.master"):
        (path.parent / name).write_bytes((old.parent / name).read_bytes())

    assert people.bury([sealed["bob"]["sub"]]) == 1
    assert people.open(sealed["ann"], CONTEXT) == VALUES["ann"]
    with pytest.raises(ErasedError):
        people.open(sealed["bob"], CONTEXT)


def test_tombstones_are_applied_once(people, path):
    """Burying twice, or somebody unknown, destroys nothing more and begins no epoch; one epoch takes any number."""
    sealed = _fill(people)
    gone = {sealed["ann"]["sub"], sealed["bob"]["sub"]}

    assert people.bury(gone | {"p-unknown"}) == 2
    assert people.epoch == 2
    before = {name: (path.parent / name).read_bytes() for name in FILES}
    assert people.bury([*gone, "p-unknown"]) == 0
    assert people.bury([]) == 0

    assert {name: (path.parent / name).read_bytes() for name in FILES} == before
    assert {erasure.pseudonym for erasure in people.erasures()} == gone | {"p-unknown"}
    assert people.pseudonym_of("cleo") == sealed["cleo"]["sub"]


def test_the_store_remembers_the_erased(people):
    """Tombstones live through later epochs, whatever a log that was restored still knows."""
    sealed = _fill(people)
    for number, name in enumerate(VALUES):
        assert people.erase(name) == Erasure(sealed[name]["sub"], number + 2)

    assert people.erasures() == tuple(Erasure(sealed[name]["sub"], n + 2) for n, name in enumerate(VALUES))


def test_named_again(people):
    """Who is named after being erased is somebody new, and what was written before stays unreadable."""
    sealed = _fill(people)
    people.erase("ann")

    assert people.pseudonym_of("ann") is None
    again = people.seal(Personal("new", "ann"), CONTEXT)["$personal"]
    assert again["sub"] not in {value["sub"] for value in sealed.values()}
    assert people.open(again, CONTEXT) == "new"
    with pytest.raises(ErasedError):
        people.open(sealed["ann"], CONTEXT)
    assert people.erase("ann") == Erasure(again["sub"], 3)


def test_nobody_of_that_name(people, path):
    """Erasing somebody who has no key is an error that does not repeat the name; it changes and makes nothing."""
    _fill(people)
    people.erase("ann")
    for name in ("ann", "dora"):
        with pytest.raises(UserError, match="this person has no key") as caught:
            people.erase(name)
        assert name not in str(caught.value)

    assert people.epoch == 2
    assert people.pseudonym_of("dora") is None
    for wrong in ("\ud800", 7):
        with pytest.raises(EntryInvalidError, match="not text"):
            people.erase(wrong)


def test_other_openers_notice(people, path):
    """Another opener of the store, with its keys in memory, has them no more at its next use."""
    sealed = _fill(people)
    other = People(path, create=False)
    assert [other.open(value, CONTEXT) for value in sealed.values()] == list(VALUES.values())
    assert other.pseudonym("ann") == sealed["ann"]["sub"]

    people.erase("ann")

    with pytest.raises(ErasedError):
        other.open(sealed["ann"], CONTEXT)
    assert other.pseudonym("ann") != sealed["ann"]["sub"]
    assert other.pseudonym("ann") == people.pseudonym("ann")
    assert other.open(sealed["bob"], CONTEXT) == VALUES["bob"]
    other.close()


def test_a_relative_path(tmp_path, monkeypatch):
    """A store opened by a relative path stays the same one when the process changes its directory."""
    monkeypatch.chdir(tmp_path)
    store = People(type(tmp_path)("keys/people.db"))
    sealed = _fill(store)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert store.erase("ann") == Erasure(sealed["ann"]["sub"], 2)
    assert store.open(sealed["bob"], CONTEXT) == VALUES["bob"]
    assert _names(tmp_path / "elsewhere") == []
    store.close()


def test_the_known_need_no_database(people, path):
    """What is in memory is used without waiting for whoever holds the store."""
    sealed = _fill(people)
    results = []

    def use():
        results.append(people.seal(Personal(1, "ann"), CONTEXT)["$personal"]["sub"])
        results.append(people.open(sealed["ann"], CONTEXT))
        results.append(people.pseudonym_of("bob"))

    with path.with_name("people.db.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=use, daemon=True)
        thread.start()
        thread.join(timeout=60)

    assert results == [sealed["ann"]["sub"], VALUES["ann"], sealed["bob"]["sub"]]


def test_one_at_a_time(people, path):
    """Who names a person, and who erases one, waits for whoever holds the store; opening it waits as well."""
    sealed = _fill(people)
    stores, results = [People(path, create=False) for _ in range(2)], {}
    works = {
        "name": lambda: stores[0].pseudonym("dora"),
        "erase": lambda: stores[1].erase("ann").epoch,
        "open": lambda: People(path, create=False).close(),
    }

    def work(name):
        results[name] = works[name]()

    threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in works]
    with path.with_name("people.db.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=0.2)
        assert results == {}
    for thread in threads:
        thread.join(timeout=60)

    assert results == {"name": people.pseudonym_of("dora"), "erase": 2, "open": None}
    assert people.pseudonym_of("bob") == sealed["bob"]["sub"]
    for store in stores:
        store.close()


def test_writers_and_an_eraser(people, path):
    """While one process erases, others name people: nobody fails, and no new key is lost to a change of files."""
    queues = [PROCESSES.SimpleQueue() for _ in range(3)]
    workers = [PROCESSES.Process(target=seal_many, args=(path, f"w{n}", 60, queues[n])) for n in range(2)]
    workers.append(PROCESSES.Process(target=erase_many, args=(path, 25, queues[2])))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    results = [queue.get() for queue in queues]

    assert results[2] == list(range(2, 27))
    for person, sealed in (*results[0], *results[1]):
        assert people.open(sealed, CONTEXT) == person
    assert people.epoch == 26


def _whole_or_gone(path, sealed, old):
    """Open what a kill left behind: the person is readable and can be erased, or is gone from every copy."""
    store = People(path, create=False)
    whole = store.pseudonym_of("ann") is not None
    if whole:
        assert store.open(sealed["ann"], CONTEXT) == VALUES["ann"]
        assert store.epoch == 1
        store.erase("ann")
    assert (store.epoch, store.erasures()) == (2, (Erasure(sealed["ann"]["sub"], 2),))
    with pytest.raises(ErasedError):
        store.open(sealed["ann"], CONTEXT)
    assert store.open(sealed["bob"], CONTEXT) == VALUES["bob"]
    assert store.pseudonym_of("cleo") == sealed["cleo"]["sub"]
    store.close()
    assert _names(path.parent) == FILES
    assert old["master"] not in _bytes(path.parent)
    with pytest.raises(ErasedError):
        Master.read(path.with_name("people.db.master")).unwrap(old["wrapped"], sealed["ann"]["sub"])
    return whole


@pytest.mark.parametrize("action", ["erase", "bury"])
@pytest.mark.parametrize("offset", [0, 4, *(pytest.param(n, marks=pytest.mark.soak) for n in (1, 2, 3, 5, 6, 7, 8))])
def test_killed_at_every_line(people, path, tmp_path, action, offset):
    """A kill before any line of an erasure leaves a store that opens, with the person whole or gone for good.

    Every ninth line from two places on; all of them in the soak run.
    """
    sealed = _fill(people)
    people.close()
    old = {"wrapped": _row(path, sealed["ann"]["sub"])[1], "master": path.with_name("people.db.master").read_bytes()}
    name = "ann" if action == "erase" else sealed["ann"]["sub"]
    outcomes = []
    for number in range(1 + offset, 10_000, 9):
        copied = tmp_path / f"k{number}"
        shutil.copytree(path.parent, copied)
        inside = killed_at(copied, number, action, name)
        outcomes.append(_whole_or_gone(copied / "people.db", sealed, old))
        if not inside:
            break

    # whole up to one line, gone from there on
    assert outcomes == sorted(outcomes, reverse=True)
    assert 0 < sum(outcomes) < len(outcomes) - 5
    assert len(outcomes) > 30, f"only {len(outcomes)} kills landed inside: too few to show anything"


@pytest.mark.parametrize("apart", [pytest.param(7, marks=pytest.mark.soak), 29], ids=["all", "some"])
def test_killed_in_the_recovery(people, path, tmp_path, apart):
    """A kill in the middle of an erasure, and others in the middle of opening what it left: nothing is lost.

    The full number of kills is in `soak`.
    """
    sealed = _fill(people)
    people.close()
    old = {"wrapped": _row(path, sealed["ann"]["sub"])[1], "master": path.with_name("people.db.master").read_bytes()}
    kills = 0
    for first in range(10, 10_000, 14):
        broken = tmp_path / f"b{first}"
        shutil.copytree(path.parent, broken)
        if not killed_at(broken, first, "erase", "ann"):
            break
        if set(_names(broken)) == set(FILES):
            continue
        for second in range(1 + first % 7, 10_000, apart):
            copied = tmp_path / f"b{first}-{second}"
            shutil.copytree(broken, copied)
            inside = killed_at(copied, second, "open", "")
            _whole_or_gone(copied / "people.db", sealed, old)
            kills += inside
            if not inside:
                break

    assert kills > 20, f"only {kills} kills landed inside a recovery: too few to show anything"


def test_kills_from_outside(people, path):
    """Processes killed at random moments, most inside an erasure: what was reported as erased is, the store opens."""
    sealed = _fill(people)
    chance, inside = random.Random(4), 0
    for _ in range(KILLS):
        read, write = os.pipe()
        worker = PROCESSES.Process(target=erase_until_killed, args=(path, Descriptor(write)))
        worker.start()
        os.close(write)
        begun = os.read(read, 1)
        time.sleep(chance.uniform(0, 0.06))
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        with os.fdopen(read, "rb") as pipe:
            lines = [line.split() for line in (begun + pipe.read()).decode().splitlines()]
        inside += lines[-1][0] == "-"
        store = People(path, create=False)
        buried = {erasure.pseudonym for erasure in store.erasures()}
        for what, name, pseudonym in lines:
            if what == ".":
                assert store.pseudonym_of(name) is None
            elif name != lines[-1][1]:
                assert pseudonym in buried
        last = store.pseudonym_of(lines[-1][1])
        assert last in (
            {lines[-1][2], None} if lines[-1][0] == "-" else {lines[-1][2]} if lines[-1][0] == "+" else {None}
        )
        store.close()

    assert people.open(sealed["ann"], CONTEXT) == VALUES["ann"]
    people.erase("ann")
    assert _names(path.parent) == FILES
    assert inside >= KILLS // 3, f"only {inside} of {KILLS} kills landed inside an erasure: too few to show anything"


def test_disk_full(people, path):
    """Where there is no room for the new file the erasure fails by name, and everything is as before."""
    _fill(people)
    pseudonym = people.pseudonym("ann")
    results = PROCESSES.SimpleQueue()
    worker = PROCESSES.Process(target=erase_on_a_full_disk, args=(path, results))
    worker.start()
    worker.join()
    assert worker.exitcode == 0

    assert results.get() == ("ledger.store_unreadable", pseudonym, 1, FILES)


def test_a_damaged_key_forbids_no_erasure(people, path):
    """Somebody's damaged key stays what it is, unreadable; the others are still erased and kept as they should."""
    sealed = _fill(people)
    people.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("UPDATE person SET wrapped = x'00' WHERE pseudonym = ?", (sealed["bob"]["sub"],))
    store = People(path, create=False)

    assert store.erase("ann").epoch == 2
    assert store.open(sealed["cleo"], CONTEXT) == VALUES["cleo"]
    for _ in range(2):
        with pytest.raises(ErasedError, match="does not open"):
            store.open(sealed["bob"], CONTEXT)
    assert store.erase("bob").epoch == 3
    store.close()


def test_mac(people):
    """Equal values of one person are told to be equal, of two persons not, and not by who lacks the key."""
    mac = people.mac(Personal({"b": 1, "a": [None]}, "ann"))

    assert mac == people.mac(Personal({"a": [None], "b": 1}, "ann"))
    assert mac["sub"] == people.pseudonym_of("ann")
    assert len(bytes.fromhex(mac["mac"])) == 32
    others = [people.mac(Personal({"b": 1, "a": [0]}, "ann")), people.mac(Personal({"b": 1, "a": [None]}, "bob"))]
    assert len({mac["mac"], *(other["mac"] for other in others)}) == 3
    people.erase("ann")
    again = people.mac(Personal({"b": 1, "a": [None]}, "ann"))
    assert {again["sub"], again["mac"]}.isdisjoint(mac.values())
