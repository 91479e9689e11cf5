"""The repository: a durable database, a fast cache before it, and the protocol that keeps the one true to the other.

The protocol and why it is right are in ADR 0013.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from companyos.canonical import NotCanonicalError, canonical_bytes, loads, sha256_hex
from companyos.state import entry as entries
from companyos.state.breaker import Breaker
from companyos.state.errors import (
    CacheUnreachableError,
    StateConflictError,
    StateDamagedError,
    StateInvalidError,
    StatePayloadTooLargeError,
    StateUnavailableError,
)
from companyos.state.feed import Feed
from companyos.state.flight import Flights
from companyos.state.interface import Row, Saved, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.state.entry import Entry
    from companyos.state.interface import Cache, Clock, Committed, Database

__all__ = ("StateRepository", "SystemClock")

_FENCE_SECONDS = 30.0
"""Longer than any write takes; a writer that died stops others from caching its session for this long, no more."""
_FILL_SECONDS = 5.0
"""A reader that is slower than this fills nothing in; one that died keeps nobody waiting, as waits are short."""
_WAIT_FOR_FILL_SECONDS = 0.002
_WAITS_FOR_FILL = 10
_DRIFT = 1.01
"""Clocks of two machines may go that differently within a lease."""
_KEY_LIMIT = 512
_NAMED = 10
_COUNTED = (
    "hits",
    "misses",
    "shared_reads",
    "degraded_reads",
    "cache_stale",
    "cache_damage",
    "cache_failures",
    "cache_bypassed",
    "database_reads",
    "database_damage",
    "database_failures",
    "lease_renewals",
    "lease_waits",
    "saves",
    "deletes",
)

_NO_JSON = object()
_T = TypeVar("_T")


class SystemClock:
    """The machine's own clock; where the system has one that does, it counts the time that the machine sleeps."""

    def __init__(self) -> None:
        clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        self.monotonic = functools.partial(time.clock_gettime, clock)
        """Seconds since some fixed moment; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Let that much time pass."""
        time.sleep(seconds)


class StateRepository:
    """States of sessions: durable in `database`, read from `cache`, each checked by its digest whenever it is read.

    `ttl_seconds` is how long a state stays in the cache, `lease_seconds` how old a cached read may be, and
    `payload_limit` the size of the largest payload in canonical bytes. Any number of threads may use one repository,
    and any number of repositories in any number of processes the same stores. It does not merge concurrent writes: the
    last one wins, unless they name the version that they expect.
    """

    def __init__(
        self,
        cache: Cache,
        database: Database,
        ttl_seconds: float = 3600.0,
        *,
        lease_seconds: float = 2.0,
        payload_limit: int = 1024 * 1024,
        clock: Clock | None = None,
    ) -> None:
        self._cache = cache
        self._database = database
        self._ttl = ttl_seconds
        self._lease = lease_seconds
        self._limit = payload_limit
        self._clock: Clock = clock or SystemClock()
        self._feed = Feed(database, self._clock, lease_seconds)
        self._cache_breaker = Breaker(self._clock)
        self._database_breaker = Breaker(self._clock, failures=1, pause_seconds=0.5)
        self._flights: Flights[State | None] = Flights()
        self._counts: Counter[str] = Counter()
        self._counting = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release both stores."""
        self._cache.close()
        self._database.close()

    def save(self, session_id: str, payload: Any, *, expected_version: int | None = None) -> Saved:
        """Make a JSON value durable as the state of a session; on return no read through this cache shows an older one.

        Where the cache does not answer, that takes the length of a lease. `expected_version` 0 expects that there is
        no state.

        Raises:
            StateInvalidError: no JSON value, no possible id or version; `StatePayloadTooLargeError` if it is too large.
            StateConflictError: the session has not the expected version.
            StateUnavailableError: the database does not answer; the write may or may not have been made.
        """
        _check_key(session_id, expected_version)
        raw = self._canonical(payload)
        digest = f"sha256:{sha256_hex(raw)}"
        committed = self._write(
            session_id, raw, lambda: self._database.write(session_id, raw, digest, expected_version)
        )
        if committed is None:
            raise _conflict(session_id, expected_version)
        self._count("saves")
        return Saved(committed.version, digest)

    def get(self, session_id: str, *, consistency: Literal["cached", "strong"] = "cached") -> State | None:
        """The state of a session; None if there is none.

        `strong` reads the database and sees every write that was acknowledged before. `cached` never shows this
        repository an older state than it has shown before, and none that was overwritten more than a lease ago, except
        when the database does not answer: then the state says `degraded`.

        Raises:
            StateDamagedError: the payload in the database is not the one that was saved.
            StateUnavailableError: the database does not answer, and the cache has nothing that could be shown.
        """
        _check_key(session_id)
        if consistency == "strong":
            return self._state(session_id, self._read(session_id))
        if consistency != "cached":
            raise StateInvalidError("no such consistency", got=consistency, expected="cached or strong")
        current = self._feed.valid(self._clock.monotonic()) or self._renew()
        found, unfit = self._lookup(session_id)
        if found is not None and (current or found.payload):
            self._count("hits" if current else "degraded_reads")
            return self._cached(session_id, found, degraded=not current)
        self._count("misses")
        state, mine = self._flights.do(session_id, lambda: self._fill(session_id, unfit))
        if not mine:
            self._count("shared_reads")
        return state

    def delete(self, session_id: str, *, expected_version: int | None = None) -> int | None:
        """Remove the state of a session durably; the version that this got, None if there was no state.

        Raises:
            StateConflictError: the session has not the expected version.
            StateUnavailableError: the database does not answer; the write may or may not have been made.
        """
        _check_key(session_id, expected_version)
        committed = self._write(session_id, None, lambda: self._database.delete(session_id, expected_version))
        if committed is None and expected_version is not None:
            raise _conflict(session_id, expected_version)
        if committed is None:
            return None
        self._count("deletes")
        return committed.version

    def verify_integrity(self, session_id: str | None = None) -> int:
        """Check the payload of one session, or of all, in the database; how many there were.

        Raises:
            StateDamagedError: a payload does not have the digest stored beside it, or the digest of the index differs.
            StateUnavailableError: the database does not answer.
        """
        if session_id is not None:
            _check_key(session_id)
            return int(self._state(session_id, self._read(session_id)) is not None)
        checked, damaged = 0, []
        for key, payload, digest, indexed in self._database.rows():
            checked += payload is not None
            if not _sound(payload, digest) or digest != indexed:
                damaged.append(key)
        if damaged:
            raise StateDamagedError(
                f"{len(damaged)} of {checked} states are not what was saved", got=", ".join(damaged[:_NAMED])
            )
        return checked

    def stats(self) -> dict[str, int | str]:
        """What happened so far in this repository, by name, and how it finds the two stores now."""
        with self._counting:
            counts = dict(self._counts)
        return {
            **{name: counts.get(name, 0) for name in _COUNTED},
            "cache": "held back" if self._cache_breaker.open else "used",
            "database": "held back" if self._database_breaker.open else "used",
        }

    def sizes(self) -> dict[str, int]:
        """How many sessions have a state, how many were deleted, and how many bytes the payloads have.

        Raises:
            StateUnavailableError: the database does not answer.
        """
        found = {"sessions": 0, "deleted": 0, "payload_bytes": 0}
        for _, payload, *_ in self._database.rows():
            found["deleted" if payload is None else "sessions"] += 1
            found["payload_bytes"] += len(payload or b"")
        return found

    def cache_answers(self) -> bool:
        """Whether the cache answers now."""
        return self._ask_cache(lambda: self._cache.get("companyos"))[0]

    def purge(self, older_than_seconds: float = 30 * 86400.0) -> int:
        """Forget deleted sessions and audit rows of that age; how many sessions. Their versions never start anew.

        Raises:
            StateInvalidError: that is less than a day, or than the time that states stay in the cache.
            StateUnavailableError: the database does not answer.
        """
        least = max(86400.0, self._ttl)
        if older_than_seconds < least:
            raise StateInvalidError(
                "clients would miss changes that are forgotten so soon",
                got=f"{older_than_seconds:.0f} s",
                expected=f"at least {least:.0f} s",
            )
        return self._ask_database(lambda: self._database.purge(older_than_seconds))

    def _write(self, key: str, raw: bytes | None, commit: Callable[[], Committed | None]) -> Committed | None:
        if self._database_breaker.open:
            # A fence takes what is cached away; not for a write that is refused anyway.
            self._ask_database(lambda: self._database.read(key))
        name, marker = self._name(key), entries.fence()
        fenced, _ = self._ask_cache(lambda: self._cache.put(name, marker, _FENCE_SECONDS))
        committed = self._ask_database(commit)
        if committed is None:
            self._ask_cache(lambda: self._cache.swap(name, marker, None, 0))
            return None
        self._feed.saw(key, committed.version)
        value = entries.encode(name, committed.version, committed.position, raw)
        settled, _ = self._ask_cache(lambda: self._cache.publish(name, marker, value, self._ttl))
        if not (fenced and settled):
            # What others have cached may be older; when every lease of now has run out, they know of this write.
            self._count("lease_waits")
            self._clock.sleep(self._lease * _DRIFT)
        return committed

    def _lookup(self, key: str) -> tuple[Entry | None, bytes | None]:
        """The entry in the cache, if it can be believed; else, if there are other bytes that block its place, these."""
        name = self._name(key)
        _, raw = self._ask_cache(lambda: self._cache.get(name))
        if raw is None or entries.is_marker(raw):
            return None, None
        try:
            found = entries.decode(name, raw)
        except entries.DamagedEntryError:
            self._count("cache_damage")
            return None, raw
        if self._feed.believes(key, found):
            return found, None
        self._count("cache_stale")
        return None, raw

    def _fill(self, key: str, unfit: bytes | None) -> State | None:
        """Read the database, and fill the cache with it where nobody else is doing that, or writing."""
        name, marker = self._name(key), entries.token()
        if unfit is None:
            reached, granted = self._ask_cache(lambda: self._cache.add(name, marker, _FILL_SECONDS))
            if reached and not granted and (found := self._await_fill(key)) is not None:
                self._count("shared_reads")
                return self._cached(key, found)
        else:
            _, granted = self._ask_cache(lambda: self._cache.swap(name, unfit, marker, _FILL_SECONDS))
        row = self._read(key)
        state = self._state(key, row)
        if granted:
            value = entries.encode(name, row.version, row.position, row.payload)
            self._ask_cache(lambda: self._cache.swap(name, marker, value, self._ttl))
        return state

    def _await_fill(self, key: str) -> Entry | None:
        """What another process is just filling in, if it does so soon and the lease is one of now."""
        name = self._name(key)
        for _ in range(_WAITS_FOR_FILL):
            _, raw = self._ask_cache(lambda: self._cache.get(name))
            if not entries.is_token(raw):
                break
            self._clock.sleep(_WAIT_FOR_FILL_SECONDS)
        return self._lookup(key)[0] if self._feed.valid(self._clock.monotonic()) else None

    def _name(self, key: str) -> str:
        return f"{self._database.identity}:{key}"

    def _read(self, key: str) -> Row:
        self._count("database_reads")
        return self._ask_database(lambda: self._database.read(key))

    def _state(self, key: str, row: Row) -> State | None:
        try:
            value = loads(row.payload or b"null")
        except NotCanonicalError:
            value = _NO_JSON
        if value is _NO_JSON or not _sound(row.payload, row.digest):
            self._count("database_damage")
            raise StateDamagedError(
                f"the state of session {key} is not what was saved",
                got=row.payload and f"sha256:{sha256_hex(row.payload)}",
                expected=f"{row.digest}, of a JSON value",
                hint="restore it from a backup; the table state_audit says when it was last saved",
            )
        self._feed.saw(key, row.version)
        if row.payload is None or row.digest is None:
            return None
        return State(value, row.version, row.digest, "database")

    def _cached(self, key: str, found: Entry, *, degraded: bool = False) -> State | None:
        self._feed.saw(key, found.version)
        if not found.payload:
            return None
        return State(found.value, found.version, f"sha256:{found.sha256.hex()}", "cache", degraded)

    def _renew(self) -> bool:
        try:
            if self._ask_database(self._feed.renew):
                self._count("lease_renewals")
        except StateUnavailableError:
            return False
        return True

    def _ask_cache(self, action: Callable[[], _T]) -> tuple[bool, _T | None]:
        """Whether the cache answered, and what."""
        if not self._cache_breaker.admits():
            self._count("cache_bypassed")
            return False, None
        try:
            answer = action()
        except CacheUnreachableError:
            self._cache_breaker.failed()
            self._count("cache_failures")
            return False, None
        self._cache_breaker.succeeded()
        return True, answer

    def _ask_database(self, action: Callable[[], _T]) -> _T:
        if not self._database_breaker.admits():
            raise StateUnavailableError(
                "the database of states did not answer a moment ago",
                hint="it is asked again twice a second; nothing was written",
            )
        try:
            answer = action()
        except StateUnavailableError:
            self._database_breaker.failed()
            self._count("database_failures")
            raise
        self._database_breaker.succeeded()
        return answer

    def _canonical(self, payload: Any) -> bytes:
        try:
            raw = canonical_bytes(payload)
        except NotCanonicalError as error:
            raise StateInvalidError("the payload is not JSON", got=error.got, expected=error.expected) from error
        if len(raw) > self._limit:
            raise StatePayloadTooLargeError(
                "the payload is too large",
                got=f"{len(raw)} bytes",
                expected=f"at most {self._limit}",
                hint="keep large objects elsewhere and their digest here, or raise payload_limit",
            )
        return raw

    def _count(self, name: str) -> None:
        with self._counting:
            self._counts[name] += 1


def _sound(payload: bytes | None, digest: str | None) -> bool:
    return (None if payload is None else f"sha256:{sha256_hex(payload)}") == digest


def _check_key(key: object, expected_version: int | None = None) -> None:
    # A lone surrogate has no bytes, and PostgreSQL has no text with a NUL: neither is printable.
    if not (isinstance(key, str) and 0 < len(key) <= _KEY_LIMIT and key.isprintable()):
        raise StateInvalidError(
            "this cannot be a session id", got=repr(key), expected=f"1 to {_KEY_LIMIT} printable characters"
        )
    if expected_version is not None and not 0 <= expected_version < 1 << 53:
        raise StateInvalidError("this cannot be a version", got=expected_version, expected="0 or a version of a state")


def _conflict(key: str, expected: int | None) -> StateConflictError:
    return StateConflictError(
        f"session {key} has another version; nothing was written",
        expected=f"version {expected}",
        hint="read it again with consistency='strong', and decide anew",
    )
