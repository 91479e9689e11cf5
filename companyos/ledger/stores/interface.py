"""What a store of a log must do; the tree, the signatures and the format are not its business."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

__all__ = ("Batch", "Deposit", "Payload", "Refusal", "Row", "Store", "TakenError", "Tile")


class TakenError(Exception):
    """An id is taken, a guess was wrong, or nobody knows what was committed: whoever writes looks and begins again."""


class Row(NamedTuple):
    """One entry as stored."""

    index: int  # type: ignore[assignment] # hides tuple.index, which nobody asks a row
    """Its index in the log."""
    id: str
    """Unique within `source`."""
    source: str
    """What produced it."""
    raw: bytes
    """The canonical bytes of the entry."""
    leaf: bytes
    """The leaf hash, 32 bytes."""
    sameness: bytes
    """The keyed digest by which a repeated append is recognised where the bytes alone do not tell, because they hold
    ciphertext or a commitment; else empty."""


class Tile(NamedTuple):
    """Up to 256 hashes of one level of the tree (C2SP tlog-tiles), and the nodes above them."""

    level: int
    """0 for leaf hashes, 1 for the roots of the tiles of level 0, and so on."""
    index: int  # type: ignore[assignment] # hides tuple.index, which nobody asks a tile
    """Which tile of that level."""
    hashes: bytes
    """The hashes, 32 bytes each. Once there are 256, the inner nodes up to the two below the tile's root follow, level
    by level: 510 hashes in all. A tile of level 0 is stored when it is complete, the others as they grow."""


class Payload(NamedTuple):
    """A detached payload."""

    commit: bytes
    """The commitment in the entry, 32 bytes."""
    salt: bytes
    """Key of the commitment, 32 bytes."""
    payload: bytes
    """Canonical bytes."""
    retention: str
    """The class that says how long it is kept; empty for as long as the log."""
    kept_since: float
    """When it was appended, seconds since 1970."""


class Deposit(NamedTuple):
    """An entry on its way to its place: everything but the index."""

    id: str
    """Unique within `source`."""
    source: str
    """What produced it."""
    raw: bytes
    """The canonical bytes of the entry."""
    leaf: bytes
    """The leaf hash, 32 bytes."""
    sameness: bytes
    """The keyed digest by which a repeated append is recognised where the bytes alone do not tell; else empty."""
    payload: Payload | None = None
    """What is kept beside the log for it."""


class Refusal(NamedTuple):
    """A deposit that was not given a place of its own, because its id is taken."""

    id: str
    """Its id."""
    source: str
    """Its source."""
    digest: bytes
    """Its leaf hash."""
    reason: str
    """Why, for a person; empty if the entry that has the id has the same content, so that nothing is amiss."""


class Batch(Protocol):
    """One write transaction on the store, which no other writer can enter."""

    def head(self) -> bytes | None:
        """The newest signed checkpoint, None for a log nobody has written to."""
        ...

    def size(self) -> int:
        """One more than the largest index that is there."""
        ...

    def raw(self, index: int) -> bytes | None:
        """The canonical bytes of an entry; None if it is not there."""
        ...

    def leaves(self, start: int, end: int) -> list[bytes]:
        """The leaf hashes of the entries [start, end), as far as they are there."""
        ...

    def tile(self, level: int, index: int) -> bytes | None:
        """The hashes of a tile; None if it is not stored."""
        ...

    def find(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Row]:
        """The entries with these (source, id)."""
        ...

    def add(self, rows: Sequence[Row], tiles: Sequence[Tile], payloads: Sequence[Payload]) -> None:
        """Add entries at the end, with the tiles that grew and what is kept beside the log.

        Raises:
            TakenError: an id is taken; the transaction is of no further use.
        """
        ...

    def set_head(self, note: bytes) -> None:
        """Replace the signed checkpoint of the log's present state."""
        ...

    def set_cosigned(self, note: bytes) -> None:
        """Keep the newest checkpoint that witnesses cosigned."""
        ...

    def waiting(self, limit: int) -> list[Deposit]:
        """The oldest deposits that wait for their place; those that are given one must be `taken`."""
        ...

    def taken(self, deposits: Sequence[Deposit], refusals: Sequence[Refusal]) -> None:
        """Deposits, of those that were `waiting`, that need not wait any longer, and which of them got no place."""
        ...

    def drop_payloads(self, commits: Sequence[bytes]) -> None:
        """Delete detached payloads and their salts, beyond recovery."""
        ...


class Store(Protocol):
    """Entries by index, tiles of the tree, detached payloads, deposits and the newest signed checkpoint.

    Reads see what is committed, and may be made by any thread at any time.
    """

    def batch(self, *, wait: bool = True, guess: bool = False) -> AbstractContextManager[Batch]:
        """A write transaction: durable when left normally, without a trace when left by an exception.

        With `guess`, a store may give the head and size as it knows them, overlook deposits that are new, and look
        only when the transaction is left whether that was right.

        Raises:
            TakenError: when it is left: the guess was wrong, or the connection was lost and nobody knows whether it was
                committed.
            StoreBusyError: another writer is at work, and `wait` is not set, or it did not end in time.
            StoreTamperedError: the files were replaced under our hands; nothing was written.
            StoreUnreadableError: the store cannot be written.
        """
        ...

    def deposit(self, deposits: Sequence[Deposit]) -> None:
        """Leave entries for whoever writes next. They may be lost in a crash until they have their place."""
        ...

    def deposit_with(self, connection: object, deposits: Sequence[Deposit]) -> None:
        """Leave entries in the transaction of a caller's own database connection.

        Raises:
            ConfigError: the connection is of another kind, or to a database whose transactions this store cannot join.
        """
        ...

    def refusal(self, source: str, id: str, digest: bytes) -> str | None:  # noqa: A002 - the CloudEvents attribute
        """Why a deposit was not given a place, empty if it is logged already; None if it was given one, or waits."""
        ...

    def size(self) -> int:
        """One more than the largest index that is there."""
        ...

    def extent(self) -> tuple[int, int, int]:
        """Number of rows, smallest and largest index, whatever these are; (0, 0, 0) for an empty log."""
        ...

    def rows(self, start: int = 0, end: int | None = None) -> Iterator[Row]:
        """Entries in order, in constant memory."""
        ...

    def raws(self, start: int, end: int) -> list[bytes]:
        """The bytes of those of the entries [start, end) that are there, in order."""
        ...

    def columns(self, start: int, end: int) -> list[tuple[str, str, bytes, bytes]]:
        """Id, source, bytes and leaf hash, just as stored, of those of the entries [start, end) that are there."""
        ...

    def first_missing(self, start: int) -> int:
        """The first index from `start` on that is not there."""
        ...

    def raw(self, index: int) -> bytes | None:
        """The canonical bytes of an entry; None if it is not there."""
        ...

    def leaves(self, start: int, end: int) -> list[bytes]:
        """The leaf hashes of the entries [start, end), as far as they are there."""
        ...

    def tile(self, level: int, index: int) -> bytes | None:
        """The hashes of a tile; None if it is not stored."""
        ...

    def tile_extent(self) -> list[tuple[int, int, int]]:
        """Level, number of tiles and largest index of each level that has tiles."""
        ...

    def payload_extent(self) -> int:
        """How many detached payloads are kept."""
        ...

    def find(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Row]:
        """The entries with these (source, id)."""
        ...

    def of_source(self, source: str) -> Iterator[Row]:
        """The entries of one source, in order."""
        ...

    def payload(self, commit: bytes) -> tuple[bytes, bytes] | None:
        """Salt and payload of a commitment; None once dropped."""
        ...

    def payloads(self, retention: str, before: float) -> Iterator[bytes]:
        """Commitments of the payloads of a retention class that were appended before a time (seconds since 1970)."""
        ...

    def head(self) -> bytes | None:
        """The newest signed checkpoint, None for a log nobody has written to."""
        ...

    def cosigned(self) -> bytes | None:
        """The newest checkpoint that witnesses cosigned."""
        ...

    def scrub(self) -> None:
        """Leave no copy of what was deleted in files of the store's own."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...
