"""A client's lease on what is cached: what it knows of the writes of others, asked again every two seconds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from companyos.state.errors import StateUnavailableError

if TYPE_CHECKING:
    from companyos.state.entry import Entry
    from companyos.state.interface import Clock, Database

__all__ = ("Feed",)

_AT_ONCE = 10_000
_MOST = 200_000
"""Floors kept; beyond it the client starts anew from the newest changes."""


class Feed:
    """The floor below which no version of a session may be taken from a cache any more.

    `renew` reads all changes that were committed since the last time. Until `lease_seconds` after the beginning of that
    reading, an entry at or above its floor is at most that old, whatever a cache did meanwhile. Entries from before
    what this client has read of the changes are not believed.
    """

    def __init__(self, database: Database, clock: Clock, lease_seconds: float) -> None:
        self._database = database
        self._clock = clock
        self._lease = lease_seconds
        self._valid_until = float("-inf")
        self._failed_at = float("-inf")
        self._floors: dict[str, int] = {}
        self._older: dict[str, int] = {}
        self._start = 0
        self._next: int | None = None
        self._renewing = threading.Lock()
        self._raising = threading.Lock()

    def valid(self, now: float) -> bool:
        """Whether the lease holds at this moment of the clock."""
        return now < self._valid_until

    def renew(self) -> bool:
        """Get a lease, unless another thread has got one meanwhile; whether the database was asked.

        Raises:
            StateUnavailableError: the database does not answer.
        """
        came = self._clock.monotonic()
        with self._renewing:
            now = self._clock.monotonic()
            if self.valid(now):
                return False
            if self._failed_at > came:
                raise StateUnavailableError("the database of states did not answer a moment ago")
            if len(self._floors) > _MOST:
                # What was seen until here is committed, and so contained in what the database answers from now on;
                # until it has answered, the old floors hold too.
                self._older, self._floors, self._next = self._floors, {}, None
            try:
                changes = self._database.changes(self._next, _AT_ONCE)
            except StateUnavailableError:
                self._failed_at = self._clock.monotonic()
                raise
            for key, version in changes.versions.items():
                self.saw(key, version)
            if self._next is None or changes.start > self._next:
                self._start = changes.start
            self._older, self._next = {}, changes.next
            self._valid_until = now + self._lease
            return True

    def saw(self, key: str, version: int) -> None:
        """This client has been shown this version, and must not be shown an older one."""
        if version > self._floors.get(key, 0):
            with self._raising:
                self._floors[key] = max(version, self._floors.get(key, 0))

    def believes(self, key: str, entry: Entry) -> bool:
        """Whether an entry of a cache is as new as all that is known of the session."""
        floor = max(self._floors.get(key, 0), self._older.get(key, 0))
        return entry.version >= floor and entry.position >= self._start
