"""Decisions of low risk, recorded a moment late and many in one commit, but none of them dropped.

A process that is killed loses what it had not written yet: at most `LIMIT` decisions of the last `LATE_SECONDS`. The
log says so: before the first decision waits, the stream leaves an `audit_opened` entry, and once all are written an
`audit_closed` one; see `companyos.authz.instances` for what becomes of a stream that was never closed. Each decision's
entry carries the stream's instance and its number in it, so that everybody can count.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from companyos.authz.audit import RETENTION, Record, drafts, new_id
from companyos.authz.instances import CLOSED, IDLE_SECONDS, MARKERS, OPENED, REFUSED, report_gaps, this_process
from companyos.authz.interface import AuditError
from companyos.errors import IntegrityError, UnverifiableError
from companyos.ledger.entry import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from companyos.authz.instances import InstanceLedger
    from companyos.ledger.preparation import Draft

__all__ = ("LATE_SECONDS", "LIMIT", "AuditStream")

_log = logging.getLogger(__name__)

LATE_SECONDS = 0.05
"""How late a decision may be on the ledger."""
LIMIT = 512
"""How many decisions may wait; fewer, where writing so many would take too long."""
_WINDOW_SECONDS = 0.02
"""How long the first decision of a batch waits for others; the rest of `LATE_SECONDS` is for writing them."""
_DRAIN_SECONDS = 5.0
"""How long a ledger that fails is tried again when the stream is closed."""
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_GUESS_SECONDS = 0.0002
"""What writing one decision takes, until it is known."""
_TROUBLE = (UnverifiableError, IntegrityError, OSError, MemoryError)
"""The ledger could not take anything now; whatever else it raises is about one entry."""


class _Waiting(NamedTuple):
    """A decision that waits to be written."""

    number: int
    time: float
    since: float
    record: Record


class AuditStream:
    """Takes records of decisions and writes them to a ledger from a thread of its own.

    Any number of threads may use it. It must be closed before the ledger; a process that ends without closing it does
    so as its last act, unless it is killed.
    """

    def __init__(
        self,
        ledger: InstanceLedger,
        *,
        retention: str | None = RETENTION,
        limit: int = LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._retention = retention
        self._limit = limit
        self._most = _room(limit, _GUESS_SECONDS)
        self._oldest = 0.0
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._written = threading.Condition(self._lock)
        self._opening = threading.Lock()
        self._queue: deque[_Waiting] = deque()
        self._thread: threading.Thread | None = None
        self._instance: str | None = None
        self._accepted = 0
        self._settled = 0
        self._lost = 0
        self._cost = _GUESS_SECONDS
        self._ready = self._hurry = self._failing = self._closing = self._single = False
        self._deadline = float("inf")
        self._retired: list[tuple[str, int, int]] = []
        self._undecided = True
        _streams.add(self)

    def open(self) -> None:
        """Report what earlier streams lost; if that fails now, it is done before the first decision waits."""
        try:
            self._look_back()
        except Exception:  # noqa: BLE001 - a ledger that fails stops nobody before the first decision
            _log.exception("the ledger could not be asked for audit streams that were never closed")

    @property
    def waiting(self) -> int:
        """How many decisions are not written yet."""
        with self._lock:
            return self._accepted - self._settled

    def put(self, record: Record) -> bool:
        """Leave a record to be written within `LATE_SECONDS`; False if the caller has to write it, for now or always.

        Where too many wait already, the caller waits until some are written.

        Raises:
            AuditError: the ledger does not take what waits, or the stream is closed.
        """
        with self._lock:
            if self._ready and self._has_room(now := self._clock()):
                self._take(record, now)
                return True
        return self._put_late(record)

    def close(self) -> None:
        """Write all that waits, then take nothing more.

        Raises:
            AuditError: the ledger did not take all of it; the log's next reader finds this stream unclosed.
        """
        with self._lock:
            self._ready, first = False, not self._closing
            self._closing, self._hurry = True, True
            self._deadline = min(self._deadline, self._clock() + _DRAIN_SECONDS)
            self._arrived.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(2 * _DRAIN_SECONDS)
        _streams.discard(self)
        with self._lock:
            left = self._accepted - self._settled
            if not left:
                self._end_instance()
        if first and left:
            raise AuditError(
                "decisions could not be recorded before the end",
                got=f"{left} that were batched",
                expected="the ledger to take them",
                hint="close the authorizer before its ledger; mend the ledger",
            )
        if first:
            try:
                self._retire()
            except Exception as error:
                raise AuditError("the end of the audit stream could not be recorded", hint="mend the ledger") from error

    def _has_room(self, now: float) -> bool:
        """Whether one more may wait: not if too many do, nor while one is late, so that all that wait are of 50 ms."""
        waiting = self._accepted - self._settled
        return waiting < self._most and (not waiting or now - self._oldest < LATE_SECONDS)

    def _take(self, record: Record, now: float) -> None:
        if self._accepted == self._settled:
            self._oldest = now
        self._accepted += 1
        self._queue.append(_Waiting(self._accepted, time.time(), now, record))
        if len(self._queue) == 1:
            self._arrived.notify()

    def _put_late(self, record: Record) -> bool:
        """Everything but the usual case: not open yet, failing, closed, or too many waiting."""
        if not self._opened():
            return False
        with self._lock:
            deadline = self._clock() + LATE_SECONDS
            while self._ready and not self._has_room(self._clock()):
                self._hurry = True
                self._arrived.notify()
                # Not for ever: a listener of the ledger may be asking, and the write that we wait for waits for it.
                if not self._written.wait(max(0.0, deadline - self._clock())) or self._clock() > deadline:
                    break
            if self._ready and self._has_room(now := self._clock()):
                self._take(record, now)
                return True
        self._require_usable()
        return False

    def _require_usable(self) -> None:
        if self._closing:
            raise AuditError("the audit stream is closed", hint="make a new Authorizer")
        if self._failing:
            raise AuditError("the ledger does not take the decisions that were made before", hint="mend the ledger")

    def _opened(self) -> bool:
        """Whether the stream is open, or could be opened now; not if another caller is just about it."""
        self._require_usable()
        if self._single:
            return False
        if self._ready:
            return True
        if not self._opening.acquire(blocking=False):
            return False
        try:
            if not self._ready:
                self._begin()
        finally:
            self._opening.release()
        return True

    def _begin(self) -> None:
        if self._undecided:
            self._look_back()
        instance = new_id()
        data = {
            "instance": instance,
            "process": this_process(),
            "limit": self._limit,
            "late_ms": round(LATE_SECONDS * 1000),
        }
        self._ledger.append(OPENED, data, id=f"{instance}-opened", source=MARKERS)
        with self._lock:
            if self._closing:
                self._retired.append((instance, 0, 0))
                self._require_usable()
            self._instance = instance
            self._accepted = self._settled = self._lost = 0
            self._ready = True
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="companyos-audit", daemon=True)
                self._thread.start()

    def _look_back(self) -> None:
        self._undecided = report_gaps(self._ledger)

    def _run(self) -> None:
        while True:
            batch = self._gather()
            if batch:
                self._write(batch)
            elif self._closing:
                return
            else:
                self._rest()

    def _gather(self) -> list[_Waiting]:
        """The next batch, once its first decision has waited long enough; nothing if there is none for long."""
        with self._lock:
            idle = self._clock() + IDLE_SECONDS
            while not self._queue:
                if self._closing or (left := idle - self._clock()) <= 0:
                    return []
                self._arrived.wait(left)
            # Since it came, not since this thread woke up: on a busy machine that is a while later.
            due = self._queue[0].since + _WINDOW_SECONDS
            while not self._hurry and (left := due - self._clock()) > 0:
                self._arrived.wait(left)
            self._hurry = self._closing
            batch = list(self._queue)
            self._queue.clear()
            return batch

    def _rest(self) -> None:
        """Nobody has asked for long: say that nothing waits, so that the silence is no sign of death."""
        with self._lock:
            if self._queue or self._closing:
                return
            self._ready = False
            self._end_instance()
        try:
            self._retire()
            if self._undecided:
                self._look_back()
        except Exception:  # noqa: BLE001 - it is tried again after the next silence
            _log.exception("the ledger did not take the end of an audit stream")

    def _end_instance(self) -> None:
        if self._instance is not None:
            self._retired.append((self._instance, self._accepted, self._lost))
            self._instance = None

    def _retire(self) -> None:
        """Leave the entries that say that all of an instance is written; what could not be left is tried again."""
        while self._retired:
            instance, accepted, lost = self._retired[0]
            data = {"instance": instance, "decisions": accepted, "refused": lost}
            self._ledger.append(CLOSED, data, id=f"{instance}-closed", source=MARKERS)
            del self._retired[0]

    def _write(self, batch: Sequence[_Waiting]) -> None:
        """Bring a batch to the ledger, however long it takes; while it fails, no decision is taken."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            begun = self._clock()
            try:
                self._append(batch)
            except Exception:  # noqa: BLE001 - whatever a ledger raises, nothing is written
                if not self._failing:
                    _log.exception("the ledger does not take batched decisions; requests are refused until it does")
                if not self._wait_to_retry(pause):
                    return
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                self._settle(batch, self._clock() - begun)
                return

    def _wait_to_retry(self, pause: float) -> bool:
        with self._lock:
            self._failing, self._ready = True, False
            self._written.notify_all()
            if self._clock() > self._deadline:
                # Not written, and never will be: whoever closes the stream is told how many.
                self._queue.clear()
                return False
            self._arrived.wait(pause)
            return True

    def _settle(self, batch: Sequence[_Waiting], seconds: float) -> None:
        with self._lock:
            self._settled += len(batch)
            # The commit itself costs the same for one as for many.
            self._cost += 0.3 * (seconds / max(len(batch), 32) - self._cost)
            self._most = _room(self._limit, self._cost)
            if self._queue:
                self._oldest = self._queue[0].since
            if self._failing:
                _log.warning("the ledger takes decisions again")
                self._failing, self._ready = False, not self._closing
            self._written.notify_all()

    def _append(self, batch: Sequence[_Waiting]) -> None:
        made = [self._drafts(waiting) for waiting in batch]
        try:
            self._ledger.append_many([draft for parts in made for draft in parts])
        except _TROUBLE:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is about one of them
            self._append_singly(batch, made, error)

    def _append_singly(self, batch: Sequence[_Waiting], made: Sequence[Sequence[Draft]], error: Exception) -> None:
        """One entry is refused for what it says: write the others, and say which could not be."""
        refused = []
        for waiting, parts in zip(batch, made, strict=True):
            try:
                self._ledger.append_many(parts)
            except _TROUBLE:
                raise
            except Exception as reason:  # noqa: BLE001 - as above
                refused.append(waiting)
                error = reason
        if not refused:
            return
        _log.error("the ledger refused %d batched decisions; no more are batched", len(refused), exc_info=error)
        self._single = True
        data = {
            "instance": self._instance,
            "numbers": [waiting.number for waiting in refused],
            "decisions": [waiting.record.id for waiting in refused],
            "error": getattr(error, "code", type(error).__name__),
        }
        self._ledger.append(REFUSED, data, id=new_id(), source=MARKERS)
        self._lost += len(refused)
        with self._lock:
            self._ready = False

    def _drafts(self, waiting: _Waiting) -> list[Draft]:
        batch: dict[str, Any] = {
            "instance": self._instance,
            "number": waiting.number,
            "decided": timestamp(datetime.fromtimestamp(waiting.time, UTC)),
        }
        return drafts(waiting.record, self._retention, batch)

    def _abandon(self) -> None:
        """In a process that was forked: what waits belongs to the parent, and so does the ledger."""
        self._lock, self._opening = threading.Lock(), threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._written = threading.Condition(self._lock)
        self._queue.clear()
        self._accepted = self._settled = 0
        self._instance, self._thread, self._retired = None, None, []
        self._closing, self._ready = True, False


def _room(limit: int, cost: float) -> int:
    """How many may wait, if one takes `cost` seconds to write, so that the last of them is not late either."""
    return max(1, min(limit, int((LATE_SECONDS - _WINDOW_SECONDS) / cost)))


_streams: weakref.WeakSet[AuditStream] = weakref.WeakSet()


def _abandon_all() -> None:
    for stream in list(_streams):
        stream._abandon()  # noqa: SLF001 - of this module


def _close_all() -> None:
    for stream in list(_streams):
        try:
            stream.close()
        except AuditError as error:
            _log.error("%s", error.message)


os.register_at_fork(after_in_child=_abandon_all)
atexit.register(_close_all)
