"""The contract of stores of the ledger."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, ClassVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from companyos.ledger import Ledger
    from companyos.ledger.stores import Deposit, Store

__all__ = ("StoreContract",)


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
