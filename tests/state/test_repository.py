"""Bad inputs, lying stores, and the promises of single calls, over every combination of stores."""

import hashlib
import sqlite3
import threading
from contextlib import closing

import psycopg
import pytest

from companyos.canonical import digest
from companyos.state import (
    MemoryCache,
    PostgresDatabase,
    RedisCache,
    SqliteDatabase,
    StateDamagedError,
    StateInvalidError,
    StatePayloadTooLargeError,
    StateRepository,
    entry,
)

NOT_JSON = {
    "not a number": float("nan"),
    "infinity": [float("inf")],
    "bytes": {"a": b"x"},
    "a large integer": {"n": 2**60},
    "a lone surrogate": "\ud800",
    "a surrogate as a key": {"\udfff": 1},
    "a key that is a number": {1: 2},
    "a set": {1, 2},
    "an object": object(),
    "nested without end": None,
}
NOT_KEYS = ("", "a\nb", "a\0b", "\ud800", "x" * 513, 7, None, b"k")


def nested():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize("name", NOT_JSON)
def test_what_is_not_json_is_refused(repository, name):
    """Nothing is written, no version is used up, and no session is fenced."""
    payload = nested() if name == "nested without end" else NOT_JSON[name]
    with pytest.raises(StateInvalidError, match="not JSON") as caught:
        repository.save("s", payload)
    assert caught.value.code == "state.invalid"
    assert repository.get("s") is None
    assert repository.save("s", 1).version == 1


@pytest.mark.parametrize("key", NOT_KEYS, ids=repr)
def test_a_session_id_is_one_printable_line(repository, key):
    """What could not be a key of both stores is refused by every call."""
    for call in (lambda: repository.save(key, 1), lambda: repository.get(key), lambda: repository.delete(key)):
        with pytest.raises(StateInvalidError, match="cannot be a session id"):
            call()


@pytest.mark.parametrize("version", [-1, 2**53, 2**70])
def test_what_cannot_be_a_version_is_refused(repository, version):
    """It is a wrong call, and not a database that fails."""
    for call in (repository.save, lambda *_, **more: repository.delete("s", **more)):
        with pytest.raises(StateInvalidError, match="cannot be a version"):
            call("s", 1, expected_version=version)
    assert repository.stats()["database"] == "used"


def test_a_misspelt_consistency_is_refused(repository):
    """It is not taken for the weaker one."""
    with pytest.raises(StateInvalidError, match="cached or strong"):
        repository.get("s", consistency="storng")


def test_a_huge_payload_is_refused(repository):
    """100 MB are refused with their size and the limit; nothing is written."""
    with pytest.raises(StatePayloadTooLargeError, match="at most 1048576") as caught:
        repository.save("s", "x" * 100_000_000)
    assert caught.value.got == "100000002 bytes"
    assert repository.get("s", consistency="strong") is None


def test_a_payload_at_the_limit_is_kept(database, cache):
    """The limit itself is allowed, one byte more is not."""
    repository = StateRepository(cache, database, payload_limit=1000)
    repository.save("s", "x" * 998)
    assert repository.get("s").payload == "x" * 998
    with pytest.raises(StatePayloadTooLargeError):
        repository.save("s", "x" * 999)


def name_of(key, database):
    """Under which name a session is in the cache."""
    return f"{database.identity}:{key}"


def sealed(name, start, payload):
    """An entry with whatever in its head, and everything else right."""
    head = start + hashlib.sha256(payload).digest()
    return head + entry._seal(name, head) + payload


def lies(true, name, other):
    """Everything a cache might say instead of the truth, by what is wrong; session `s` is at version 2."""
    flipped = true[:-1] + bytes([true[-1] ^ 1])
    return {
        "a flipped bit in the payload": flipped,
        "a flipped bit in the digest": true[:45] + bytes([true[45] ^ 1]) + true[46:],
        "another version": true[:20] + b"9" + true[21:],
        "an older version": entry.encode(name, 1, 10**12, b'{"n":1}'),
        "sealed noise": entry.encode(name, 2, 10**12, b"noise"),
        "a sealed version that is no number": sealed(name, b"E" + b"x" * 40, b"{}"),
        "another key's value": entry.encode(other, 2, 10**12, b'{"n":0}'),
        "cut off": true[:-1],
        "only a head": true[:50],
        "empty": b"",
        "noise": b"\xff" * 200,
        "text": b'{"n":0}',
    }


@pytest.mark.parametrize("name", list(lies(b"x" * 99, "", "")))
def test_a_lying_cache_is_not_believed(repository, name):
    """The state comes from the database, the lie is counted, and the next read comes from the cache again."""
    repository.save("s", {"n": 1})
    repository.save("s", {"n": 2})
    cache, database = repository._cache, repository._database
    place, other = name_of("s", database), name_of("other", database)
    cache.put(place, lies(cache.get(place), place, other)[name], 60)

    state = repository.get("s")

    assert (state.payload, state.version, state.source) == ({"n": 2}, 2, "database")
    counts = repository.stats()
    assert counts["cache_damage"] + counts["cache_stale"] == 1
    assert repository.get("s").source == "cache"


def test_a_cache_with_an_old_state_is_found_out_within_the_lease(database, cache):
    """A client that never saw the newer version still refuses the older one when its lease is renewed."""
    with (
        StateRepository(MemoryCache(), database) as writer,
        StateRepository(cache, database, lease_seconds=0) as reader,
    ):
        writer.save("s", 1)
        assert reader.get("s").payload == 1
        writer.save("s", 2)  # tells another cache, not this one
        assert (reader.get("s").payload, reader.stats()["cache_stale"]) == (2, 1)


def tamper(repository, request, statement):
    """Change the database behind everybody's back."""
    database = repository._database
    if isinstance(database, SqliteDatabase):
        with closing(sqlite3.connect(database._path)) as connection, connection:
            connection.execute(statement)
    else:
        with psycopg.connect(database._url) as connection:
            connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sessions SET payload = '{\"n\":9}' WHERE id = 's'",
        "UPDATE sessions SET payload = '' WHERE id = 's'",
        "UPDATE sessions SET payload = NULL WHERE id = 's'",
        "UPDATE sessions SET payload_hash = 'sha256:00' WHERE id = 's'",
        "UPDATE sessions SET payload_hash = NULL WHERE id = 's'",
    ],
)
def test_a_changed_payload_in_the_database_is_an_error(repository, request, statement):
    """It is never returned: strong reads and the verification name the session."""
    repository.save("s", {"n": 1})
    repository.save("t", {"n": 2})
    tamper(repository, request, statement)

    for call in (
        lambda: repository.get("s", consistency="strong"),
        lambda: repository.verify_integrity("s"),
        repository.verify_integrity,
    ):
        with pytest.raises(StateDamagedError, match=r"\bs\b") as caught:
            call()
    assert caught.value.exit_status == 1
    assert repository.get("t", consistency="strong").payload == {"n": 2}


def test_payload_and_digest_changed_together_differ_from_the_index(repository, request):
    """Who forges both forgets the third place: the verification of everything finds it."""
    repository.save("s", {"n": 1})
    tamper(repository, request, f"UPDATE sessions SET payload = '9', payload_hash = '{digest(9)}'")  # noqa: S608 - ours
    with pytest.raises(StateDamagedError, match="1 of 1 states"):
        repository.verify_integrity()


def test_what_is_no_json_is_damage_even_with_its_digest(repository, request):
    """A forger who fits the digest to noise gets an error by name, not a crash."""
    repository.save("s", {"n": 1})
    noise = "sha256:" + hashlib.sha256(b"noise").hexdigest()
    tamper(repository, request, f"UPDATE sessions SET payload = 'noise', payload_hash = '{noise}'")  # noqa: S608 - ours
    with pytest.raises(StateDamagedError, match="of a JSON value"):
        repository.get("s", consistency="strong")


def test_every_save_and_delete_leaves_an_audit_row(repository, request):
    """Who did what when: one row each, in the transaction of the change; refused writes leave none."""
    repository.save("s", 1)
    repository.save("s", 2)
    repository.delete("s")
    repository.delete("s")
    query = "SELECT session_id, action, version FROM state_audit ORDER BY id"
    database = repository._database
    if isinstance(database, SqliteDatabase):
        with closing(sqlite3.connect(database._path)) as connection:
            rows = connection.execute(query).fetchall()
            index = connection.execute("SELECT * FROM state_hash_index").fetchall()
    else:
        with psycopg.connect(database._url) as connection:
            rows = connection.execute(query).fetchall()
            index = connection.execute("SELECT * FROM state_hash_index").fetchall()
    assert rows == [("s", "save", 1), ("s", "save", 2), ("s", "delete", 3)]
    assert index == []


def test_a_thousand_iterations(repository):
    """The stability test: a thousand times save, cached and strong read, verification; no failure, no wrong value."""
    for number in range(1000):
        key, payload = f"s{number % 7}", {"iteration": number, "text": "ä" * (number % 50)}
        saved = repository.save(key, payload)
        states = [repository.get(key), repository.get(key, consistency="strong")]
        assert [(one.payload, one.digest, one.version) for one in states] == [
            (payload, digest(payload), saved.version)
        ] * 2
        if number % 10 == 9:
            repository.delete(key)
            assert repository.get(key) is None
    assert repository.verify_integrity() == 7 - sum(repository.get(f"s{n}") is None for n in range(7))


def test_a_slow_reader_never_warms_the_cache_with_what_was_overwritten(database, cache):
    """The reader is held between database and cache while another saves: what it then fills in is refused."""
    has_read, may_go_on = threading.Event(), threading.Event()

    class Slow:
        def __getattr__(self, name):
            return getattr(database, name)

        def read(self, key):
            row = database.read(key)
            has_read.set()
            may_go_on.wait(10)
            return row

    writer, reader = StateRepository(cache, database), StateRepository(cache, Slow())
    writer.save("s", "old")
    name = name_of("s", database)
    cache.swap(name, cache.get(name), None, 0)  # evicted
    thread = threading.Thread(target=reader.get, args=("s",))
    thread.start()
    has_read.wait(10)
    writer.save("s", "new")
    cache.swap(name, cache.get(name), None, 0)  # evicted again, so that nothing is there to compare with
    may_go_on.set()
    thread.join()

    assert cache.get(name) is None
    assert writer.get("s").payload == "new"


def test_a_failed_commit_leaves_nothing_in_the_cache(database, cache):
    """The cache is told after the commit only: what could not be saved is never shown."""

    class Full:
        def __getattr__(self, name):
            return getattr(database, name)

        def write(self, *_):
            from companyos.state import StateUnavailableError

            raise StateUnavailableError("disk full")

    StateRepository(cache, database).save("s", "old")
    failing = StateRepository(cache, Full())
    with pytest.raises(Exception, match="disk full"):
        failing.save("s", "new")

    assert StateRepository(cache, database).get("s").payload == "old"
    assert not entry.is_token(cache.get(name_of("s", database)))


def test_a_crowd_reads_the_database_once_or_twice(database, cache):
    """Twenty threads that miss at once share a reading; none gets one that began before it asked."""
    reads = []

    class Counting:
        def __getattr__(self, name):
            return getattr(database, name)

        def read(self, key):
            reads.append(key)
            barrier.wait(10) if len(reads) == 1 else None
            return database.read(key)

    barrier = threading.Barrier(2)
    StateRepository(MemoryCache(), database).save("s", "there")
    repository = StateRepository(cache, Counting())
    found = []
    threads = [threading.Thread(target=lambda: found.append(repository.get("s").payload)) for _ in range(20)]
    for thread in threads:
        thread.start()
    barrier.wait(10)
    for thread in threads:
        thread.join()

    assert found == ["there"] * 20
    assert len(reads) <= 2


def test_other_processes_wait_a_moment_for_whoever_fills_in(database, cache):
    """A repository that finds another's token waits some milliseconds, and then has its state from the cache."""
    has_read, may_go_on = threading.Event(), threading.Event()

    class Slow:
        def __getattr__(self, name):
            return getattr(database, name)

        def read(self, key):
            has_read.set()
            may_go_on.wait(10)
            return database.read(key)

    filler = StateRepository(cache, Slow())
    thread = threading.Thread(target=filler.get, args=("s",))

    class FillsMeanwhile:
        monotonic = staticmethod(lambda: 0.0)

        def sleep(self, _):
            may_go_on.set()
            thread.join()

    StateRepository(MemoryCache(), database).save("s", "there")
    waiting = StateRepository(cache, database, clock=FillsMeanwhile())
    thread.start()
    has_read.wait(10)

    assert (waiting.get("s").source, waiting.stats()["database_reads"]) == ("cache", 0)


@pytest.mark.parametrize("kind", ["redis", "memory"])
def test_stores_can_be_opened_by_url(kind, tmp_path, request):
    """URLs of SQLite, PostgreSQL, memory, Redis and Valkey; anything else is refused with what is known."""
    from companyos.errors import ConfigError
    from companyos.state import open_cache, open_database, open_repository

    cache = "memory:" if kind == "memory" else request.getfixturevalue("redis_url").replace("redis:", "valkey:")
    cache += "?socket_timeout=5" if kind == "redis" else ""
    with open_repository(f"sqlite:///{tmp_path}/deep/state.db", cache) as repository:
        assert repository.save("s", 1).version == 1
        assert repository.get("s").source == "cache"
    for wrong in ("mysql://x", "sqlite:", "", "postgres"):
        with pytest.raises(ConfigError, match="no URL of a database"):
            open_database(wrong)
    for wrong in ("memcached://x", "", "memory"):
        with pytest.raises(ConfigError, match="no URL of a cache"):
            open_cache(wrong)


def test_an_answer_that_is_no_bytes_is_no_answer(redis_url, tmp_path):
    """A client library that was told to decode breaks nothing: the repository does without that cache."""
    cache = RedisCache(f"{redis_url}?decode_responses=true", timeout_seconds=5)
    with StateRepository(cache, SqliteDatabase(tmp_path / "s.db"), lease_seconds=0.01) as repository:
        repository.save("s", "x")
        assert (repository.get("s").payload, repository.get("s").source) == ("x", "database")
        assert repository.stats()["cache_failures"] > 0


def test_what_is_at_the_place_of_another_type_is_replaced(redis_url, tmp_path):
    """A key of our name that holds a list, of whoever made it, is removed and filled."""
    import redis

    cache = RedisCache(redis_url, timeout_seconds=5)
    with (
        StateRepository(cache, SqliteDatabase(tmp_path / "s.db")) as repository,
        redis.Redis.from_url(redis_url) as raw,
    ):
        repository.save("s", 1)
        (name,) = raw.keys()
        raw.delete(name)
        raw.rpush(name, "x")
        assert [repository.get("s").source, repository.get("s").source] == ["database", "cache"]
        assert repository.stats()["cache_failures"] == 0


def test_two_databases_may_share_a_cache(cache, tmp_path):
    """The same session of another database is another session."""
    repositories = [StateRepository(cache, SqliteDatabase(tmp_path / f"{n}.db")) for n in range(2)]
    for number, repository in enumerate(repositories):
        repository.save("s", number)
    assert [(one.get("s").payload, one.get("s").source) for one in repositories] == [(0, "cache"), (1, "cache")]


def test_purging_what_clients_may_still_need_is_refused(repository):
    """Less than a day, or than the time in the cache, is refused."""
    with pytest.raises(StateInvalidError, match="at least 86400 s"):
        repository.purge(3600)
    assert repository.purge() == 0


def test_postgresql_answers_nothing_of_other_types(postgresql_url):
    """The class is the one that URLs lead to, and closes its connections."""
    database = PostgresDatabase(postgresql_url, connections=1)
    with StateRepository(MemoryCache(), database) as repository:
        repository.save("s", 1)
    with psycopg.connect(postgresql_url) as connection:
        (count,) = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
    assert count == 0
