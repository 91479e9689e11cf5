"""Exporting in the background: nothing here is waited for by whoever is observed.

Finished spans wait in a bounded queue; one more than fits is left out and counted. What an exporter cannot deliver is
counted too. The names are those of the conventions for SDKs (`otel.sdk.processor.span.processed`,
`otel.sdk.exporter.span.exported`, `otel.sdk.exporter.metric_data_point.exported`), where `error.type` tells what was
lost.
"""

from __future__ import annotations

import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.observability.spans import Span

__all__ = ("Export", "Periodic", "SpanQueue")

PROCESSED = "otel.sdk.processor.span.processed"
SPANS_EXPORTED = "otel.sdk.exporter.span.exported"
POINTS_EXPORTED = "otel.sdk.exporter.metric_data_point.exported"


class Export(Protocol):
    """Sends some of what was recorded."""

    def send(self, batch: Any) -> str | None:
        """Send it; what went wrong, as a short stable word, or None."""

    def stop(self) -> None:
        """Give up waiting and send no more."""


class _Worker(ABC):
    """A daemon thread that works every so often and when asked to; it is there again in a forked process."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._begin()
        os.register_at_fork(after_in_child=_forked(weakref.ref(self)))

    def _begin(self) -> None:
        self._turn = threading.Condition()
        self._asked = 0
        self._done = 0
        self._wrong: str | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    @abstractmethod
    def work(self) -> None:
        """Do what there is to do."""

    def ask(self) -> None:
        """Have it work now, without waiting for it."""
        with self._turn:
            self._asked += 1
            self._turn.notify_all()

    def flush(self, timeout_seconds: float) -> bool:
        """Have it work now and wait; False if it was not done in time, or went wrong."""
        with self._turn:
            self._asked += 1
            wanted = self._asked
            self._turn.notify_all()
            return self._turn.wait_for(lambda: self._done >= wanted, timeout_seconds) and self._wrong is None

    def stop(self, timeout_seconds: float) -> bool:
        """Work a last time and end; False if that was not possible in time, or went wrong."""
        with self._turn:
            self._stopped = True
            self._turn.notify_all()
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive() and self._wrong is None

    def _run(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._stopped or self._asked > self._done, self._seconds)
                stopped, asked = self._stopped, self._asked
            self.work()
            with self._turn:
                self._done = max(self._done, asked)
                self._turn.notify_all()
            if stopped:
                return

    def forked(self) -> None:
        """Begin anew in a child process: threads are not inherited, and what waits is the parent's to send."""
        if not self._stopped:
            self._begin()


def _forked(of: weakref.ref[_Worker]) -> Callable[[], None]:
    def begin() -> None:
        worker = of()
        if worker is not None:
            worker.forked()

    return begin


class SpanQueue(_Worker):
    """Finished spans on their way out."""

    def __init__(
        self,
        export: Export,
        count: Callable[[str, int, str | None], None],
        *,
        size: int,
        batch: int,
        seconds: float,
    ) -> None:
        self._queue: deque[Span] = deque()
        self._export = export
        self._count = count
        self._size = size
        self._batch = batch
        super().__init__("companyos-spans", seconds)

    def offer(self, span: Span) -> None:
        """Take a finished span; never waits."""
        waiting = len(self._queue)
        if waiting >= self._size or self._stopped:
            self._count(PROCESSED, 1, "shutdown" if self._stopped else "queue_full")
            return
        self._queue.append(span)
        if waiting + 1 == self._batch:
            self.ask()

    def work(self) -> None:
        """Send what waits, batch by batch; once stopped, only as long as that goes well."""
        self._wrong = None
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
            wrong = self._export.send(batch)
            self._count(PROCESSED, len(batch), None)
            self._count(SPANS_EXPORTED, len(batch), wrong)
            self._wrong = self._wrong or wrong
            if wrong is not None and self._stopped:
                return

    def stop(self, timeout_seconds: float) -> bool:
        """Send what waits, within that time; what remains is counted as lost."""
        in_time = super().stop(timeout_seconds)
        self._export.stop()
        lost = len(self._queue)
        self._queue.clear()
        if lost:
            self._count(PROCESSED, lost, "shutdown")
        return in_time and not lost

    def forked(self) -> None:
        """Begin anew, without the parent's spans."""
        self._queue.clear()
        super().forked()


class Periodic(_Worker):
    """Sends the state of all metrics every so often, and a last time at the end."""

    def __init__(
        self,
        export: Export,
        read: Callable[[], tuple[Any, int]],
        count: Callable[[str, int, str | None], None],
        *,
        seconds: float,
    ) -> None:
        self._export = export
        self._read = read
        self._count = count
        super().__init__("companyos-metrics", seconds)

    def work(self) -> None:
        """Read and send; reading nothing sends nothing."""
        data, points = self._read()
        self._wrong = self._export.send(data) if points else None
        if points:
            self._count(POINTS_EXPORTED, points, self._wrong)

    def stop(self, timeout_seconds: float) -> bool:
        """Send a last time, within that time."""
        in_time = super().stop(timeout_seconds)
        self._export.stop()
        return in_time
