"""What a store of budgets must do, and the values that pass between it and a `Budget`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from companyos.ports import LedgerPort

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from companyos.ledger import Draft
    from companyos.ports import Entry, Receipt

__all__ = (
    "BudgetLedger",
    "BudgetStore",
    "Charge",
    "Event",
    "Fence",
    "Level",
    "Mark",
    "Outcome",
    "Purged",
    "Record",
    "Snapshot",
    "Status",
)

Status = Literal["open", "settled", "refunded", "expired"]
"""What became of a reservation."""


class Charge(NamedTuple):
    """What one reservation takes from one level in one window."""

    key: str
    """The level, its unit and its window: what is counted together."""
    amount: int
    """Units to reserve."""
    limit: int
    """Units that spent and reserved together may not pass."""
    unit: str
    """`tokens` or a currency."""
    start: int
    """Seconds since 1970 at which the window begins."""
    end: int
    """Seconds since 1970 at which it ends."""
    allowance: int = 0
    """Units that may be handed out, or settled, before they are on the ledger."""


class Fence(NamedTuple):
    """What a caller knows of the store; a store that is another one, or knows less, answers `lost`."""

    epoch: str
    """Which making of the store the caller means."""
    seen: int
    """The highest number of an event that the caller was told of."""


class Mark(NamedTuple):
    """What a store says of itself."""

    epoch: str
    """Which making of the store it is."""
    seq: int
    """The number of its last event."""
    whole: bool
    """False if it was restarted, copied or restored in a way that may have lost something."""


class Event(NamedTuple):
    """A change of the store, not yet known to be on the ledger."""

    seq: int
    """Its number, growing within the epoch."""
    kind: str
    """`reserved`, `settled`, `refunded` or `expired`."""
    id: str
    """The reservation."""
    at: float
    """Seconds since 1970 by the store's clock."""
    body: dict[str, Any]
    """Task and charges of the reservation; for `settled` also what was spent."""

    @property
    def weights(self) -> list[tuple[str, int]]:
        """Key and units that wait for the ledger because of it."""
        if self.kind == "reserved":
            return [(charge[0], charge[1]) for charge in self.body["charges"]]
        if self.kind == "settled":
            return [(key, units) for key, units in self.body["actual"]]
        return []


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a store answers to a change."""

    status: Literal["ok", "clock", "refused", "conflict", "unknown", "lost"]
    """`clock`: a charge's window is not the store's of now; `now` says when that is. All but `ok` changed nothing."""
    now: float = 0.0
    """Seconds since 1970 by the store's clock."""
    seq: int = 0
    """The number of the last event."""
    log_first: bool = False
    """Whether it must be on the ledger before the caller may rely on it."""
    waiting: int = 0
    """How many events wait for the ledger."""
    lease_until: float = 0.0
    """Seconds since 1970 at which the reservation expires."""
    found: Status | None = None
    """What the reservation was before, if it was known."""
    levels: tuple[tuple[int, int], ...] = ()
    """Spent and reserved of each charge's key, in order: after the change, or what stood in its way."""


@dataclass(frozen=True, slots=True)
class Level:
    """How full one level is in one window."""

    key: str
    """What is counted together."""
    spent: int
    """Units that were settled."""
    reserved: int
    """Units of open reservations."""
    limit: int
    """The limit by which the last reservation was judged."""
    unit: str
    """`tokens` or a currency."""
    start: int
    """Seconds since 1970 at which the window begins."""
    end: int
    """Seconds since 1970 at which it ends."""


@dataclass(frozen=True, slots=True)
class Record:
    """A reservation as a store keeps it."""

    id: str
    """Its id."""
    status: Status
    """What became of it."""
    lease_until: float
    """Seconds since 1970 at which it expires if it is open."""
    content: str
    """Digest of what was asked for, by which a repeated call is known."""
    body: Mapping[str, Any]
    """Task and charges."""
    actual: tuple[tuple[str, int], ...] | None = None
    """What was spent, by key."""

    def is_past(self, before: float) -> bool:
        """Whether it is over, and its lease and every window it counts in ended by then."""
        ends = (charge[5] for charge in self.body["charges"])
        return self.status != "open" and self.lease_until <= before and all(end <= before for end in ends)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a store must know: what a rebuild makes it from."""

    levels: tuple[Level, ...] = ()
    """How full each is."""
    records: tuple[Record, ...] = field(default=())
    """Every reservation that is known."""


class Purged(NamedTuple):
    """What a purge removed, or would remove."""

    lost: bool
    """The store is not the one the caller means; nothing was removed."""
    removed: dict[str, int]
    """How many reservations, by what had become of them; open ones never."""
    kept: int
    """Reservations that are over and stay, because a window of theirs is not past, or never ends."""


class BudgetStore(Protocol):
    """Keeps one budget; every method is atomic, and each change is durable when it returns (as far as the store is).

    Leases and windows go by the store's own clock. Changes that a caller was told of are never undone, unless the
    store is lost; then every method answers `lost`, whoever asks, until `create` makes it anew.
    """

    def mark(self) -> Mark | None:
        """What the store says of itself; None if there is nothing."""
        ...

    def create(self, epoch: str, snapshot: Snapshot, *, replaces: str | None) -> bool:
        """Make it anew under another epoch; False, changing nothing, if it is not at `replaces` (None: nothing)."""
        ...

    def reserve(
        self,
        name: str,
        charges: Sequence[Charge],
        *,
        body: str,
        content: str,
        lease_seconds: float,
        fence: Fence,
    ) -> Outcome:
        """Take every charge, or none; the same id and content again change nothing and give the same."""
        ...

    def settle(self, name: str, actual: Sequence[Charge], *, body: str, fence: Fence) -> Outcome:
        """Put what was spent in the place of what was reserved, whatever the limit.

        It is counted also after the lease, after a refund, and if the reservation is not known. The same again changes
        nothing; another amount after a settlement is a `conflict`.
        """
        ...

    def refund(self, name: str, *, fence: Fence) -> Outcome:
        """Give back what was reserved; again, or after the lease, changes nothing; after a settlement a `conflict`."""
        ...

    def expire(self, *, fence: Fence) -> Outcome:
        """Give back what is reserved longer than its lease, up to some at a time; every reserve does so too."""
        ...

    def find(self, name: str) -> Record | None:
        """A reservation."""
        ...

    def levels(self) -> list[Level]:
        """How full each level is, all at one moment, by key."""
        ...

    def open_records(self) -> list[Record]:
        """The reservations that are open."""
        ...

    def pending(self, limit: int) -> list[Event]:
        """The oldest events that are not yet known to be on the ledger."""
        ...

    def acknowledge(self, events: Sequence[Event], *, fence: Fence) -> Outcome:
        """Those events are on the ledger."""
        ...

    def purge(self, before: float, *, fence: Fence, dry_run: bool) -> Purged:
        """Forget reservations that are over, and whose lease and every window ended by `before`; sums stay.

        Not atomic as a whole: killed in between, some are gone and the rest stay.
        """
        ...

    def now(self) -> float:
        """The store's clock: seconds since 1970."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


class BudgetLedger(LedgerPort, Protocol):
    """What a budget needs of the ledger: `companyos.ledger.Ledger` has it."""

    def append_many(self, drafts: Iterable[Draft]) -> list[Receipt]:
        """Append several, all or none."""
        ...

    def of_source(self, source: str) -> Iterator[Entry]:
        """The entries of one source."""
        ...

    def read(self, start: int = 0, end: int | None = None) -> Iterator[Entry]:
        """Entries in order."""
        ...
