"""What a store of a log must do; the tree, the signatures and the format are not its business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = ("Batch", "Row", "Store")


@dataclass(frozen=True, slots=True)
class Row:
    """One entry as stored."""

    index: int
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
    """The keyed digest by which a repeated append is recognised."""


class Batch(Protocol):
    """One write transaction on the store, which no other writer can enter."""

    def size(self) -> int:
        """How many entries the log has."""
        ...

    def node(self, level: int, index: int) -> bytes:
        """The root of a complete subtree; level 0 is the leaves."""
        ...

    def find(self, source: str, id: str) -> Row | None:  # noqa: A002 - the CloudEvents attribute is called so
        """The entry with this id, if there is one."""
        ...

    def add(self, row: Row, nodes: list[tuple[int, int, bytes]]) -> None:
        """Add an entry at the end, with the inner nodes it completes."""
        ...

    def detach(self, commit: bytes, salt: bytes, payload: bytes) -> None:
        """Keep a detached payload beside the log."""
        ...

    def head(self) -> bytes | None:
        """The newest signed checkpoint, None for a log nobody has written to."""
        ...

    def set_head(self, note: bytes) -> None:
        """Replace the signed checkpoint of the log's present state."""
        ...


class Store(Protocol):
    """Entries by index, inner nodes, detached payloads and the newest signed checkpoint."""

    def batch(self) -> AbstractContextManager[Batch]:
        """A write transaction: durable when left normally, without a trace when left by an exception.

        Raises:
            StoreUnreadableError: the store cannot be written.
        """
        ...

    def size(self) -> int:
        """How many entries the log has."""
        ...

    def extent(self) -> tuple[int, int, int]:
        """Number of rows, smallest and largest index, whatever these are; (0, 0, 0) for an empty log."""
        ...

    def rows(self, start: int = 0, end: int | None = None) -> Iterator[Row]:
        """Entries in order, in constant memory."""
        ...

    def nodes(self) -> Iterator[tuple[int, int, bytes]]:
        """All inner nodes, ordered by level and index."""
        ...

    def node(self, level: int, index: int) -> bytes:
        """The root of a complete subtree; level 0 is the leaves."""
        ...

    def payload(self, commit: bytes) -> tuple[bytes, bytes] | None:
        """Salt and payload of a commitment; None once dropped."""
        ...

    def head(self) -> bytes | None:
        """The newest signed checkpoint, None for a log nobody has written to."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...
