"""A log as a directory of static files that any web server can hand out: https://c2sp.org/tlog-tiles.

`write` exports, and adds only what is new when it is called again on the grown log; partial tiles stay until the full
one is there. `read` believes nothing but the checkpoint's signature: every tile is checked against the one above it,
every entry against its tile, before an entry is handed on. Neither keeps more than one bundle (at most 16 MiB) and one
tile of each level in memory.
"""

from __future__ import annotations

from companyos.ledger.tilelog.files import tile_path
from companyos.ledger.tilelog.reading import claimed, prove_consistency, read
from companyos.ledger.tilelog.writing import write

__all__ = ("claimed", "prove_consistency", "read", "tile_path", "write")
