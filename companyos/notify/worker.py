"""Workers: they take messages from the outbox, deliver them, and write down what became of them."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from companyos.ledger.outbox import Result
from companyos.notify import messages
from companyos.notify.attempt import Attempt, attempt
from companyos.notify.receipts import BATCH, bring, receipt
from companyos.notify.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from companyos.ledger.outbox import Item, Outbox
    from companyos.ports import Channel, LedgerPort

__all__ = ("Tally", "Worker")

QUICK_SECONDS = 0.02
"""A lane that answers faster gets several messages at a time."""
GATHER_SECONDS = 0.005
"""How long a result waits for others, to be written down in one transaction with them."""
RECEIPTS_EVERY_SECONDS = 0.5
_LONGEST_RUN = 16


@dataclass(slots=True)
class Tally:
    """What a worker did."""

    delivered: int = 0
    """Messages that a channel took."""
    retried: int = 0
    """Failed attempts that will be repeated."""
    dead: int = 0
    """Messages given up."""

    def count(self, results: Sequence[Result]) -> None:
        """Add what counted."""
        for one in results:
            if one.state == "delivered":
                self.delivered += 1
            elif one.state == "dead":
                self.dead += 1
            elif not one.given_back:
                self.retried += 1


@dataclass(slots=True)
class _Run:
    """Messages of one lane that a thread takes in one go."""

    items: list[tuple[Item, float]]
    """With the moment until which each is ours."""
    tried: list[tuple[Item, Attempt]] = field(default_factory=list)
    """What it came to; those that are missing at the end were not tried."""
    slow: bool = False
    """Whether one of them took long."""


class Worker:
    """Delivers what is due in an outbox; any number of workers in any number of processes may share one.

    What a worker holds when it is killed is taken over once its lease is over: it is delivered at least once, always
    with the same id. Where there are several channels at most half of the threads wait for one, so that one that hangs
    does not stop the others.
    """

    def __init__(
        self,
        outbox: Outbox,
        channels: Mapping[str, Channel],
        *,
        ledger: LedgerPort | None = None,
        retry: RetryPolicy | None = None,
        threads: int = 8,
        lease_seconds: float = 60.0,
        poll_seconds: float = 0.2,
        rng: random.Random | None = None,
    ) -> None:
        self._outbox, self._channels, self._ledger = outbox, channels, ledger
        self._retry, self._rng = retry or RetryPolicy(), rng or random.Random()  # noqa: S311 - jitter
        self._threads, self._lease, self._poll = threads, lease_seconds, poll_seconds
        self._share = threads if len(channels) < 2 else max(1, threads // 2)
        self._todo: queue.SimpleQueue[_Run | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[_Run] = queue.SimpleQueue()
        self._waiting: defaultdict[str, deque[tuple[Item, float]]] = defaultdict(deque)
        self._running: Counter[str] = Counter()
        self._quick: Counter[str] = Counter()
        self._brought_at = 0.0
        self.tally = Tally()
        """What was done so far."""

    def run(self, stop: threading.Event, *, once: bool = False) -> Tally:
        """Deliver until `stop` is set, or with `once` until nothing is due; what is under way is finished first.

        Raises:
            OutboxUnavailableError: the outbox does not answer; what was held is taken over by another worker.
        """
        threads = [threading.Thread(target=self._deliver, daemon=True) for _ in range(self._threads)]
        for thread in threads:
            thread.start()
        try:
            while self._step(stop, once=once):
                pass
        finally:
            for _ in threads:
                self._todo.put(None)
        bring(self._outbox, self._ledger)
        return self.tally

    def _step(self, stop: threading.Event, *, once: bool) -> bool:
        """One round; False when there is nothing left to do."""
        if stop.is_set():
            self._give_back()
        else:
            self._claim()
        self._dispatch()
        if self._running.total():
            self._finish(self._collect())
            return True
        self._bring(now=True)
        if stop.is_set() or once:
            return False
        due = self._outbox.next_due()
        stop.wait(self._poll if due is None else min(self._poll, max(due, 0.005)))
        return True

    def _claim(self) -> None:
        lanes = [name for name in self._channels if len(self._waiting[name]) < self._threads]
        held = sum(map(len, self._waiting.values()))
        if held > BATCH // 2 or not lanes:
            return
        # Half of the lease is for waiting here, the other half for the attempt.
        until = time.monotonic() + self._lease / 2
        for item in self._outbox.claim(BATCH - held, self._lease, lanes=lanes):
            self._waiting[item.lane].append((item, until))

    def _dispatch(self) -> None:
        late: list[Result] = []
        for lane, items in self._waiting.items():
            while items and self._running[lane] < self._share:
                size = min(_LONGEST_RUN, 1 + self._quick[lane] // 2)
                taken = [items.popleft() for _ in range(min(size, len(items)))]
                now = time.monotonic()
                late += [Result(item, "waiting", given_back=True) for item, until in taken if until <= now]
                fresh = [(item, until) for item, until in taken if until > now]
                if fresh:
                    self._running[lane] += 1
                    self._todo.put(_Run(fresh))
        self._write(late)

    def _collect(self) -> list[_Run]:
        runs = [self._done.get()]
        until = time.monotonic() + GATHER_SECONDS
        while len(runs) < self._running.total() and sum(len(run.tried) for run in runs) < BATCH:
            try:
                runs.append(self._done.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        return runs

    def _finish(self, runs: Sequence[_Run]) -> None:
        results = []
        for run in runs:
            lane = run.items[0][0].lane
            self._running[lane] -= 1
            self._quick[lane] = 0 if run.slow else self._quick[lane] + len(run.tried)
            self._waiting[lane].extendleft(reversed(run.items[len(run.tried) :]))
            results += [self._retry.result(item, tried, self._rng) for item, tried in run.tried]
        self._write(results)
        self._bring(now=False)

    def _write(self, results: Sequence[Result]) -> None:
        for start in range(0, len(results), BATCH):
            chunk = results[start : start + BATCH]
            self.tally.count(self._outbox.finish(chunk, receipt=receipt))

    def _give_back(self) -> None:
        held = [Result(item, "waiting", given_back=True) for items in self._waiting.values() for item, _ in items]
        self._waiting.clear()
        self._write(held)

    def _bring(self, *, now: bool) -> None:
        if now or time.monotonic() >= self._brought_at + RECEIPTS_EVERY_SECONDS:
            bring(self._outbox, self._ledger)
            self._brought_at = time.monotonic()

    def _deliver(self) -> None:
        while (run := self._todo.get()) is not None:
            try:
                self._attempt(run)
            finally:
                self._done.put(run)

    def _attempt(self, run: _Run) -> None:
        for item, _ in run.items:
            started = time.monotonic()
            run.tried.append((item, self._tried(item)))
            if time.monotonic() - started > QUICK_SECONDS:
                run.slow = True
                return

    def _tried(self, item: Item) -> Attempt:
        if item.attempts > self._retry.attempts:
            # Whoever had it before did not live to say so; a message that kills its workers must not go on for ever.
            return Attempt(False, "", "its workers died", permanent=True)
        return attempt(self._channels[item.lane], messages.read(item.id, item.body, item.meta, item.created))
