"""Opening the cost store of a directory: the one that is there, or the better one that can be had."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from companyos.finops.engines.sqlite import SqliteCostStore
from companyos.finops.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from companyos.finops.bulk.connection import Progress
    from companyos.ports import LedgerPort

__all__ = ("Engine", "open_store")

Engine = Literal["sqlite", "duckdb"]
"""`sqlite` needs nothing and reads CSV; `duckdb` also reads Parquet and gzip, at any size."""

_DATABASES: dict[str, Engine] = {"costs.db": "sqlite", "catalog.db": "duckdb"}


def open_store(
    directory: Path,
    *,
    ledger: LedgerPort | None = None,
    create: bool = True,
    engine: Engine | None = None,
    tags: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> SqliteCostStore:
    """The cost store in `directory`; a new one is over DuckDB where that is installed, else over SQLite.

    `tags` are the keys that a store over DuckDB rolls up at ingest.

    Raises:
        StoreError: there is none and `create` is false, it is of another engine than asked for, or it does not work.
        MissingExtraError: it needs DuckDB, which is not installed.
    """
    found = next((kind for name, kind in _DATABASES.items() if (directory / name).is_file()), None)
    if found and engine and found != engine:
        raise StoreError(f"the cost store {directory} is of another engine", got=found, expected=engine)
    chosen = found or engine or ("duckdb" if find_spec("duckdb") else "sqlite")
    if chosen == "sqlite":
        return SqliteCostStore(directory, ledger=ledger, create=create)
    from companyos.finops.engines.duckdb import ALLOWED_TAGS, DuckCostStore

    wanted = ALLOWED_TAGS if tags is None else tags
    return DuckCostStore(directory, ledger=ledger, create=create, tags=wanted, progress=progress)
