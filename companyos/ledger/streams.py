"""What a log is made of: its streams and its types of entries, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from companyos.canonical import sha256_hex
from companyos.ledger.projection import Projection

if TYPE_CHECKING:
    from companyos.ledger.database import Database
    from companyos.ports import Entry

__all__ = ("Streams",)

_MAX_KEY = 255


class Streams(Projection):
    """Each stream with the number of its entries, its first and last index and its last type; and entries per type.

    A name of more than 255 characters is counted as `sha256:<hex>` of it.
    """

    name = "streams"
    tables = ("ledger_stream", "ledger_type")

    def prepare(self, database: Database) -> None:
        """Two tables, by name."""
        database.execute(
            "CREATE TABLE IF NOT EXISTS ledger_stream (name TEXT PRIMARY KEY, entries BIGINT NOT NULL,"
            " first_index BIGINT NOT NULL, last_index BIGINT NOT NULL, last_type TEXT NOT NULL)"
        )
        database.execute("CREATE TABLE IF NOT EXISTS ledger_type (name TEXT PRIMARY KEY, entries BIGINT NOT NULL)")

    def apply(self, database: Database, entry: Entry) -> None:
        """Count one entry."""
        kind = _key(entry.type)
        database.execute(
            "INSERT INTO ledger_type VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET entries = ledger_type.entries + 1",
            (kind,),
        )
        if entry.stream is not None:
            database.execute(
                "INSERT INTO ledger_stream VALUES (?, 1, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
                " entries = ledger_stream.entries + 1, last_index = excluded.last_index,"
                " last_type = excluded.last_type",
                (_key(entry.stream), entry.index, entry.index, kind),
            )

    def state(self, database: Database) -> Any:
        """`streams` and `types`, each by name."""
        streams = database.execute("SELECT name, entries, first_index, last_index, last_type FROM ledger_stream")
        labels = ("entries", "first_index", "last_index", "last_type")
        return {
            "streams": {name: dict(zip(labels, row, strict=True)) for name, *row in streams},
            "types": dict(database.execute("SELECT name, entries FROM ledger_type")),
        }


def _key(name: str) -> str:
    # An index of PostgreSQL takes keys of at most about 2,700 bytes; nothing in a log may stop a projection of it.
    return name if len(name) <= _MAX_KEY else f"sha256:{sha256_hex(name.encode())}"
