"""What an outbox keeps, and what every store of one can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ("Draft", "Item", "Outbox", "Record", "Result", "State")

State = Literal["waiting", "delivered", "dead", "dropped"]
"""`waiting` covers what is due later, due now, and in the hands of a worker."""


@dataclass(frozen=True, slots=True)
class Draft:
    """Something to be done, not yet written down."""

    id: str
    """Idempotency key: unique within its lane, and the same on every attempt."""
    lane: str
    """For whom: items of one lane go to one place."""
    body: str
    """What to do, as text for whoever does it."""
    meta: str = ""
    """What goes along and is no part of its sameness, such as the trace it was written in."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something in the hands of a worker, until its lease is over."""

    seq: int
    """Its number in the store."""
    id: str
    """Idempotency key."""
    lane: str
    """For whom."""
    body: str
    """What to do."""
    attempts: int
    """Which attempt this is, from 1."""
    fence: int
    """Rises with every claim; a worker with an older one has lost the item."""
    created: float
    """When it was written, in seconds since 1970."""
    meta: str = ""
    """What goes along."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a worker says of an item."""

    item: Item
    """Which, as it was claimed."""
    state: State
    """`waiting`: try again after `delay_seconds`."""
    delay_seconds: float = 0.0
    """How long to wait before the next attempt."""
    note: str = ""
    """Why it is not delivered, short and without secrets."""
    given_back: bool = False
    """Whether nothing was attempted at all, so that the attempt does not count."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the store knows of an item."""

    seq: int
    """Its number in the store."""
    id: str
    """Idempotency key."""
    lane: str
    """For whom."""
    body: str
    """What to do."""
    state: State
    """Where it stands."""
    held: bool
    """Whether a worker has it now, as far as its lease says."""
    attempts: int
    """How many attempts were begun."""
    note: str
    """What the last failure was."""
    created: float
    """When it was written, in seconds since 1970."""
    due: float
    """When it is tried next, or when the lease of its worker is over."""
    finished: float | None
    """When it was delivered, given up or dropped."""
    meta: str = ""
    """What goes along."""


class Outbox(Protocol):
    """A store of items of one queue; any number of threads and processes may use it at once.

    Raises:
        OutboxUnavailableError: from any method; the database does not answer.
    """

    def add(
        self, drafts: Sequence[Draft], *, connection: object | None = None, lease_seconds: float | None = None
    ) -> list[Item]:
        """Write items down: in the caller's transaction on `connection`, or in one of its own.

        The same id and lane with the same body again is no second item. With `lease_seconds` the new items belong to
        the caller at once and are returned; without, they are due at once and nothing is returned.

        Raises:
            OutboxConflictError: an id is taken by another body.
            OutboxForeignError: `connection` leads to another database.
        """
        ...

    def claim(self, limit: int, lease_seconds: float, *, lanes: Sequence[str] | None = None) -> list[Item]:
        """Take at most `limit` items that are due, oldest first, so that nobody else gets them during the lease."""
        ...

    def finish(
        self, results: Sequence[Result], *, receipt: Callable[[Sequence[Result]], str] | None = None
    ) -> list[Result]:
        """Write down what became of items, and return the results that counted.

        A delivery counts as long as the item waits; any other result only under the newest fence. Of those that are
        final now, `receipt` makes a text that is kept in the same transaction until it is acknowledged.
        """
        ...

    def receipts(self, limit: int) -> list[tuple[str, str]]:
        """The oldest texts that wait to be acknowledged, with their ids."""
        ...

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Forget texts that have reached the ledger."""
        ...

    def find(self, id: str) -> list[Record]:  # noqa: A002 - the item's attribute is called so
        """The items of that id, one a lane, by lane."""
        ...

    def records(self, *, states: Sequence[State], limit: int) -> list[Record]:
        """The newest items in one of those states, oldest of them first."""
        ...

    def count(self) -> dict[State, int]:
        """How many items are in each state."""
        ...

    def next_due(self) -> float | None:
        """Seconds until the first waiting item is due, at least 0; None if nothing waits."""
        ...

    def replay(self, id: str, *, lane: str | None = None) -> int:  # noqa: A002 - as above
        """Let dead items of that id wait again, with attempts counted anew; how many there were."""
        ...

    def drop(self, id: str, *, lane: str | None = None) -> int:  # noqa: A002 - as above
        """Give dead items of that id up for good; how many there were."""
        ...

    def purge(self, older_than_seconds: float) -> int:
        """Forget items that were delivered or dropped that long ago; how many there were. Dead ones stay."""
        ...

    def close(self) -> None:
        """Close the database."""
        ...
