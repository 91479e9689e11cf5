"""Values in the binary form in which PostgreSQL takes them.

psycopg makes them, too, but for arrays that takes longer than the insert does.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = (
    "KINDS",
    "Array",
    "Bigint",
    "Bigints",
    "Binary",
    "Byteas",
    "Bytes",
    "Doubles",
    "Integers",
    "Text",
    "Texts",
    "arrays",
    "dumper",
)

_HEADER = struct.Struct("!5i")
"""Of an array of one dimension: that number, whether there are nulls, the type within, how many, the first index."""


class Binary(bytes):
    """A value in the server's binary form; psycopg's own way to it takes longer than the insert."""

    oid: ClassVar[int]
    """The number of its type in PostgreSQL's catalogue, `pg_type.dat`."""


class Bytes(Binary):
    """A `bytea`."""

    oid = 17


class Text(Binary):
    """A `text`."""

    oid = 25


class Bigint(Binary):
    """A `bigint`."""

    oid = 20

    @classmethod
    def of(cls, number: int) -> Self:
        """This number."""
        return cls(number.to_bytes(8, "big", signed=True))


class Array(Binary):
    """An array of one dimension."""

    _of: ClassVar[int]
    _encode: ClassVar[Callable[[Any], bytes]]

    @classmethod
    def of(cls, items: Iterable[Any]) -> Self:
        """The array of these."""
        values = list(map(cls._encode, items))
        lengths = set(map(len, values))
        if len(lengths) == 1:  # as all digests are, and most names: one join, and nothing to do for each
            length = lengths.pop().to_bytes(4, "big")
            body = [length, length.join(values)]
        else:
            body = [part for value in values for part in (len(value).to_bytes(4, "big"), value)]
        return cls(b"".join([_HEADER.pack(1, 0, cls._of, len(values), 1), *body]))


class Texts(Array):
    """A `text[]`."""

    oid, _of, _encode = 1009, 25, str.encode


class Byteas(Array):
    """A `bytea[]`."""

    oid, _of, _encode = 1001, 17, bytes


class Integers(Array):
    """A `integer[]`."""

    oid, _of, _encode = 1007, 23, struct.Struct("!i").pack


class Bigints(Array):
    """A `bigint[]`."""

    oid, _of, _encode = 1016, 20, struct.Struct("!q").pack


class Doubles(Array):
    """A `double precision[]`."""

    oid, _of, _encode = 1022, 701, struct.Struct("!d").pack


KINDS: tuple[type[Binary], ...] = (Bytes, Text, Bigint, Texts, Byteas, Integers, Bigints, Doubles)
"""Every kind there is."""


def arrays(kinds: Sequence[type[Array]], rows: Sequence[tuple[Any, ...]]) -> list[Array]:
    """Rows as one array for each column."""
    return [kind.of(column) for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)]


def dumper(driver: Any, kind: type[Binary]) -> Any:
    """How psycopg sends what is in the server's form already."""
    how = {"cls": kind, "oid": kind.oid, "format": driver.pq.Format.BINARY, "dump": lambda _, value: value}
    return type(f"{kind.__name__}Dumper", (driver.adapt.Dumper,), how)
