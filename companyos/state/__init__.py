"""The state fabric: sessions durable in SQL, fast from a cache, fenced by versions, checked by digests."""

from typing import TYPE_CHECKING

from companyos._lazy import attach

if TYPE_CHECKING:
    from companyos.state.caches.memory import MemoryCache
    from companyos.state.caches.redis import RedisCache
    from companyos.state.databases.postgresql import PostgresDatabase
    from companyos.state.databases.sqlite import SqliteDatabase
    from companyos.state.errors import (
        StateConflictError,
        StateDamagedError,
        StateInvalidError,
        StatePayloadTooLargeError,
        StateSchemaError,
        StateUnavailableError,
    )
    from companyos.state.interface import Cache, Clock, Database, Saved, State
    from companyos.state.opening import open_cache, open_database, open_repository
    from companyos.state.repository import StateRepository

__all__ = (
    "Cache",
    "Clock",
    "Database",
    "MemoryCache",
    "PostgresDatabase",
    "RedisCache",
    "Saved",
    "SqliteDatabase",
    "State",
    "StateConflictError",
    "StateDamagedError",
    "StateInvalidError",
    "StatePayloadTooLargeError",
    "StateRepository",
    "StateSchemaError",
    "StateUnavailableError",
    "open_cache",
    "open_database",
    "open_repository",
)

_HOMES = {
    "caches.memory": ("MemoryCache",),
    "caches.redis": ("RedisCache",),
    "databases.postgresql": ("PostgresDatabase",),
    "databases.sqlite": ("SqliteDatabase",),
    "errors": (
        "StateConflictError",
        "StateDamagedError",
        "StateInvalidError",
        "StatePayloadTooLargeError",
        "StateSchemaError",
        "StateUnavailableError",
    ),
    "interface": ("Cache", "Clock", "Database", "Saved", "State"),
    "opening": ("open_cache", "open_database", "open_repository"),
    "repository": ("StateRepository",),
}

__getattr__, __dir__ = attach(__name__, _HOMES)
