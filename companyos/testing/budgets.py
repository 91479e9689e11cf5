"""The contract of stores of budgets."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar

import pytest

from companyos.testing.budget_crowd import crowd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from companyos.finops.budgets import BudgetStore, Charge, Fence, Outcome

__all__ = ("BudgetStoreContract",)

EPOCH = "e1"
CAP = 100


class BudgetStoreContract(ABC):
    """What every store of a budget must do; subclass it, in a module that can be imported, with a way to make stores.

    A test may open several stores on one URL, in several threads and processes. The sizes suit every run of the tests;
    to be sure of a store that is new, raise `processes`, `threads` and `seconds` once.
    """

    processes: ClassVar[int] = 2
    """How many processes spend at once; each of them is killed and replaced over and over."""
    threads: ClassVar[int] = 4
    """How many threads spend at once in each."""
    seconds: ClassVar[float] = 2.0
    """How long they do."""

    @abstractmethod
    def make_url(self, tmp_path: Path) -> str:
        """Where a budget that is not there yet is to be kept; called once for each test."""

    @staticmethod
    @abstractmethod
    def make_store(url: str) -> BudgetStore:
        """A store of the budget at that URL; called in other processes, too."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        """Where the budget of this test is kept."""
        return self.make_url(tmp_path)

    @pytest.fixture
    def store(self, url: str) -> Iterator[BudgetStore]:
        """A store without anything spent."""
        from companyos.finops.budgets import Snapshot

        store = self.make_store(url)
        assert store.mark() is None  # noqa: S101 - a test
        assert store.create(EPOCH, Snapshot(), replaces=None)  # noqa: S101 - a test
        yield store
        store.close()

    def test_all_levels_or_none(self, store: BudgetStore) -> None:
        """A reservation that one level has no room for takes nothing from any, and says how full each is."""
        both = (_charge("run", 30, limit=50), _charge("team", 30))
        assert _reserve(store, "a", *both).levels == ((0, 30), (0, 30))  # noqa: S101 - a test
        refused = _reserve(store, "b", *both)
        assert (refused.status, refused.levels) == ("refused", ((0, 30), (0, 30)))  # noqa: S101 - a test
        assert _used(store) == {"run": (0, 30), "team": (0, 30)}  # noqa: S101 - a test
        assert _reserve(store, "c", _charge("team", CAP - 30)).status == "ok"  # noqa: S101 - a test
        assert _reserve(store, "d", _charge("team", 1)).status == "refused"  # noqa: S101 - a test

    def test_the_same_reservation_again(self, store: BudgetStore) -> None:
        """The same id and content again takes nothing more; other content is a conflict."""
        first = _reserve(store, "a", _charge("team", 30))
        again = _reserve(store, "a", _charge("team", 30))
        assert (again.status, again.found) == ("ok", "open")  # noqa: S101 - a test
        assert again.lease_until == pytest.approx(first.lease_until, abs=1e-3)  # noqa: S101 - a test
        assert _reserve(store, "a", _charge("team", 31), content="other").status == "conflict"  # noqa: S101 - a test
        assert _used(store) == {"team": (0, 30)}  # noqa: S101 - a test

    def test_settling(self, store: BudgetStore) -> None:
        """What was spent takes the place of what was reserved, once; another amount afterwards is a conflict."""
        _reserve(store, "a", _charge("team", 30))
        assert _settle(store, "a", _charge("team", 12)).levels == ((12, 0),)  # noqa: S101 - a test
        assert (_settle(store, "a", _charge("team", 12)).status, _used(store)) == ("ok", {"team": (12, 0)})  # noqa: S101 - a test
        assert _settle(store, "a", _charge("team", 13)).status == "conflict"  # noqa: S101 - a test
        assert store.refund("a", fence=_fence()).status == "conflict"  # noqa: S101 - a test
        assert _used(store) == {"team": (12, 0)}  # noqa: S101 - a test

    def test_more_than_reserved_is_counted(self, store: BudgetStore) -> None:
        """Spending beyond the reservation, and beyond the cap, is counted in full, and nothing more is given out."""
        _reserve(store, "a", _charge("team", 90))
        assert _settle(store, "a", _charge("team", 130)).levels == ((130, 0),)  # noqa: S101 - a test
        assert _reserve(store, "b", _charge("team", 1)).status == "refused"  # noqa: S101 - a test
        over = [event.body["over"] for event in store.pending(9) if event.kind == "settled"]
        assert over == [[["team", 40]]]  # noqa: S101 - a test

    def test_what_is_not_known_is_counted(self, store: BudgetStore) -> None:
        """A settlement of a reservation that the store does not know is counted all the same, once."""
        outcome = _settle(store, "gone", _charge("team", 12))
        assert (outcome.status, outcome.found, _used(store)) == ("ok", None, {"team": (12, 0)})  # noqa: S101 - a test
        _settle(store, "gone", _charge("team", 12))
        assert _used(store) == {"team": (12, 0)}  # noqa: S101 - a test

    def test_sums_beyond_floating_point_are_exact(self, store: BudgetStore) -> None:
        """Beyond 2^53 the last unit still counts, in what is spent and in what waits for the ledger."""
        for name in ("a", "b", "c"):
            _settle(store, name, _charge("team", 2**53 - 1))
        assert _used(store) == {"team": (3 * (2**53 - 1), 0)}  # noqa: S101 - a test
        store.acknowledge(store.pending(9), fence=_fence())
        last = _settle(store, "d", _charge("team", 2)._replace(allowance=2))
        assert (last.log_first, _used(store)) == (False, {"team": (3 * (2**53 - 1) + 2, 0)})  # noqa: S101 - a test

    def test_refunds(self, store: BudgetStore) -> None:
        """A refund gives all of it back, once; of what is not known there is none."""
        _reserve(store, "a", _charge("team", 30))
        assert store.refund("a", fence=_fence()).status == "ok"  # noqa: S101 - a test
        assert (store.refund("a", fence=_fence()).status, _used(store)) == ("ok", {"team": (0, 0)})  # noqa: S101 - a test
        assert store.refund("b", fence=_fence()).status == "unknown"  # noqa: S101 - a test

    def test_leases(self, store: BudgetStore) -> None:
        """What nobody settles is given back after its lease by the store's clock; settled late, it is counted."""
        _reserve(store, "a", _charge("team", CAP), lease=0.2)
        assert _reserve(store, "b", _charge("team", 1)).status == "refused"  # noqa: S101 - a test
        time.sleep(0.3)
        assert _reserve(store, "b", _charge("team", 60)).levels == ((0, 60),)  # noqa: S101 - a test
        found = store.find("a")
        assert (found and found.status, [one.id for one in store.open_records()]) == ("expired", ["b"])  # noqa: S101 - a test
        late = _settle(store, "a", _charge("team", 70))
        assert (late.found, _used(store)) == ("expired", {"team": (70, 60)})  # noqa: S101 - a test

    def test_windows_go_by_the_clock_of_the_store(self, store: BudgetStore) -> None:
        """A charge on a window that does not run now takes nothing; the answer says what time it is."""
        now = store.now()
        for start, end in ((0, int(now) - 5), (int(now) + 3600, int(now) + 7200)):
            outcome = _reserve(store, f"w{start}", _charge("team", 1)._replace(start=start, end=end))
            assert (outcome.status, round(outcome.now - now) < 60) == ("clock", True)  # noqa: S101 - a test
        assert _used(store) == {}  # noqa: S101 - a test

    def test_the_journal(self, store: BudgetStore) -> None:
        """Every change leaves an event, in order, until it is acknowledged."""
        _reserve(store, "a", _charge("team", 30))
        _reserve(store, "b", _charge("team", 5), lease=0.05)
        _settle(store, "a", _charge("team", 12))
        time.sleep(0.1)
        store.expire(fence=_fence())
        events = store.pending(9)
        seen = [(event.kind, event.id) for event in events]
        assert seen == [("reserved", "a"), ("reserved", "b"), ("settled", "a"), ("expired", "b")]  # noqa: S101 - a test
        assert [event.seq for event in events] == sorted({event.seq for event in events})  # noqa: S101 - a test
        assert events[2].body["actual"] == [["team", 12]]  # noqa: S101 - a test
        assert store.acknowledge(events[:2], fence=_fence()).waiting == 2  # noqa: S101 - a test
        assert store.pending(9) == events[2:]  # noqa: S101 - a test

    def test_what_must_be_logged_first(self, store: BudgetStore) -> None:
        """Only so much is given out unlogged as the allowance says, and nothing where the ledger knows no level yet."""

        def charge(units: int) -> Charge:
            return _charge("team", units)._replace(allowance=10)

        first, second = _reserve(store, "a", charge(1)), _reserve(store, "b", charge(1))
        assert (first.log_first, second.log_first) == (True, True)  # noqa: S101 - a test
        store.acknowledge(store.pending(9), fence=_fence())
        flags = [_reserve(store, f"c{units}", charge(units)).log_first for units in (6, 4, 1)]
        assert flags == [False, False, True]  # noqa: S101 - a test
        store.acknowledge(store.pending(9), fence=_fence())
        store.acknowledge(store.pending(9), fence=_fence())
        settled = [_settle(store, f"c{units}", charge(units)).log_first for units in (6, 4, 1)]
        assert settled == [False, False, True]  # noqa: S101 - a test

    def test_fences(self, store: BudgetStore) -> None:
        """Who means another making of the store, or knows more than it, is told that it is lost, without a change."""
        seq = _reserve(store, "a", _charge("team", 30)).seq
        for fence in (_fence("e0"), _fence(EPOCH, seq + 1)):
            answers = (
                _reserve(store, "b", _charge("team", 1), fence=fence),
                _settle(store, "a", _charge("team", 1), fence=fence),
                store.refund("a", fence=fence),
                store.expire(fence=fence),
                store.acknowledge((), fence=fence),
            )
            assert {answer.status for answer in answers} == {"lost"}  # noqa: S101 - a test
        assert _used(store) == {"team": (0, 30)}  # noqa: S101 - a test
        assert _reserve(store, "b", _charge("team", 1), fence=_fence(EPOCH, seq)).status == "ok"  # noqa: S101 - a test

    def test_making_anew(self, url: str, store: BudgetStore) -> None:
        """A store is made anew from a snapshot by whoever names its epoch, and holds exactly that."""
        from companyos.finops.budgets import Level, Record, Snapshot

        _reserve(store, "old", _charge("team", 30))
        body = {"charges": [list(_charge("team", 7)[:6])]}
        record = Record("kept", "open", store.now() + 60, "content", body)
        done = Record("done", "settled", 0.0, "content", body, (("team", 5),))
        snapshot = Snapshot((Level("team", 5, 7, CAP, "EUR", 0, 4_000_000_000),), (record, done))
        other = self.make_store(url)
        assert [other.create("e2", snapshot, replaces=epoch) for epoch in (None, "e0", EPOCH)] == [False, False, True]  # noqa: S101 - a test
        assert _reserve(store, "x", _charge("team", 1)).status == "lost"  # noqa: S101 - a test
        fence = _fence("e2")
        mark = other.mark()
        assert (mark and (mark.epoch, mark.seq, mark.whole), store.pending(9)) == (("e2", 0, True), [])  # noqa: S101 - a test
        assert (_used(store), store.find("old")) == ({"team": (5, 7)}, None)  # noqa: S101 - a test
        assert _settle(store, "kept", _charge("team", 6), fence=fence).levels == ((11, 0),)  # noqa: S101 - a test
        assert _settle(store, "done", _charge("team", 5), fence=fence).found == "settled"  # noqa: S101 - a test
        other.close()

    def test_large_amounts_are_exact(self, store: BudgetStore) -> None:
        """Amounts up to 2^53 - 1 are counted to the last unit."""
        most = 2**53 - 1
        assert _reserve(store, "a", _charge("team", most - 1, limit=most)).levels == ((0, most - 1),)  # noqa: S101 - a test
        assert _reserve(store, "b", _charge("team", 2, limit=most)).status == "refused"  # noqa: S101 - a test
        assert _reserve(store, "c", _charge("team", 1, limit=most)).levels == ((0, most),)  # noqa: S101 - a test
        assert _settle(store, "a", _charge("team", most - 2, limit=most)).levels == ((most - 2, 1),)  # noqa: S101 - a test

    def test_threads_cannot_pass_a_cap(self, store: BudgetStore) -> None:
        """Threads that ask at once for more than there is get exactly what there is, whatever the order of levels."""

        def one(number: int) -> Outcome:
            pair = (_charge("x", 3), _charge("y", 3, limit=60))
            return _reserve(store, f"r{number}", *(pair if number % 2 else pair[::-1]))

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(one, range(60)))
        assert [outcome.status for outcome in outcomes].count("ok") == 20  # noqa: S101 - a test
        assert _used(store) == {"x": (0, 60), "y": (0, 60)}  # noqa: S101 - a test

    def test_one_reservation_in_many_hands(self, store: BudgetStore) -> None:
        """Of all who settle, refund or repeat one reservation at once, one decides, and it is counted once."""
        for number in range(12):
            name = f"r{number}"
            _reserve(store, name, _charge("team", 5, limit=1000))
            with ThreadPoolExecutor(6) as pool:
                settled = pool.map(
                    lambda units, name=name: _settle(store, name, _charge("team", units, limit=1000)), (3, 4, 3)
                )
                refunded = pool.submit(store.refund, name, fence=_fence())
                statuses = {outcome.status for outcome in settled}
                refunded.result()
            assert statuses == {"ok", "conflict"}  # noqa: S101 - a test
        spent, reserved = _used(store)["team"]
        records = [store.find(f"r{number}") for number in range(12)]
        assert (spent, reserved) == (sum(units for one in records if one for _, units in one.actual or ()), 0)  # noqa: S101 - a test

    def test_purging(self, store: BudgetStore) -> None:
        """What is over and past is forgotten; what is open, or counts in a window that runs, stays; sums do."""
        for name, finish in (("a", _settle), ("b", None), ("c", None), ("d", _settle)):
            _reserve(store, name, _charge("team", 5))
            if finish is not None:
                finish(store, name, _charge("team", 4))
        store.refund("b", fence=_fence())
        used = _used(store)
        assert store.purge(_AFTER - 2, fence=_fence(), dry_run=False) == (False, {}, 3)  # noqa: S101 - a test
        assert store.purge(_AFTER, fence=_fence(), dry_run=True) == (False, {"settled": 2, "refunded": 1}, 0)  # noqa: S101 - a test
        assert store.purge(_AFTER, fence=_fence("other"), dry_run=False).lost  # noqa: S101 - a test
        assert all(store.find(name) for name in "abcd")  # noqa: S101 - a test

        assert store.purge(_AFTER, fence=_fence(), dry_run=False) == (False, {"settled": 2, "refunded": 1}, 0)  # noqa: S101 - a test
        assert [name for name in "abcd" if store.find(name)] == ["c"]  # noqa: S101 - a test
        assert _used(store) == used == {"team": (8, 5)}  # noqa: S101 - a test

    @pytest.mark.usefixtures("store")
    def test_a_crowd_that_is_killed(self, url: str) -> None:
        """Processes killed while they spend: no cap is passed at any moment, nothing stays reserved, the sums agree."""
        report = crowd(
            self.make_store, url, EPOCH, processes=self.processes, threads=self.threads, seconds=self.seconds
        )
        assert report.problems == []  # noqa: S101 - a test
        assert report.grants > 0  # noqa: S101 - a test
        assert report.kills >= self.processes  # noqa: S101 - a test


_AFTER = 4_000_000_001
"""Seconds since 1970 at which the windows of these tests are past."""


def _charge(key: str, units: int, *, limit: int = CAP) -> Charge:
    from companyos.finops.budgets import Charge

    return Charge(key, units, limit, "EUR", 0, _AFTER - 1)


def _fence(epoch: str = EPOCH, seen: int = 0) -> Fence:
    from companyos.finops.budgets import Fence

    return Fence(epoch, seen)


def _body(charges: tuple[Charge, ...]) -> str:
    return json.dumps({"charges": [list(one[:6]) for one in charges]})


def _reserve(
    store: BudgetStore, name: str, *charges: Charge, content: str = "", lease: float = 60.0, fence: Fence | None = None
) -> Outcome:
    body = _body(charges)
    return store.reserve(name, charges, body=body, content=content, lease_seconds=lease, fence=fence or _fence())


def _settle(store: BudgetStore, name: str, *charges: Charge, fence: Fence | None = None) -> Outcome:
    found = store.find(name)
    body = _body(charges) if found is None else json.dumps(dict(found.body))
    return store.settle(name, charges, body=body, fence=fence or _fence())


def _used(store: BudgetStore) -> dict[str, tuple[int, int]]:
    return {one.key: (one.spent, one.reserved) for one in store.levels()}
