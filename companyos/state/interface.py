"""The protocols of the state fabric, for whoever writes a database or a cache for it, and its value objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("Cache", "Changes", "Clock", "Committed", "Database", "Row", "Saved", "State")


@dataclass(frozen=True, slots=True)
class State:
    """A state as it was read, its digest checked."""

    payload: Any
    """The JSON value."""
    version: int
    """Grows with every save and delete of this session, purges included."""
    digest: str
    """`sha256:<hex>` of the canonical payload."""
    source: Literal["cache", "database"]
    """Which store it was read from."""
    degraded: bool = False
    """True if the database could not be asked and the value may therefore be older than the lease."""


@dataclass(frozen=True, slots=True)
class Saved:
    """Proof for the caller that a state is durable."""

    version: int
    """The version that it got."""
    digest: str
    """`sha256:<hex>` of the canonical payload."""


@dataclass(frozen=True, slots=True)
class Row:
    """One session as the database holds it at one moment."""

    payload: bytes | None
    """The canonical payload; None if there is none, or it was deleted."""
    digest: str | None
    """`sha256:<hex>` as stored beside the payload."""
    version: int
    """The newest version; 0 if the session was never saved, or is forgotten since."""
    position: int
    """All changes at lower positions are contained in what was read."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a write of the database came to."""

    version: int
    """The version that was committed."""
    position: int
    """All changes at lower positions were committed before this one."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What was committed since a position of the feed, up to one moment."""

    versions: dict[str, int]
    """The newest version of each session that changed."""
    start: int
    """Every change at this or a higher position that was committed by then is contained: later than what was asked for
    if there were too many."""
    next: int
    """Where to go on from."""


class Clock(Protocol):
    """Time as the fabric sees it; only differences count."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let that much time pass."""
        ...


class Database(Protocol):
    """Where states are durable, and versions are given. Any number of threads may use one object.

    Every method raises `StateUnavailableError` if the database does not answer in time.
    """

    identity: str
    """What no other database has: keeps their entries apart where they share a cache."""

    def read(self, key: str) -> Row:
        """The session at this moment."""
        ...

    def write(self, key: str, payload: bytes, digest: str, expected_version: int | None) -> Committed | None:
        """Commit a payload under the next version; None if the session has not the expected version.

        0 expects that there is no payload.
        """
        ...

    def delete(self, key: str, expected_version: int | None) -> Committed | None:
        """Commit that there is no payload, under the next version; None if there was none, or another version."""
        ...

    def changes(self, since: int | None, limit: int) -> Changes:
        """What was committed at position `since` or higher; None: the newest `limit` changes, from wherever they start.

        Everything that was committed before the call is contained, in whatever order transactions ended.
        """
        ...

    def rows(self) -> Iterator[tuple[str, bytes | None, str | None, str | None]]:
        """Key, payload, digest and the digest of the index, of every session, in constant memory."""
        ...

    def purge(self, older_than_seconds: float) -> int:
        """Forget sessions that were deleted that long ago, and old audit rows; versions go on growing all the same."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


class Cache(Protocol):
    """A fast store that may forget anything at any time. Any number of threads may use one object.

    Every method raises `CacheUnreachableError` if the cache does not answer in time.
    """

    def get(self, key: str) -> bytes | None:
        """What is there."""
        ...

    def put(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Put it there, whatever was there."""
        ...

    def add(self, key: str, value: bytes, ttl_seconds: float) -> bool:
        """Put it there if nothing is there; whether it was done. One atomic step."""
        ...

    def swap(self, key: str, old: bytes, new: bytes | None, ttl_seconds: float) -> bool:
        """Put `new` (None: nothing) in the place of `old`, if that is there; whether it was done. One atomic step."""
        ...

    def publish(self, key: str, marker: bytes, value: bytes, ttl_seconds: float) -> None:
        """Put there what `companyos.state.entry.settle` says, in one atomic step.

        That is the entry `value` in the place of the writer's own fence `marker`; else nothing older than it may stay,
        nor come later. A fence that stays keeps its own time.
        """
        ...

    def close(self) -> None:
        """Release everything."""
        ...
