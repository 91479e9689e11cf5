"""Group commit within a process: whoever appends at the same time shares a commit.

The first to come commits at once, in their own thread; those that come while a commit is under way wait, and a thread
kept for that commits them all together, again and again until nobody waits. Tasks of an event loop never commit
themselves, because that would hold up their loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from companyos.ledger.errors import StoreUnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from companyos.ledger.stores.interface import Deposit
    from companyos.ports import Receipt

__all__ = ("Sequencer", "Ticket")

_MOST = 8192
"""Entries in one commit; more only if a single caller brings more at once."""
_IDLE_TURNS = 2
"""How often others are let run, and nobody comes, before a commit is begun."""


class Ticket:
    """What one caller appends, all of it or nothing, and what became of it."""

    __slots__ = ("_done", "_future", "deposits", "error", "receipts")

    def __init__(self, deposits: Sequence[Deposit], future: asyncio.Future[list[Receipt]] | None = None) -> None:
        self.deposits = deposits
        self.receipts: list[Receipt] = []
        self.error: BaseException | None = None
        self._future = future
        self._done = threading.Lock()
        self._done.acquire()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop in which somebody awaits it, None if it is a thread."""
        return None if self._future is None else self._future.get_loop()

    def wait(self) -> None:
        """Block until it is settled."""
        self._done.acquire()

    def settle(self) -> None:
        """Wake who waits; in the thread of its event loop, if it has one."""
        if self._future is None:
            self._done.release()
        elif self._future.done():
            return
        elif self.error is not None:
            self._future.set_exception(self.error)
        else:
            self._future.set_result(self.receipts)


class Sequencer:
    """Brings tickets to `commit`, which puts receipts or an error on each and must not raise for any of them."""

    def __init__(self, commit: Callable[[list[Ticket]], None]) -> None:
        self._commit = commit
        self._mutex = threading.Lock()
        self._queue: deque[Ticket] = deque()
        self._busy = False
        self._inside: int | None = None
        self._closed = False
        self._work = threading.Semaphore(0)
        self._thread: threading.Thread | None = None

    def submit(self, deposits: Sequence[Deposit]) -> list[Receipt]:
        """Commit, with whatever else waits, and return a receipt for each deposit."""
        ticket = Ticket(deposits)
        if self._inside == threading.get_ident():
            # A listener appends: the round that it is told in would wait for it, and it for the round.
            self._work_off([ticket])
        else:
            first = False
            try:
                first = self._enter(ticket)
                if first:
                    self._round()
            finally:
                # Also when an interrupt came in the middle: nobody may be left waiting for this thread.
                try:
                    if first:
                        self._pass_on()
                except KeyboardInterrupt:
                    self._pass_on()
                    raise
        ticket.wait()
        if ticket.error is not None:
            raise ticket.error
        return ticket.receipts

    async def asubmit(self, deposits: Sequence[Deposit]) -> list[Receipt]:
        """The same for a task. Who is cancelled while waiting may find the entry in the log all the same."""
        future: asyncio.Future[list[Receipt]] = asyncio.get_running_loop().create_future()
        if self._enter(Ticket(deposits, future)):
            self._pass_on()
        return await future

    def close(self) -> None:
        """Commit what waits, then take nothing more."""
        with self._mutex:
            self._closed = True
        while self._busy:
            time.sleep(0.001)
        with self._mutex:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._work.release()
            thread.join()

    def _enter(self, ticket: Ticket) -> bool:
        """Queue a ticket; True for who has to see to it that the queue is worked off."""
        with self._mutex:
            if self._closed:
                raise StoreUnreadableError("this ledger is closed", hint="open it again")
            self._queue.append(ticket)
            first, self._busy = not self._busy, True
            return first

    def _pass_on(self) -> None:
        """Leave what has come in the meantime to the thread kept for that."""
        with self._mutex:
            if not self._queue:
                self._busy = False
                return
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="companyos-ledger", daemon=True)
                self._thread.start()
        self._work.release()

    def _run(self) -> None:
        while True:
            self._work.acquire()
            while self._more():
                self._gather(self._round())
            with self._mutex:
                if self._closed:
                    return

    def _more(self) -> bool:
        with self._mutex:
            if not self._queue:
                self._busy = False
            return bool(self._queue)

    def _gather(self, woken: int) -> None:
        """Let those who were woken by a commit come again, as long as more and more of them do.

        One interpreter runs one thread at a time: a commit that is begun among them would wait for them at each of its
        turns, and take along hardly any.
        """
        idle = 0
        while len(self._queue) < woken and idle < _IDLE_TURNS:
            before = len(self._queue)
            time.sleep(0)
            idle = idle + 1 if len(self._queue) == before else 0

    def _round(self) -> int:
        """Commit what waits; how many callers that were."""
        tickets: list[Ticket] = []
        try:
            self._next(tickets)
        finally:
            self._work_off(tickets)
        return len(tickets)

    def _work_off(self, tickets: list[Ticket]) -> None:
        outer, self._inside = self._inside, threading.get_ident()
        try:
            self._commit(tickets)
        except BaseException as error:
            for ticket in tickets:
                ticket.error = ticket.error or error
            if not isinstance(error, Exception):
                raise
        finally:
            self._inside = outer
            _settle(tickets)

    def _next(self, tickets: list[Ticket]) -> None:
        """Take what waits, the oldest first."""
        with self._mutex:
            count = 0
            while self._queue and count < _MOST:
                tickets.append(self._queue.popleft())
                count += len(tickets[-1].deposits)


def _settle(tickets: list[Ticket]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[Ticket]] = {}
    for ticket in tickets:
        if ticket.loop is None:
            ticket.settle()
        else:
            by_loop.setdefault(ticket.loop, []).append(ticket)
    for loop, its in by_loop.items():
        # A loop that was closed has nobody left who waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle_all, its)


def _settle_all(tickets: list[Ticket]) -> None:
    for ticket in tickets:
        ticket.settle()
