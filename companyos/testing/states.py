"""The contracts of stores of session states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from companyos.state import Cache, Database, StateRepository

__all__ = ("StateCacheContract", "StateDatabaseContract", "StateRepositoryContract")


class StateDatabaseContract(ABC):
    """What every database of states must do; subclass it with a fixture `database` of an empty one."""

    @abstractmethod
    def database(self) -> Database:
        """A fixture: an empty database."""

    def test_versions_grow_over_deletes(self, database: Database) -> None:
        """Every save and delete gets the next version, and a deleted state has none."""
        writes = [
            database.write("k", b"1", "d1", None),
            database.write("k", b"2", "d2", None),
            database.delete("k", None),
            database.write("k", b"3", "d3", 0),
        ]
        assert [written and written.version for written in writes] == [1, 2, 3, 4]  # noqa: S101 - a test
        row = database.read("k")
        assert (row.payload, row.digest, row.version) == (b"3", "d3", 4)  # noqa: S101 - a test
        database.delete("k", 4)
        row = database.read("k")
        assert (row.payload, row.digest, row.version) == (None, None, 5)  # noqa: S101 - a test
        assert database.delete("k", None) is None  # noqa: S101 - a test

    def test_an_unexpected_version_writes_nothing(self, database: Database) -> None:
        """A write that expects another version, or something where there is nothing, is refused and leaves no trace."""
        assert database.write("k", b"1", "d", 7) is None  # noqa: S101 - a test
        assert database.read("k").version == 0  # noqa: S101 - a test
        assert database.write("k", b"1", "d", 0) is not None  # noqa: S101 - a test
        refused = [database.write("k", b"2", "d", 0), database.write("k", b"2", "d", 2), database.delete("k", 9)]
        assert refused == [None, None, None]  # noqa: S101 - a test
        assert (database.read("k").payload, database.read("k").version) == (b"1", 1)  # noqa: S101 - a test

    def test_concurrent_writes_get_a_version_each(self, database: Database) -> None:
        """Threads that write one session at once get different versions, without a gap."""
        with ThreadPoolExecutor(4) as pool:
            written = list(pool.map(lambda n: database.write("k", b"%d" % n, f"d{n}", None), range(60)))
        assert sorted(one.version for one in written if one) == list(range(1, 61))  # noqa: S101 - a test
        last = next(n for n, one in enumerate(written) if one and one.version == 60)
        assert database.read("k").payload == b"%d" % last  # noqa: S101 - a test

    def test_the_feed_tells_of_every_change(self, database: Database) -> None:
        """What was committed since the last reading is in the next one, with its newest version."""
        before = database.changes(None, 100)
        for key in ("a", "b", "a"):
            database.write(key, b"1", "d", None)
        first = database.changes(before.next, 100)
        assert (first.versions, first.start) == ({"a": 2, "b": 1}, before.next)  # noqa: S101 - a test
        database.delete("b", None)
        assert database.changes(first.next, 100).versions["b"] == 2  # noqa: S101 - a test

    def test_a_long_feed_says_from_where_it_is_whole(self, database: Database) -> None:
        """With more changes than the limit, the newest are given, and the position from which none is missing."""
        for number in range(20):
            database.write(f"k{number}", b"1", "d", None)
        position = database.read("k9").position
        changes = database.changes(None, 5)
        assert changes.versions == {f"k{n}": 1 for n in range(15, 20)}  # noqa: S101 - a test
        assert 0 < changes.start <= position  # noqa: S101 - a test

    def test_what_was_read_contains_all_earlier_changes(self, database: Database) -> None:
        """A row's position is beyond every change that it shows, so that a reader can tell what it cannot have seen."""
        database.write("k", b"1", "d", None)
        position = database.read("k").position
        assert database.changes(position, 100).versions == {}  # noqa: S101 - a test
        committed = database.write("k", b"2", "d", None)
        assert committed is not None  # noqa: S101 - a test
        assert committed.position >= position  # noqa: S101 - a test
        assert database.changes(position, 100).versions == {"k": 2}  # noqa: S101 - a test

    def test_a_purge_resets_no_version(self, database: Database) -> None:
        """A forgotten session that comes back has a higher version than it ever had."""
        for _ in range(3):
            database.write("gone", b"1", "d", None)
        database.delete("gone", None)
        database.write("kept", b"1", "d", None)
        assert database.purge(-60) == 1  # noqa: S101 - a test
        assert database.read("gone").version == 0  # noqa: S101 - a test
        again = database.write("gone", b"1", "d", None)
        assert again is not None  # noqa: S101 - a test
        assert again.version > 4  # noqa: S101 - a test
        assert database.read("kept").version == 1  # noqa: S101 - a test

    def test_all_rows_are_listed(self, database: Database) -> None:
        """Every session, with its digest and that of the index, in the order of keys."""
        for number in range(300):
            database.write(f"k{number:03}", b"%d" % number, f"d{number}", None)
        rows = list(database.rows())
        assert rows == [(f"k{n:03}", b"%d" % n, f"d{n}", f"d{n}") for n in range(300)]  # noqa: S101 - a test


class StateCacheContract(ABC):
    """What every cache of states must do; subclass it with a fixture `cache` of an empty one."""

    @abstractmethod
    def cache(self) -> Cache:
        """A fixture: an empty cache."""

    def test_values_come_back_as_they_went_in(self, cache: Cache) -> None:
        """Any bytes, under any key, until they are replaced."""
        values = {"k": bytes(range(256)), "ключ 1": b"", "a:b": b"x" * 100_000}
        for key, value in values.items():
            cache.put(key, b"before", 60)
            cache.put(key, value, 60)
        assert {key: cache.get(key) for key in values} == values  # noqa: S101 - a test
        assert cache.get("other") is None  # noqa: S101 - a test

    def test_values_expire(self, cache: Cache) -> None:
        """What has outlived its time is gone."""
        import time

        cache.put("k", b"1", 0.02)
        time.sleep(0.05)
        assert cache.get("k") is None  # noqa: S101 - a test
        assert cache.add("k", b"2", 60)  # noqa: S101 - a test

    def test_only_one_adds(self, cache: Cache) -> None:
        """Of many who add at once, one succeeds, and its value is there."""
        with ThreadPoolExecutor(8) as pool:
            added = list(pool.map(lambda n: cache.add("k", b"%d" % n, 60), range(40)))
        assert sum(added) == 1  # noqa: S101 - a test
        assert cache.get("k") == b"%d" % added.index(True)  # noqa: S101 - a test

    def test_only_the_owner_swaps(self, cache: Cache) -> None:
        """A value is replaced, or removed, only by who knows what is there."""
        assert not cache.swap("k", b"1", b"2", 60)  # noqa: S101 - a test
        cache.put("k", b"1", 60)
        assert not cache.swap("k", b"0", b"2", 60)  # noqa: S101 - a test
        assert cache.swap("k", b"1", b"2", 60)  # noqa: S101 - a test
        assert cache.get("k") == b"2"  # noqa: S101 - a test
        assert cache.swap("k", b"2", None, 60)  # noqa: S101 - a test
        assert cache.get("k") is None  # noqa: S101 - a test

    def test_publishing_settles_by_the_rule(self, cache: Cache) -> None:
        """Whatever is there when a write is published, the cache does what `companyos.state.entry.settle` says."""
        from companyos.state import entry

        mine, other, token = entry.fence(), entry.fence(), entry.token()
        values = {n: entry.encode("k", n, 1, b"%d" % n) for n in (4, 5, 6)}
        told = entry.settle(other, mine, values[6])
        found = [None, mine, other, told, token, *values.values(), b"", b"damage", b"F", b"E"]
        assert told is not None  # noqa: S101 - a test
        for before in found:
            for marker, value in ((mine, values[5]), (other, values[5]), (other, values[6])):
                cache.put("k", b"", 60)
                cache.swap("k", b"", before, 60)
                cache.publish("k", marker, value, 60)
                assert cache.get("k") == entry.settle(before, marker, value), (before, value)  # noqa: S101 - a test


class StateRepositoryContract(ABC):
    """What every combination of stores must do; subclass it with a fixture `repository` of an empty one."""

    @abstractmethod
    def repository(self) -> StateRepository:
        """A fixture: a repository over empty stores."""

    def test_a_state_is_read_as_it_was_saved(self, repository: StateRepository) -> None:
        """Payload, version and digest, cached and strong; nothing where nothing was saved."""
        from companyos.canonical import digest

        payload = {"z": [1, 2.5, 1e20, None, True], "a": "ü\u0000\U0001f600", "": {}}
        saved = repository.save("s", payload)
        assert (saved.version, saved.digest) == (1, digest(payload))  # noqa: S101 - a test
        for state in (repository.get("s"), repository.get("s"), repository.get("s", consistency="strong")):
            assert state is not None  # noqa: S101 - a test
            found = (state.payload, state.version, state.digest, state.degraded)
            assert found == (payload, 1, saved.digest, False)  # noqa: S101 - a test
        assert repository.get("other") is None  # noqa: S101 - a test

    def test_a_second_read_comes_from_the_cache(self, repository: StateRepository) -> None:
        """What was read once, or saved, is read from the cache, and so is that there is nothing."""
        repository.save("s", {"n": 1})
        repository.get("none")
        before = repository.stats()["database_reads"]
        state = repository.get("s")
        assert state is not None  # noqa: S101 - a test
        assert state.source == "cache"  # noqa: S101 - a test
        assert repository.get("none") is None  # noqa: S101 - a test
        assert repository.stats()["database_reads"] == before  # noqa: S101 - a test

    def test_deleted_is_gone_and_versions_go_on(self, repository: StateRepository) -> None:
        """After a delete there is nothing, cached or strong; the next save has a higher version."""
        repository.save("s", {"n": 1})
        deleted = [repository.delete("s"), repository.delete("s"), repository.delete("never")]
        assert deleted == [2, None, None]  # noqa: S101 - a test
        assert (repository.get("s"), repository.get("s", consistency="strong")) == (None, None)  # noqa: S101 - a test
        assert repository.save("s", {"n": 2}).version == 3  # noqa: S101 - a test

    def test_an_expected_version_decides(self, repository: StateRepository) -> None:
        """Of two who read the same version, one saves; the other is told, and nothing is lost."""
        from companyos.state import StateConflictError

        first = repository.save("s", {"n": 1}, expected_version=0)
        repository.save("s", {"n": 2}, expected_version=first.version)
        for expected in (0, first.version, 99):
            with pytest.raises(StateConflictError, match="nothing was written"):
                repository.save("s", {"n": 3}, expected_version=expected)
        with pytest.raises(StateConflictError):
            repository.delete("s", expected_version=first.version)
        state = repository.get("s")
        assert state is not None  # noqa: S101 - a test
        assert (state.payload, state.version) == ({"n": 2}, 2)  # noqa: S101 - a test

    def test_counters_survive_threads(self, repository: StateRepository) -> None:
        """Threads that count by expected version, each trying again when it lost, lose no step."""
        from companyos.state import StateConflictError

        repository.save("s", 0)

        def step() -> None:
            while True:
                state = repository.get("s", consistency="strong")
                assert state is not None  # noqa: S101 - a test
                try:
                    repository.save("s", state.payload + 1, expected_version=state.version)
                except StateConflictError:
                    continue
                return

        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(step) for _ in range(40)]:
                done.result()
        state = repository.get("s")
        assert state is not None  # noqa: S101 - a test
        assert (state.payload, state.version) == (40, 41)  # noqa: S101 - a test

    def test_everything_verifies(self, repository: StateRepository) -> None:
        """The payloads of all sessions, or of one, are what was saved."""
        for number in range(5):
            repository.save(f"s{number}", {"n": number})
        repository.delete("s0")
        assert repository.verify_integrity() == 4  # noqa: S101 - a test
        assert (repository.verify_integrity("s1"), repository.verify_integrity("s0")) == (1, 0)  # noqa: S101 - a test
