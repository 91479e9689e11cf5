"""A cache or a database that goes away and comes back, while the repository stays."""

import time

import pytest

from companyos.state import (
    MemoryCache,
    PostgresDatabase,
    RedisCache,
    SqliteDatabase,
    StateRepository,
    StateUnavailableError,
)
from tests.services import PostgreSQL, Proxy, Redis, available
from tests.state.state_workers import PROCESSES, die_after_commit

LIMIT_SECONDS = 30


class Waits:
    """The real clock, but sleeping is only noted."""

    def __init__(self):
        self.slept = []

    def monotonic(self):
        return time.monotonic()

    def sleep(self, seconds):
        self.slept.append(seconds)


def until(condition):
    """Wait for what must become true; how long that may take is not measured."""
    limit = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.fixture
def own_redis():
    """A server that the test may kill."""
    server = Redis(available("redis"))
    yield server
    server.stop()


@pytest.fixture
def own_postgresql():
    """A server that the test may kill."""
    server = PostgreSQL(available("postgresql"))
    yield server
    server.stop()


FAULTS = {
    "killed": (lambda server, proxy: server.kill(), lambda server, proxy: server.restart()),
    "stopped": (lambda server, proxy: server.pause(), lambda server, proxy: server.resume()),
    "300 ms away": (
        lambda server, proxy: setattr(proxy, "delay_seconds", 0.3),
        lambda server, proxy: setattr(proxy, "delay_seconds", 0.0),
    ),
    "refusing": (
        lambda server, proxy: (setattr(proxy, "refusing", True), proxy.cut()),
        lambda server, proxy: setattr(proxy, "refusing", False),
    ),
}


@pytest.mark.service("redis")
@pytest.mark.parametrize("fault", FAULTS)
def test_without_its_cache_the_repository_goes_on(tmp_path, own_redis, fault):
    """Reads come from the database, writes wait the lease out, both are counted; afterwards the cache is used again."""
    begin, end = FAULTS[fault]
    clock, proxy = Waits(), Proxy(own_redis.port)
    cache = RedisCache(own_redis.url_at(proxy.port), timeout_seconds=0.2)
    with StateRepository(cache, SqliteDatabase(tmp_path / "s.db"), clock=clock) as repository:
        repository.save("s", 1)
        assert (repository.get("s").source, clock.slept) == ("cache", [])

        begin(own_redis, proxy)
        for number in range(10):
            state = repository.get("s")
            assert (state.payload, state.source, state.degraded) == (1, "database", False), number
        assert repository.save("s", 2).version == 2
        counts = repository.stats()
        assert (clock.slept, counts["lease_waits"], counts["cache"]) == ([2.02], 1, "held back")
        assert counts["cache_failures"] >= 3
        assert counts["cache_bypassed"] > counts["cache_failures"]

        end(own_redis, proxy)
        until(lambda: repository.get("s").source == "cache")
        assert (repository.get("s").payload, repository.stats()["cache"]) == (2, "used")
        repository.save("s", 3)
        assert len(clock.slept) == 1
    proxy.close()


@pytest.mark.service("redis")
def test_a_write_that_could_not_publish_waits_too(tmp_path, redis_url):
    """A fence that was set is not enough: the cache may have lost it before the commit."""
    clock = Waits()

    class Lost(RedisCache):
        def publish(self, *arguments):
            from companyos.state.errors import CacheUnreachableError

            raise CacheUnreachableError("cut")

    with StateRepository(Lost(redis_url), SqliteDatabase(tmp_path / "s.db"), clock=clock) as repository:
        repository.save("s", 1)
        assert clock.slept == [2.02]
        assert repository.get("s").payload == 1


@pytest.mark.service("redis")
def test_a_writer_that_dies_after_its_commit_leaves_nothing_stale(tmp_path, redis_url):
    """Killed between commit and cache: its fence stands, and readers see what it committed."""
    database = tmp_path / "s.db"
    with StateRepository(RedisCache(redis_url), SqliteDatabase(database)) as repository:
        repository.save("s", "before")
        writer = PROCESSES.Process(target=die_after_commit, args=(database, redis_url, "s", "after"))
        writer.start()
        writer.join(60)
        assert writer.exitcode == -9
        state = repository.get("s")
        assert (state.payload, state.version, state.source) == ("after", 2, "database")


@pytest.mark.service("postgresql")
@pytest.mark.parametrize("fault", ["killed", "stopped"])
def test_without_its_database_the_repository_refuses_writes(own_postgresql, fault):
    """Strong reads and writes are refused by name, cached ones say that they may be old; later all is as before."""
    url = own_postgresql.create_database()
    cache = MemoryCache()
    with StateRepository(cache, PostgresDatabase(url, timeout_seconds=1), lease_seconds=0.05) as repository:
        repository.save("s", 1)
        repository.get("none")
        if fault == "killed":
            own_postgresql.kill()
        else:
            from tests.state.test_faults import stop

            stop(own_postgresql, 19)
        time.sleep(0.06)  # the lease runs out

        state = repository.get("s")
        assert (state.payload, state.source, state.degraded) == (1, "cache", True)
        for refused in (
            lambda: repository.save("s", 2),
            lambda: repository.get("s", consistency="strong"),
            lambda: repository.get("none"),
            lambda: repository.get("never"),
            lambda: repository.delete("s"),
            repository.verify_integrity,
        ):
            with pytest.raises(StateUnavailableError) as caught:
                refused()
            assert (caught.value.code, caught.value.exit_status) == ("state.unavailable", 3)
        assert repository.stats()["degraded_reads"] >= 1

        if fault == "killed":
            own_postgresql.restart()
        else:
            stop(own_postgresql, 18)
        until(lambda: not repository.get("s").degraded)
        until(lambda: saved(repository, "s", 3))
        assert repository.get("s", consistency="strong").payload == 3


def saved(repository, key, payload):
    try:
        repository.save(key, payload)
    except StateUnavailableError:
        return False
    return True


@pytest.mark.service("postgresql")
def test_connections_that_a_restart_closed_are_not_used(own_postgresql):
    """After a restart of the server the very next calls, a write among them, go through."""
    url = own_postgresql.create_database()
    with StateRepository(MemoryCache(), PostgresDatabase(url)) as repository:
        repository.save("s", 1)
        own_postgresql.restart()
        assert repository.save("s", 2).version == 2
        own_postgresql.restart()
        assert repository.get("s", consistency="strong").payload == 2


def test_a_full_disk_and_a_cut_off_file_have_a_name(tmp_path):
    """A database that cannot be written, or is no database, is unavailable by name, with what to check."""
    path = tmp_path / "s.db"
    database = SqliteDatabase(path)
    with StateRepository(MemoryCache(), database) as repository:
        repository.save("s", 1)
        database._db.execute("PRAGMA max_page_count = 10")
        with pytest.raises(StateUnavailableError, match="full"):
            repository.save("t", "x" * 500_000)
        assert repository.verify_integrity() == 1
    (tmp_path / "noise.db").write_bytes(b"noise" * 1000)
    with pytest.raises(StateUnavailableError, match="not a database"):
        SqliteDatabase(tmp_path / "noise.db")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(StateUnavailableError):
        SqliteDatabase(path).read("s")


def test_the_embedded_database_is_durable(tmp_path):
    """WAL, and a commit is on the disk."""
    database = SqliteDatabase(tmp_path / "s.db")
    assert database.durability() == ("wal", 2)
    database.close()
