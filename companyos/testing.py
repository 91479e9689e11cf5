"""The test kit: fixtures, capture helpers and contract suites for whoever builds on CompanyOS.

Installed as a pytest plugin. Fixtures are prefixed `companyos_`; contract suites are classes to subclass:

    class TestMyEngine(EngineContract):
        def make_engine(self) -> DecisionEngine: return MyEngine()
        allowed = AccessRequest(...)
        denied = AccessRequest(...)
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from companyos.company import Company
    from companyos.controls import Control
    from companyos.ledger import Ledger
    from companyos.ledger.stores import Deposit, Store
    from companyos.ports import AccessRequest, Channel, DecisionEngine, Message
    from companyos.state import Cache, Database, StateRepository

__all__ = (
    "ChannelContract",
    "EngineContract",
    "StateCacheContract",
    "StateDatabaseContract",
    "StateRepositoryContract",
    "StoreContract",
    "assert_proves",
    "companyos_company",
    "companyos_ledger",
)


@pytest.fixture
def companyos_ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A real ledger in a directory of its own; verified from its first byte when the test is over."""
    from companyos.ledger import Ledger

    with Ledger.open(f"sqlite:///{tmp_path / 'companyos-ledger' / 'ledger.db'}") as ledger:
        yield ledger
        ledger.verify()


@pytest.fixture
def companyos_company(tmp_path: Path) -> Iterator[Company]:
    """A company with default settings in a directory of its own."""
    from companyos.company import Company

    root = tmp_path / "company"
    root.mkdir()
    (root / "companyos.yaml").write_text("company:\n  name: test\n", encoding="utf-8")
    with Company.open(root) as company:
        yield company


def assert_proves(control: Control) -> None:
    """Fail unless the control catches all that is planted and lets every clean case through."""
    from companyos.controls import prove

    proof = prove(control)
    failures = [f"{r.specimen}: wanted {r.violates or 'allow'}, got {r.got}" for r in proof.results if not r.passed]
    assert not failures, f"{control.id} does not prove itself:\n" + "\n".join(failures)  # noqa: S101 - a test helper


class EngineContract(ABC):
    """What every decision engine must do; subclass it with an engine and two requests."""

    allowed: ClassVar[AccessRequest]
    """A request that the engine allows."""
    denied: ClassVar[AccessRequest]
    """A request that it denies."""

    @abstractmethod
    def make_engine(self) -> DecisionEngine:
        """A new engine."""

    def test_allows_and_denies(self) -> None:
        """The engine tells an allowed request from a denied one, with a reason for each."""
        engine = self.make_engine()
        opinions = engine.decide(self.allowed), engine.decide(self.denied)
        assert [opinion.allow for opinion in opinions] == [True, False]  # noqa: S101 - a test
        assert all(opinion.reason for opinion in opinions)  # noqa: S101 - a test

    def test_is_deterministic(self) -> None:
        """The same request gives the same opinion every time, from any engine of the same version."""
        engines = self.make_engine(), self.make_engine()
        assert engines[0].version == engines[1].version  # noqa: S101 - a test
        opinions = [engine.decide(self.denied) for engine in engines for _ in range(5)]
        assert all(opinion == opinions[0] for opinion in opinions)  # noqa: S101 - a test

    def test_serves_threads(self) -> None:
        """One engine serves many threads at once."""
        engine = self.make_engine()
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda n: engine.decide(self.allowed if n % 2 else self.denied).allow, range(40)))
        assert answers == [bool(n % 2) for n in range(40)]  # noqa: S101 - a test

    def test_does_not_change_the_request(self) -> None:
        """The engine leaves the request as it was."""
        before: dict[str, Any] = self.denied.to_dict()
        self.make_engine().decide(self.denied)
        assert self.denied.to_dict() == before  # noqa: S101 - a test


class StoreContract(ABC):
    """What every store of a ledger must do; subclass it, in a module that can be imported, with a way to make stores.

    A test may open several stores on one URL, in several threads and processes. The sizes suit every run of the
    tests; to be sure of a store that is new, raise `entries` and `kills` by a hundred times once.
    """

    entries: ClassVar[int] = 40
    """How many each of four threads, and of four processes, appends."""
    kills: ClassVar[int] = 12
    """How many processes are killed while they append."""

    @abstractmethod
    def make_url(self, tmp_path: Path) -> str:
        """Where a log that is not there yet is to be kept; called once for each test."""

    @staticmethod
    @abstractmethod
    def make_store(url: str) -> Store:
        """A store of the log at that URL, made if it is not there; called in other processes, too."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        """Where the log of this test is kept."""
        return self.make_url(tmp_path)

    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        """A store without entries."""
        store = self.make_store(url)
        yield store
        store.close()

    @pytest.fixture
    def ledger(self, url: str, tmp_path: Path) -> Iterator[Ledger]:
        """A log in the store, which must verify when the test is over."""
        with _ledger_in(self.make_store, url, tmp_path) as ledger:
            yield ledger
            ledger.verify()

    def test_order_without_gaps(self, store: Store, ledger: Ledger) -> None:
        """Entries appended alone and together lie in order, without gaps, and are read the same in every way."""
        from companyos.ledger import Draft

        receipts = [ledger.append("contract.one", {"n": n}) for n in range(20)]
        receipts += ledger.append_many(Draft("contract.many", {"n": n}) for n in range(600))
        rows = list(store.rows())
        assert [row.index for row in rows] == list(range(620))  # noqa: S101 - a test
        assert [(row.id, row.leaf) for row in rows] == [(one.id, one.leaf_hash) for one in receipts]  # noqa: S101 - a test
        assert [store.raw(index) for index in (0, 619, 620)] == [rows[0].raw, rows[619].raw, None]  # noqa: S101 - a test
        assert (store.size(), store.extent()) == (620, (620, 0, 619))  # noqa: S101 - a test
        assert store.leaves(10, 900) == [row.leaf for row in rows[10:]]  # noqa: S101 - a test
        assert list(store.rows(5, 7)) == rows[5:7]  # noqa: S101 - a test
        assert list(store.of_source(rows[0].source)) == rows  # noqa: S101 - a test
        assert store.raws(600, 900) == [row.raw for row in rows[600:]]  # noqa: S101 - a test
        assert store.columns(600, 900) == [(*row[1:3], row.raw, row.leaf) for row in rows[600:]]  # noqa: S101 - a test
        assert [store.first_missing(start) for start in (0, 619, 700)] == [620, 620, 700]  # noqa: S101 - a test

    def test_tiles_and_head(self, store: Store, ledger: Ledger) -> None:
        """Complete tiles carry their inner nodes, tiles above grow, and the newest checkpoint replaces the last."""
        from companyos.ledger import Draft

        assert (store.head(), store.cosigned(), store.tile_extent()) == (None, None, [])  # noqa: S101 - a test
        ledger.append_many(Draft("contract.many", {"n": n}) for n in range(300))
        assert store.tile_extent() == [(0, 1, 0), (1, 1, 0)]  # noqa: S101 - a test
        ledger.append_many(Draft("contract.many", {"n": n}) for n in range(300))
        assert store.tile_extent() == [(0, 2, 1), (1, 1, 0)]  # noqa: S101 - a test
        sizes = [len(store.tile(level, index) or b"") for level, index in ((0, 0), (0, 1), (1, 0), (0, 2))]
        assert sizes == [510 * 32, 510 * 32, 2 * 32, 0]  # noqa: S101 - a test
        assert (store.head() or b"").split(b"\n")[1] == b"600"  # noqa: S101 - a test
        with store.batch() as batch:
            batch.set_cosigned(b"cosigned")
        assert (store.cosigned(), store.head()) == (b"cosigned", ledger.checkpoint())  # noqa: S101 - a test

    def test_same_id(self, store: Store, ledger: Ledger) -> None:
        """The same again gives the same receipt; the id with other content is refused with its append."""
        from companyos.ledger import Draft, IdReusedError

        first = ledger.append("contract.one", {"n": 1}, id="taken")
        again = ledger.append("contract.one", {"n": 1}, id="taken")
        assert (again.index, again.leaf_hash) == (first.index, first.leaf_hash)  # noqa: S101 - a test
        with pytest.raises(IdReusedError):
            ledger.append_many([Draft("contract.one", {"n": 2}), Draft("contract.one", {"n": 3}, "taken")])
        source = next(store.rows()).source
        assert list(store.find([(source, "taken"), (source, "other")])) == [(source, "taken")]  # noqa: S101 - a test
        assert store.extent() == (1, 0, 0)  # noqa: S101 - a test

    def test_isolation(self, url: str, store: Store) -> None:
        """Nobody sees what is not committed, nobody writes meanwhile, and an exception leaves no trace."""
        from companyos.ledger import StoreBusyError
        from companyos.ledger.stores import Row

        other = self.make_store(url)

        def interrupted() -> None:
            with store.batch() as batch:
                batch.add([Row(0, "id", "source", b"raw", b"leaf" * 8, b"")], [], [])
                batch.set_head(b"note")
                with pytest.raises(StoreBusyError), other.batch(wait=False):
                    pass
                with ThreadPoolExecutor(2) as pool:
                    seen = list(pool.map(lambda one: (one.size(), one.head()), (store, other)))
                assert seen == [(0, None)] * 2  # noqa: S101 - a test
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert (store.extent(), other.head()) == ((0, 0, 0), None)  # noqa: S101 - a test
        other.close()

    def test_taken_ids(self, store: Store) -> None:
        """An id that is taken spoils its transaction, and what was there stays."""
        from companyos.ledger.stores import Row, TakenError

        with store.batch() as batch:
            batch.add([Row(0, "id", "source", b"raw", b"leaf" * 8, b"")], [], [])
        with pytest.raises(TakenError), store.batch() as batch:
            batch.add([Row(1, name, "source", b"other", b"leaf" * 8, b"") for name in ("new", "id")], [], [])
        assert [row.raw for row in store.rows()] == [b"raw"]  # noqa: S101 - a test

    def test_payloads(self, store: Store, ledger: Ledger) -> None:
        """Payloads are kept beside the log until they are dropped, and can be listed by their class."""
        ledger.append("contract.one", {"n": 1}, retention="telemetry")
        ledger.append("contract.one", {"n": 2}, detach=True)
        later = time.time() + 60
        commits = [*store.payloads("telemetry", later), *store.payloads("", later)]
        assert list(store.payloads("telemetry", later - 3600)) == []  # noqa: S101 - a test
        assert [(store.payload(one) or (b"", b""))[1] for one in commits] == [b'{"n":1}', b'{"n":2}']  # noqa: S101 - a test
        with store.batch() as batch:
            batch.drop_payloads(commits[:1])
        store.scrub()
        assert [store.payload(one) is None for one in commits] == [True, False]  # noqa: S101 - a test
        assert store.payload_extent() == 1  # noqa: S101 - a test

    def test_deposits(self, url: str, store: Store, ledger: Ledger) -> None:
        """A deposit gets its place in the next commit of whoever writes, once; a refusal can be asked for."""
        from companyos.ledger import Draft

        drafts = [Draft("contract.left", {"n": n}, name) for n, name in enumerate(("left-0", "left-1", "left-0"))]
        deposits: list[Deposit] = ledger._prepare(drafts)  # noqa: SLF001 - what an append leaves
        refused = deposits[2]
        other = self.make_store(url)
        other.deposit(deposits)
        other.close()
        ledger.sequence()
        assert [row.id for row in store.rows()] == ["left-0", "left-1"]  # noqa: S101 - a test
        assert "left-0 is taken" in (store.refusal(refused.source, "left-0", refused.leaf) or "")  # noqa: S101 - a test
        assert store.refusal(refused.source, "left-0", deposits[0].leaf) is None  # noqa: S101 - a test
        with store.batch() as batch:
            assert batch.waiting(10) == []  # noqa: S101 - a test

    def test_turns(self, url: str, ledger: Ledger, tmp_path: Path) -> None:
        """Two that write by turns, so that neither knows the log as it last left it, make one log."""
        with _ledger_in(self.make_store, url, tmp_path) as other:
            indexes = [one.append("contract.turn", {}).index for _ in range(10) for one in (ledger, other, other)]
        assert indexes == list(range(30))  # noqa: S101 - a test

    def test_threads(self, ledger: Ledger) -> None:
        """Four threads append at once: every index once, each thread's own in their order."""
        with ThreadPoolExecutor(4) as pool:
            count = range(self.entries)
            parts = list(pool.map(lambda n: [ledger.append("contract.one", {"t": n}).index for _ in count], range(4)))
        assert sorted(index for part in parts for index in part) == list(range(4 * self.entries))  # noqa: S101 - a test
        assert all(part == sorted(part) for part in parts)  # noqa: S101 - a test

    def test_processes(self, url: str, ledger: Ledger, tmp_path: Path) -> None:
        """Four processes append at once: every index once, every receipt right, each process's own in their order."""
        workers = [_Worker(self.make_store, url, tmp_path, f"p{n}", self.entries) for n in range(4)]
        parts = [worker.receipts() for worker in workers]
        assert all(list(part.values()) == sorted(part.values()) for part in parts)  # noqa: S101 - a test
        placed = {name: index for part in parts for name, index in part.items()}
        assert placed == {entry.id: entry.index for entry in ledger.read()}  # noqa: S101 - a test
        assert sorted(placed.values()) == list(range(4 * self.entries))  # noqa: S101 - a test

    def test_kills(self, url: str, ledger: Ledger, tmp_path: Path) -> None:
        """Processes killed in the middle of appends: no receipt is lost or wrong, and the log goes on."""
        chance = random.Random(self.kills)  # noqa: S311 - the moments of the kills
        receipts: dict[str, int] = {}
        inside = 0
        for number in range(0, self.kills, 2):
            workers = [_Worker(self.make_store, url, tmp_path, f"k{number + n}", 1 << 30) for n in range(2)]
            for worker in workers:
                worker.started()
            time.sleep(chance.uniform(0, 0.05))
            for worker in workers:
                inside += worker.kill()
                receipts |= worker.receipts()
            ledger.append("contract.after", {})
        entries = {entry.id: entry.index for entry in ledger.read()}
        assert {name: entries.get(name) for name in receipts} == receipts  # noqa: S101 - a test
        # Of each append that a kill cut off, nobody was told; all else that is there was appended by us.
        assert len(entries) <= len(receipts) + inside + self.kills // 2  # noqa: S101 - a test
        assert inside >= self.kills // 3, f"only {inside} kills landed inside an append: too few to show anything"  # noqa: S101 - a test


@contextmanager
def _ledger_in(make_store: Callable[[str], Store], url: str, folder: Path) -> Iterator[Ledger]:
    from companyos.ledger import Ledger
    from companyos.ledger.keyring import Keyring
    from companyos.ledger.people import People

    origin = "test.example/contract"
    keys = Keyring.open(origin, f"file:{folder / 'log.pem'}", create=True)
    with Ledger(make_store(url), keys, People(folder / "people.db", create=True)) as ledger:
        yield ledger


class _Worker:
    """A process that appends, and writes to a pipe before (`>`) and after (`id index`) each append."""

    def __init__(self, make_store: Callable[[str], Store], url: str, folder: Path, name: str, count: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__", "companyos.ledger", "companyos.testing"])
        self._read, write = context.Pipe(duplex=False)
        self._lines: list[str] = []
        self._process = context.Process(target=_append, args=((make_store, url, folder), name, count, write))
        self._process.start()
        write.close()

    def started(self) -> None:
        """Wait until it appends."""
        self._lines.append(self._read.recv_bytes().decode())

    def kill(self) -> bool:
        """Kill it; whether that was inside an append."""
        os.kill(self._process.pid or 0, signal.SIGKILL)
        self._drain()
        return self._lines[-1] == ">"

    def receipts(self) -> dict[str, int]:
        """What it was given, once it is over."""
        self._drain()
        self._process.join()
        found = [line.split() for line in self._lines if line != ">"]
        return {name: int(index) for name, index in found}

    def _drain(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._lines.append(self._read.recv_bytes().decode())
        self._read.close()


def _append(place: tuple[Callable[[str], Store], str, Path], name: str, count: int, report: Connection) -> None:
    with _ledger_in(*place) as ledger:
        for number in range(count):
            report.send_bytes(b">")
            receipt = ledger.append("contract.one", {"pad": "x" * 500}, id=f"{name}-{number}", detach=number % 3 == 0)
            report.send_bytes(f"{receipt.id} {receipt.index}".encode())


class ChannelContract(ABC):
    """What every notification channel must do; subclass it with a channel and a way to see what arrived."""

    @abstractmethod
    def make_channel(self, tmp_path: Path) -> Channel:
        """A new channel."""

    @abstractmethod
    def arrived(self, tmp_path: Path) -> list[str]:
        """The texts that arrived, in order."""

    def test_delivers_in_order(self, tmp_path: Path) -> None:
        """Every message arrives once, in order, and the channel says where it went."""
        from companyos.ports import Message

        channel = self.make_channel(tmp_path)
        messages: list[Message] = [Message("test.topic", f"text {n}", f"id-{n}") for n in range(3)]
        assert all(channel.deliver(message) for message in messages)  # noqa: S101 - a test
        assert self.arrived(tmp_path) == [message.text for message in messages]  # noqa: S101 - a test


class StateDatabaseContract(ABC):
    """What every database of states must do; subclass it with a fixture `database` of an empty one."""

    @abstractmethod
    def database(self) -> Database:
        """A fixture: an empty database."""

    def test_versions_grow_over_deletes(self, database: Database) -> None:
        """Every save and delete gets the next version, and a deleted state has none."""
        writes = [
            database.write("k", b"1", "d1", None),
            database.write("k", b"2", "d2", None),
            database.delete("k", None),
            database.write("k", b"3", "d3", 0),
        ]
        assert [written and written.version for written in writes] == [1, 2, 3, 4]  # noqa: S101 - a test
        row = database.read("k")
        assert (row.payload, row.digest, row.version) == (b"3", "d3", 4)  # noqa: S101 - a test
        database.delete("k", 4)
        row = database.read("k")
        assert (row.payload, row.digest, row.version) == (None, None, 5)  # noqa: S101 - a test
        assert database.delete("k", None) is None  # noqa: S101 - a test

    def test_an_unexpected_version_writes_nothing(self, database: Database) -> None:
        """A write that expects another version, or something where there is nothing, is refused and leaves no trace."""
        assert database.write("k", b"1", "d", 7) is None  # noqa: S101 - a test
        assert database.read("k").version == 0  # noqa: S101 - a test
        assert database.write("k", b"1", "d", 0) is not None  # noqa: S101 - a test
        refused = [database.write("k", b"2", "d", 0), database.write("k", b"2", "d", 2), database.delete("k", 9)]
        assert refused == [None, None, None]  # noqa: S101 - a test
        assert (database.read("k").payload, database.read("k").version) == (b"1", 1)  # noqa: S101 - a test

    def test_concurrent_writes_get_a_version_each(self, database: Database) -> None:
        """Threads that write one session at once get different versions, without a gap."""
        with ThreadPoolExecutor(4) as pool:
            written = list(pool.map(lambda n: database.write("k", b"%d" % n, f"d{n}", None), range(60)))
        assert sorted(one.version for one in written if one) == list(range(1, 61))  # noqa: S101 - a test
        last = next(n for n, one in enumerate(written) if one and one.version == 60)
        assert database.read("k").payload == b"%d" % last  # noqa: S101 - a test

    def test_the_feed_tells_of_every_change(self, database: Database) -> None:
        """What was committed since the last reading is in the next one, with its newest version."""
        before = database.changes(None, 100)
        for key in ("a", "b", "a"):
            database.write(key, b"1", "d", None)
        first = database.changes(before.next, 100)
        assert (first.versions, first.start) == ({"a": 2, "b": 1}, before.next)  # noqa: S101 - a test
        database.delete("b", None)
        assert database.changes(first.next, 100).versions["b"] == 2  # noqa: S101 - a test

    def test_a_long_feed_says_from_where_it_is_whole(self, database: Database) -> None:
        """With more changes than the limit, the newest are given, and the position from which none is missing."""
        for number in range(20):
            database.write(f"k{number}", b"1", "d", None)
        position = database.read("k9").position
        changes = database.changes(None, 5)
        assert changes.versions == {f"k{n}": 1 for n in range(15, 20)}  # noqa: S101 - a test
        assert 0 < changes.start <= position  # noqa: S101 - a test

    def test_what_was_read_contains_all_earlier_changes(self, database: Database) -> None:
        """A row's position is beyond every change that it shows, so that a reader can tell what it cannot have seen."""
        database.write("k", b"1", "d", None)
        position = database.read("k").position
        assert database.changes(position, 100).versions == {}  # noqa: S101 - a test
        committed = database.write("k", b"2", "d", None)
        assert committed is not None  # noqa: S101 - a test
        assert committed.position >= position  # noqa: S101 - a test
        assert database.changes(position, 100).versions == {"k": 2}  # noqa: S101 - a test

    def test_a_purge_resets_no_version(self, database: Database) -> None:
        """A forgotten session that comes back has a higher version than it ever had."""
        for _ in range(3):
            database.write("gone", b"1", "d", None)
        database.delete("gone", None)
        database.write("kept", b"1", "d", None)
        assert database.purge(-60) == 1  # noqa: S101 - a test
        assert database.read("gone").version == 0  # noqa: S101 - a test
        again = database.write("gone", b"1", "d", None)
        assert again is not None  # noqa: S101 - a test
        assert again.version > 4  # noqa: S101 - a test
        assert database.read("kept").version == 1  # noqa: S101 - a test

    def test_all_rows_are_listed(self, database: Database) -> None:
        """Every session, with its digest and that of the index, in the order of keys."""
        for number in range(300):
            database.write(f"k{number:03}", b"%d" % number, f"d{number}", None)
        rows = list(database.rows())
        assert rows == [(f"k{n:03}", b"%d" % n, f"d{n}", f"d{n}") for n in range(300)]  # noqa: S101 - a test


class StateCacheContract(ABC):
    """What every cache of states must do; subclass it with a fixture `cache` of an empty one."""

    @abstractmethod
    def cache(self) -> Cache:
        """A fixture: an empty cache."""

    def test_values_come_back_as_they_went_in(self, cache: Cache) -> None:
        """Any bytes, under any key, until they are replaced."""
        values = {"k": bytes(range(256)), "ключ 1": b"", "a:b": b"x" * 100_000}
        for key, value in values.items():
            cache.put(key, b"before", 60)
            cache.put(key, value, 60)
        assert {key: cache.get(key) for key in values} == values  # noqa: S101 - a test
        assert cache.get("other") is None  # noqa: S101 - a test

    def test_values_expire(self, cache: Cache) -> None:
        """What has outlived its time is gone."""
        import time

        cache.put("k", b"1", 0.02)
        time.sleep(0.05)
        assert cache.get("k") is None  # noqa: S101 - a test
        assert cache.add("k", b"2", 60)  # noqa: S101 - a test

    def test_only_one_adds(self, cache: Cache) -> None:
        """Of many who add at once, one succeeds, and its value is there."""
        with ThreadPoolExecutor(8) as pool:
            added = list(pool.map(lambda n: cache.add("k", b"%d" % n, 60), range(40)))
        assert sum(added) == 1  # noqa: S101 - a test
        assert cache.get("k") == b"%d" % added.index(True)  # noqa: S101 - a test

    def test_only_the_owner_swaps(self, cache: Cache) -> None:
        """A value is replaced, or removed, only by who knows what is there."""
        assert not cache.swap("k", b"1", b"2", 60)  # noqa: S101 - a test
        cache.put("k", b"1", 60)
        assert not cache.swap("k", b"0", b"2", 60)  # noqa: S101 - a test
        assert cache.swap("k", b"1", b"2", 60)  # noqa: S101 - a test
        assert cache.get("k") == b"2"  # noqa: S101 - a test
        assert cache.swap("k", b"2", None, 60)  # noqa: S101 - a test
        assert cache.get("k") is None  # noqa: S101 - a test

    def test_publishing_settles_by_the_rule(self, cache: Cache) -> None:
        """Whatever is there when a write is published, the cache does what `companyos.state.entry.settle` says."""
        from companyos.state import entry

        mine, other, token = entry.fence(), entry.fence(), entry.token()
        values = {n: entry.encode("k", n, 1, b"%d" % n) for n in (4, 5, 6)}
        told = entry.settle(other, mine, values[6])
        found = [None, mine, other, told, token, *values.values(), b"", b"damage", b"F", b"E"]
        assert told is not None  # noqa: S101 - a test
        for before in found:
            for marker, value in ((mine, values[5]), (other, values[5]), (other, values[6])):
                cache.put("k", b"", 60)
                cache.swap("k", b"", before, 60)
                cache.publish("k", marker, value, 60)
                assert cache.get("k") == entry.settle(before, marker, value), (before, value)  # noqa: S101 - a test


class StateRepositoryContract(ABC):
    """What every combination of stores must do; subclass it with a fixture `repository` of an empty one."""

    @abstractmethod
    def repository(self) -> StateRepository:
        """A fixture: a repository over empty stores."""

    def test_a_state_is_read_as_it_was_saved(self, repository: StateRepository) -> None:
        """Payload, version and digest, cached and strong; nothing where nothing was saved."""
        from companyos.canonical import digest

        payload = {"z": [1, 2.5, 1e20, None, True], "a": "ü\u0000\U0001f600", "": {}}
        saved = repository.save("s", payload)
        assert (saved.version, saved.digest) == (1, digest(payload))  # noqa: S101 - a test
        for state in (repository.get("s"), repository.get("s"), repository.get("s", consistency="strong")):
            assert state is not None  # noqa: S101 - a test
            found = (state.payload, state.version, state.digest, state.degraded)
            assert found == (payload, 1, saved.digest, False)  # noqa: S101 - a test
        assert repository.get("other") is None  # noqa: S101 - a test

    def test_a_second_read_comes_from_the_cache(self, repository: StateRepository) -> None:
        """What was read once, or saved, is read from the cache, and so is that there is nothing."""
        repository.save("s", {"n": 1})
        repository.get("none")
        before = repository.stats()["database_reads"]
        state = repository.get("s")
        assert state is not None  # noqa: S101 - a test
        assert state.source == "cache"  # noqa: S101 - a test
        assert repository.get("none") is None  # noqa: S101 - a test
        assert repository.stats()["database_reads"] == before  # noqa: S101 - a test

    def test_deleted_is_gone_and_versions_go_on(self, repository: StateRepository) -> None:
        """After a delete there is nothing, cached or strong; the next save has a higher version."""
        repository.save("s", {"n": 1})
        deleted = [repository.delete("s"), repository.delete("s"), repository.delete("never")]
        assert deleted == [2, None, None]  # noqa: S101 - a test
        assert (repository.get("s"), repository.get("s", consistency="strong")) == (None, None)  # noqa: S101 - a test
        assert repository.save("s", {"n": 2}).version == 3  # noqa: S101 - a test

    def test_an_expected_version_decides(self, repository: StateRepository) -> None:
        """Of two who read the same version, one saves; the other is told, and nothing is lost."""
        from companyos.state import StateConflictError

        first = repository.save("s", {"n": 1}, expected_version=0)
        repository.save("s", {"n": 2}, expected_version=first.version)
        for expected in (0, first.version, 99):
            with pytest.raises(StateConflictError, match="nothing was written"):
                repository.save("s", {"n": 3}, expected_version=expected)
        with pytest.raises(StateConflictError):
            repository.delete("s", expected_version=first.version)
        state = repository.get("s")
        assert state is not None  # noqa: S101 - a test
        assert (state.payload, state.version) == ({"n": 2}, 2)  # noqa: S101 - a test

    def test_counters_survive_threads(self, repository: StateRepository) -> None:
        """Threads that count by expected version, each trying again when it lost, lose no step."""
        from companyos.state import StateConflictError

        repository.save("s", 0)

        def step() -> None:
            while True:
                state = repository.get("s", consistency="strong")
                assert state is not None  # noqa: S101 - a test
                try:
                    repository.save("s", state.payload + 1, expected_version=state.version)
                except StateConflictError:
                    continue
                return

        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(step) for _ in range(40)]:
                done.result()
        state = repository.get("s")
        assert state is not None  # noqa: S101 - a test
        assert (state.payload, state.version) == (40, 41)  # noqa: S101 - a test

    def test_everything_verifies(self, repository: StateRepository) -> None:
        """The payloads of all sessions, or of one, are what was saved."""
        for number in range(5):
            repository.save(f"s{number}", {"n": number})
        repository.delete("s0")
        assert repository.verify_integrity() == 4  # noqa: S101 - a test
        assert (repository.verify_integrity("s1"), repository.verify_integrity("s0")) == (1, 0)  # noqa: S101 - a test
