"""The contract of outboxes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from companyos.ledger.outbox import Draft, Item, Outbox, Result

__all__ = ("OutboxContract",)

AT_ONCE_OVER = -1.0
"""A lease that is over as soon as it begins: so that no test waits."""
LONG = 600.0


class OutboxContract(ABC):
    """What every store of an outbox must do; subclass it with a way to make one, and to write to its database.

    A test may open several stores on one URL.
    """

    @abstractmethod
    def make_url(self, tmp_path: Path) -> str:
        """Where an outbox that is not there yet is to be kept; called once for each test."""

    @abstractmethod
    def make_outbox(self, url: str) -> Outbox:
        """The outbox at that URL."""

    @abstractmethod
    def connect(self, url: str) -> AbstractContextManager[Any]:
        """A connection of the caller's own to the database at that URL, with `execute`, `commit` and `rollback`."""

    @abstractmethod
    def elsewhere(self, tmp_path: Path) -> AbstractContextManager[Any]:
        """A connection to another database of the same kind."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        """Where the outbox of this test is kept."""
        return self.make_url(tmp_path)

    @pytest.fixture
    def outbox(self, url: str) -> Iterator[Outbox]:
        """An outbox without items."""
        made = self.make_outbox(url)
        yield made
        made.close()

    def test_an_item_exists_if_and_only_if_its_transaction_commits(self, outbox: Outbox, url: str) -> None:
        """Written on the caller's connection: nothing before the commit, nothing after a rollback."""
        with self.connect(url) as connection:
            outbox.add([_draft("a")], connection=connection)
            assert outbox.find("a") == []  # noqa: S101 - a test
            connection.rollback()
            assert outbox.claim(10, LONG) == []  # noqa: S101 - a test
            outbox.add([_draft("b")], connection=connection)
            connection.commit()
        assert [item.id for item in outbox.claim(10, LONG)] == ["b"]  # noqa: S101 - a test

    def test_another_database_is_refused(self, outbox: Outbox, tmp_path: Path) -> None:
        """Where nobody would look for the item, it is not written."""
        from companyos.ledger.outbox import OutboxForeignError

        with self.elsewhere(tmp_path) as connection, pytest.raises(OutboxForeignError):
            outbox.add([_draft("a")], connection=connection)
        with pytest.raises(OutboxForeignError):
            outbox.add([_draft("a")], connection=object())

    def test_the_same_again_is_no_second_item(self, outbox: Outbox) -> None:
        """By id and lane and body; what goes along may differ. Another body is refused, and nothing is written."""
        from companyos.ledger.outbox import Draft, OutboxConflictError

        outbox.add([_draft("a"), Draft("a", "other", "body", "meta")])
        outbox.add([Draft("a", "lane", "body", "another meta")])
        with pytest.raises(OutboxConflictError):
            outbox.add([_draft("b"), Draft("a", "lane", "another body")])
        assert [(one.id, one.lane) for one in outbox.find("a")] == [("a", "lane"), ("a", "other")]  # noqa: S101 - a test
        assert outbox.find("b") == []  # noqa: S101 - a test

    def test_a_lease_keeps_others_away_until_it_is_over(self, outbox: Outbox) -> None:
        """An item is in one hand at a time; after its lease it goes to the next, under a higher fence."""
        outbox.add([_draft("a")])
        (first,) = outbox.claim(10, LONG)
        assert outbox.claim(10, LONG) == []  # noqa: S101 - a test
        assert outbox.find("a")[0].held  # noqa: S101 - a test
        outbox.add([_draft("b")])
        (lost,) = outbox.claim(10, AT_ONCE_OVER)
        (taken,) = outbox.claim(10, LONG)
        assert (first.id, lost.id, taken.id) == ("a", "b", "b")  # noqa: S101 - a test
        assert taken.fence > lost.fence  # noqa: S101 - a test
        assert (lost.attempts, taken.attempts) == (1, 2)  # noqa: S101 - a test

    def test_an_old_fence_decides_nothing_but_a_delivery(self, outbox: Outbox) -> None:
        """Who lost an item cannot fail it; that it was delivered is true whoever says so, and counts once."""
        outbox.add([_draft("a")])
        (lost,) = outbox.claim(10, AT_ONCE_OVER)
        (taken,) = outbox.claim(10, LONG)
        assert outbox.finish([_result(lost, "dead")]) == []  # noqa: S101 - a test
        assert outbox.finish([_result(lost, "waiting")]) == []  # noqa: S101 - a test
        assert [one.item for one in outbox.finish([_result(lost, "delivered")])] == [lost]  # noqa: S101 - a test
        assert outbox.finish([_result(taken, "delivered")]) == []  # noqa: S101 - a test
        assert outbox.finish([_result(taken, "dead")]) == []  # noqa: S101 - a test
        assert outbox.find("a")[0].state == "delivered"  # noqa: S101 - a test

    def test_a_failed_item_is_due_later(self, outbox: Outbox) -> None:
        """After its delay and not before; one that was given back is due at once, and its attempt does not count."""
        from companyos.ledger.outbox import Result

        outbox.add([_draft("a"), _draft("b")])
        first, second = outbox.claim(10, LONG)
        outbox.finish([Result(first, "waiting", LONG, "no answer"), Result(second, "waiting", given_back=True)])
        (again,) = outbox.claim(10, LONG)
        (failed,) = outbox.find("a")
        assert (again.id, again.attempts) == ("b", 1)  # noqa: S101 - a test
        assert (failed.note, failed.attempts, failed.held) == ("no answer", 1, False)  # noqa: S101 - a test
        due = outbox.next_due()
        assert due is not None  # noqa: S101 - a test
        assert 0 < due <= LONG  # noqa: S101 - a test

    def test_receipts_are_kept_with_what_they_are_about(self, outbox: Outbox) -> None:
        """Of what is final and counted, in the same transaction, until they are acknowledged."""
        outbox.add([_draft("a"), _draft("b"), _draft("c")])
        one, two, three = outbox.claim(10, LONG)
        outbox.finish([_result(one, "delivered")], receipt=_names)
        outbox.finish([_result(one, "delivered"), _result(two, "dead"), _result(three, "waiting")], receipt=_names)
        waiting = outbox.receipts(10)
        assert [text for _, text in waiting] == ["a", "b"]  # noqa: S101 - a test
        outbox.acknowledge([waiting[0][0]])
        assert outbox.receipts(10) == waiting[1:]  # noqa: S101 - a test

    def test_a_receipt_that_cannot_be_made_undoes_the_result(self, outbox: Outbox) -> None:
        """Neither without the other."""
        outbox.add([_draft("a")])
        (item,) = outbox.claim(10, LONG)

        def broken(_results: Sequence[Result]) -> str:
            raise LookupError

        with pytest.raises(LookupError):
            outbox.finish([_result(item, "delivered")], receipt=broken)
        assert outbox.find("a")[0].state == "waiting"  # noqa: S101 - a test

    def test_the_dead_wait_for_a_word(self, outbox: Outbox) -> None:
        """They are not claimed, can be replayed under the same id, or dropped; nothing else can."""
        outbox.add([_draft("a"), _draft("b")])
        first, second = outbox.claim(10, LONG)
        outbox.finish([_result(first, "dead"), _result(second, "dead")])
        assert outbox.claim(10, LONG) == []  # noqa: S101 - a test
        assert (outbox.replay("a"), outbox.drop("b"), outbox.replay("b"), outbox.drop("x")) == (1, 1, 0, 0)  # noqa: S101 - a test
        assert outbox.replay("a", lane="other") == 0  # noqa: S101 - a test
        (again,) = outbox.claim(10, LONG)
        assert (again.id, again.attempts) == ("a", 1)  # noqa: S101 - a test
        assert again.fence > first.fence  # noqa: S101 - a test
        assert outbox.count() == {"dropped": 1, "waiting": 1}  # noqa: S101 - a test

    def test_only_lanes_that_were_asked_for(self, outbox: Outbox) -> None:
        """A worker gets what it can deliver, and no more than it asked for."""
        from companyos.ledger.outbox import Draft

        outbox.add([Draft(f"{lane}{n}", lane, "body") for lane in ("x", "y") for n in range(3)])
        assert outbox.claim(10, LONG, lanes=[]) == []  # noqa: S101 - a test
        assert {item.lane for item in outbox.claim(10, LONG, lanes=["y", "z"])} == {"y"}  # noqa: S101 - a test
        assert len(outbox.claim(2, LONG)) == 2  # noqa: S101 - a test

    def test_queues_are_apart(self, outbox: Outbox, url: str) -> None:
        """One database, two queues: the same id twice, and nobody sees the other's."""
        from companyos.ledger.outbox import open_outbox

        outbox.add([_draft("a")])
        other = open_outbox(url, "another_queue")
        assert other.claim(10, LONG) == []  # noqa: S101 - a test
        other.add([_draft("a")])
        assert len(other.claim(10, LONG)) == 1  # noqa: S101 - a test
        other.close()
        assert outbox.count() == {"waiting": 1}  # noqa: S101 - a test

    def test_what_is_done_can_be_forgotten(self, outbox: Outbox) -> None:
        """By its age; what is dead or waits is kept."""
        outbox.add([_draft("a"), _draft("b"), _draft("c")])
        one, two, _ = outbox.claim(10, LONG)
        outbox.finish([_result(one, "delivered"), _result(two, "dead")])
        assert outbox.purge(LONG) == 0  # noqa: S101 - a test
        assert outbox.purge(-1.0) == 1  # noqa: S101 - a test
        assert outbox.count() == {"dead": 1, "waiting": 1}  # noqa: S101 - a test

    def test_a_crowd_shares_without_overlap(self, outbox: Outbox, url: str) -> None:
        """Several stores claim at once: each item is in one hand, and none is left."""
        outbox.add([_draft(f"n{number}") for number in range(60)])

        def take(_number: int) -> list[str]:
            store = self.make_outbox(url)
            found: list[str] = []
            while items := store.claim(3, LONG):
                store.finish([_result(item, "delivered") for item in items])
                found += [item.id for item in items]
            store.close()
            return found

        with ThreadPoolExecutor(4) as pool:
            taken = [name for part in pool.map(take, range(4)) for name in part]
        assert sorted(taken) == sorted(f"n{number}" for number in range(60))  # noqa: S101 - a test
        assert outbox.count() == {"delivered": 60}  # noqa: S101 - a test


def _draft(name: str) -> Draft:
    from companyos.ledger.outbox import Draft

    return Draft(name, "lane", "body")


def _result(item: Item, state: Any) -> Result:
    from companyos.ledger.outbox import Result

    return Result(item, state)


def _names(results: Sequence[Result]) -> str:
    return ",".join(one.item.id for one in results)
