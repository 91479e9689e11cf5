"""From URLs to stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from companyos.errors import ConfigError

if TYPE_CHECKING:
    from companyos.state.interface import Cache, Database
    from companyos.state.repository import StateRepository

__all__ = ("open_cache", "open_database", "open_repository")


def open_database(url: str) -> Database:
    """The database at `sqlite:///PATH` or `postgresql://...`, its tables made or migrated.

    Raises:
        ConfigError: another kind of URL.
        StateUnavailableError: it does not answer.
        StateSchemaError: its tables are of a newer version.
    """
    scheme, separator, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        from companyos.state.databases.sqlite import SqliteDatabase

        return SqliteDatabase(Path(rest[1:]))
    if separator and scheme in {"postgresql", "postgres"}:
        from companyos.state.databases.postgresql import PostgresDatabase

        return PostgresDatabase(f"postgresql://{rest}")
    raise ConfigError("no URL of a database of states", got=url, expected="sqlite:///PATH or postgresql://HOST/NAME")


def open_cache(url: str) -> Cache:
    """The cache at `memory:`, `redis://...`, `rediss://...` or `valkey://...`; it need not answer yet.

    Raises:
        ConfigError: another kind of URL.
    """
    scheme = url.partition(":")[0]
    if url == "memory:":
        from companyos.state.caches.memory import MemoryCache

        return MemoryCache()
    if scheme in {"redis", "rediss", "valkey", "valkeys"}:
        from companyos.state.caches.redis import RedisCache

        return RedisCache(url.replace("valkey", "redis", 1) if scheme.startswith("valkey") else url)
    raise ConfigError("no URL of a cache", got=url, expected="memory: or redis://HOST:PORT/0")


def open_repository(
    url: str = "sqlite:///.companyos/state.db", cache: str = "memory:", *, ttl_seconds: float = 3600.0
) -> StateRepository:
    """The repository over the database at `url` and the cache at `cache`.

    Raises:
        ConfigError: another kind of URL.
        StateUnavailableError: the database does not answer; the cache need not.
    """
    from companyos.state.repository import StateRepository

    return StateRepository(open_cache(cache), open_database(url), ttl_seconds)
