"""Every combination of stores, each over real servers."""

from pathlib import Path

import pytest

from companyos.state import MemoryCache, PostgresDatabase, RedisCache, SqliteDatabase, StateRepository

COMBINATIONS = [(database, cache) for database in ("sqlite", "postgresql") for cache in ("memory", "redis")]


def database_at(kind, request, tmp_path):
    """A new, empty database of a kind."""
    if kind == "sqlite":
        return SqliteDatabase(Path(tmp_path) / "state.db")
    return PostgresDatabase(request.getfixturevalue("postgresql_url"))


def cache_at(kind, request):
    """A new, empty cache of a kind."""
    if kind == "memory":
        return MemoryCache()
    return RedisCache(request.getfixturevalue("redis_url"), timeout_seconds=5)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service("postgresql"))])
def database(request, tmp_path):
    """An empty database of each kind."""
    made = database_at(request.param, request, tmp_path)
    yield made
    made.close()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.service("redis"))])
def cache(request):
    """An empty cache of each kind."""
    made = cache_at(request.param, request)
    yield made
    made.close()


@pytest.fixture
def repository(database, cache):
    """A repository over each combination of stores."""
    return StateRepository(cache, database, lease_seconds=0.2)
