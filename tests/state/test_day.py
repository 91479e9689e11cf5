"""The hit ratio over a day of sessions, in virtual time."""

import heapq
import random

from benchmarks.bench_state import VirtualClock, visits
from companyos.state import MemoryCache, SqliteDatabase, StateRepository

SESSIONS = 120
"""A smaller day than the 700 sessions of benchmarks/bench_state.py, which runs it on real servers."""


def test_nine_in_ten_reads_of_a_day_come_from_the_cache(tmp_path):
    """At least 92 % of the reads of 24 hours are hits: state from the cache, within the lease and checked."""
    clock, chance = VirtualClock(), random.Random(11)
    requests = [request for number in range(SESSIONS) for request in visits(f"session-{number}", chance)]
    heapq.heapify(requests)
    with StateRepository(MemoryCache(clock=clock), SqliteDatabase(tmp_path / "s.db"), clock=clock) as repository:
        while requests:
            clock.now, key, reads, writes = heapq.heappop(requests)
            for _ in range(reads):
                repository.get(key)
            if writes:
                repository.save(key, {"at": clock.now})
        counts = repository.stats()

    assert clock.now > 80_000
    assert counts["hits"] / (counts["hits"] + counts["misses"]) >= 0.92, counts
    assert counts["degraded_reads"] == counts["cache_damage"] == 0
