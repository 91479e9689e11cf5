"""What the state fabric adds to bare drivers, as ratios: `python benchmarks/bench_state.py [--rounds N] [--gate]`.

A real PostgreSQL and a real Valkey or Redis are started for it. Our call and the bare one take turns, so that a busy
minute slows both; each round gives a ratio of medians, and the median of the rounds is held against the bar. The bare
calls get their payload as finished text; ours make it canonical, hash it and check it.

Then a synthetic day of web sessions is replayed in virtual time over the same servers, and written hour by hour, with
the latencies measured, to build/metrics/state_cache_latency.csv. A hit is a read whose state came from the cache; in so
quiet a day many of them renew the lease first, which asks the database for the changes since: that is a column of its
own. The table goes to build/bench/state.json too.

`--gate` exits with 1 where a bar is missed; judge on a quiet machine.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import json
import os
import platform
import random
import statistics
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from companyos.state import PostgresDatabase, RedisCache, StateRepository  # noqa: E402 - after the path of tests.services
from tests.services import PostgreSQL, Redis, find, stop_all  # noqa: E402 - the same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OUTPUT = ROOT / "build" / "bench" / "state.json"
DAY = ROOT / "build" / "metrics" / "state_cache_latency.csv"
BARS = {
    "get hit / bare GET": 2.5,
    "save / bare upsert and SET": 1.5,
    "misses of a day, percent": 8.0,
    "p95 of gets of a day, ms": 50.0,
    "p95 of saves of a day, ms": 120.0,
}
GETS, SAVES = 300, 60
"""Calls of each kind in a round."""
PAYLOAD = {
    "user": "u-1",
    "step": 3,
    "cart": [{"sku": f"a-{n}", "count": n, "price": "19.90"} for n in range(5)],
    "flags": {"terms": True, "newsletter": False},
    "note": "x" * 200,
}
UPSERT = """
INSERT INTO bare (id, payload, payload_hash, updated_at) VALUES (%s, %s, %s, now())
ON CONFLICT (id) DO UPDATE SET
payload = EXCLUDED.payload, payload_hash = EXCLUDED.payload_hash, updated_at = EXCLUDED.updated_at
"""
SESSIONS, WORKERS, HOURS = 700, 2, 24
COUNTED = ("hits", "misses", "saves", "lease_renewals")
COLUMNS = ("timestamp", "operation", "latency_ms", "percentile", "hour", "calls", "hits", "lease_renewals", "hit_ratio")


def main(arguments: list[str]) -> int:
    """Measure, print tables, write JSON and CSV; 1 if a bar is missed and `--gate` was given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--gate", action="store_true")
    options = parser.parse_args(arguments)
    try:
        database, cache = PostgreSQL(find("postgresql")), Redis(find("redis"))
        times = compare(database.create_database(), cache.create_database(), options.rounds)
        day = replay_day(database.create_database(), cache.create_database())
    finally:
        stop_all()
    ratios = judge(times, day)
    report(times, ratios, day)
    return 1 if options.gate and any(ratios[name] > bar for name, bar in BARS.items()) else 0


def compare(database_url: str, cache_url: str, rounds: int) -> list[dict[str, list[float]]]:
    """Seconds of every call, a dictionary a round."""
    import psycopg
    import redis

    text = json.dumps(PAYLOAD, sort_keys=True)
    cache = redis.Redis.from_url(cache_url)
    with (
        psycopg.connect(database_url, autocommit=True) as connection,
        StateRepository(RedisCache(cache_url), PostgresDatabase(database_url)) as repository,
    ):
        connection.execute(
            "CREATE TABLE bare (id text PRIMARY KEY, payload text, payload_hash text, updated_at timestamptz)"
        )

        def save() -> None:
            connection.execute(UPSERT, ("s", text, "0" * 64), prepare=True)
            cache.set("bare", text, ex=3600)

        pairs: tuple[tuple[str, Callable[[], object], int], ...] = (
            ("bare GET", lambda: cache.get("bare"), GETS),
            ("get hit", lambda: repository.get("s"), GETS),
            ("bare upsert and SET", save, SAVES),
            ("save", lambda: repository.save("s", PAYLOAD), SAVES),
            ("bare SELECT", lambda: connection.execute("SELECT payload FROM bare", prepare=True).fetchone(), SAVES),
            ("strong get", lambda: repository.get("s", consistency="strong"), SAVES),
        )
        save()
        repository.save("s", PAYLOAD)
        measured = [dict(taking_turns(pairs)) for _ in range(rounds + 1)][1:]
    cache.close()
    return measured


def taking_turns(calls: tuple[tuple[str, Callable[[], object], int], ...]) -> Iterator[tuple[str, list[float]]]:
    """Seconds of each call, by name; each two neighbours take turns."""
    for (first, one, count), (second, other, _) in zip(calls[::2], calls[1::2], strict=True):
        seconds: dict[str, list[float]] = {first: [], second: []}
        for _ in range(count):
            for name, call in ((first, one), (second, other)):
                seconds[name].append(timed(call))
        yield from seconds.items()


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


class VirtualClock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let that much virtual time pass."""
        self.now += seconds


class VirtualExpiry(RedisCache):
    """A real server whose values expire in virtual time."""

    def __init__(self, url: str, clock: VirtualClock, expiry: dict[str, float]) -> None:
        super().__init__(url, timeout_seconds=5)
        self._clock, self._expiry = clock, expiry

    def get(self, key: str) -> bytes | None:
        """What is there and has not expired."""
        self._expire(key)
        return super().get(key)

    def put(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Put it there."""
        super().put(key, value, 1e6)
        self._expiry[key] = self._clock.now + ttl_seconds

    def add(self, key: str, value: bytes, ttl_seconds: float) -> bool:
        """Put it there if nothing is there."""
        self._expire(key)
        return self._noted(key, ttl_seconds, done=super().add(key, value, 1e6))

    def swap(self, key: str, old: bytes, new: bytes | None, ttl_seconds: float) -> bool:
        """Put it in the place of another."""
        self._expire(key)
        return self._noted(key, ttl_seconds, done=super().swap(key, old, new, 1e6))

    def publish(self, key: str, marker: bytes, value: bytes, ttl_seconds: float) -> None:
        """Put an entry in the place of a fence."""
        self._expire(key)
        super().publish(key, marker, value, 1e6)
        self._noted(key, ttl_seconds, done=True)

    def _expire(self, key: str) -> None:
        if self._expiry.get(key, float("inf")) <= self._clock.now:
            del self._expiry[key]
            self._redis.delete(self._prefix + key)

    def _noted(self, key: str, ttl_seconds: float, *, done: bool) -> bool:
        if done:
            self._expiry[key] = self._clock.now + ttl_seconds
        return done


def replay_day(database_url: str, cache_url: str) -> list[dict[str, Any]]:
    """A day of sessions, spread over it with a peak in the afternoon, on two web workers; one row an hour.

    A session is 8 to 40 requests with a pause of 25 seconds on average; each request reads the state, a third of them
    twice, and a third of them save it. Two in ten people come back hours later. The seed is fixed.
    """
    clock, expiry, chance = VirtualClock(), dict[str, float](), random.Random(7)  # noqa: S311 - not for secrets
    workers = [
        StateRepository(VirtualExpiry(cache_url, clock, expiry), PostgresDatabase(database_url), clock=clock)
        for _ in range(WORKERS)
    ]
    requests = [request for number in range(SESSIONS) for request in visits(f"session-{number}", chance)]
    heapq.heapify(requests)
    hours: list[dict[str, Any]] = []
    for hour in range(HOURS):
        before = [worker.stats() for worker in workers]
        seconds: dict[str, list[float]] = {"get": [], "save": []}
        while requests and requests[0][0] < (hour + 1) * 3600:
            clock.now, key, reads, writes = heapq.heappop(requests)
            worker = workers[chance.randrange(WORKERS)]
            seconds["get"] += [timed(partial(worker.get, key)) for _ in range(reads)]
            if writes:
                seconds["save"].append(timed(partial(worker.save, key, {**PAYLOAD, "at": clock.now})))
        after = [worker.stats() for worker in workers]
        grown = {
            name: sum(count(late, name) - count(early, name) for early, late in zip(before, after, strict=True))
            for name in COUNTED
        }
        hours.append(
            {"hour": hour, "measured": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": seconds, **grown}
        )
    for worker in workers:
        worker.close()
    return hours


def count(stats: dict[str, int | str], name: str) -> int:
    """One of the counts of a repository."""
    return int(stats[name])


def visits(key: str, chance: random.Random) -> Iterator[tuple[float, str, int, bool]]:
    """Moment, session, reads and whether it saves, of every request of one person."""
    at = chance.triangular(0, HOURS * 3600, 15 * 3600)
    for _ in range(2 if chance.random() < 0.2 else 1):
        for _ in range(chance.randint(8, 40)):
            at += chance.expovariate(1 / 25)
            yield at, key, 2 if chance.random() < 1 / 3 else 1, chance.random() < 1 / 3
        at += chance.uniform(1, 6) * 3600


def percentile(seconds: list[float], percent: int) -> float:
    """A percentile; of a single value, that."""
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1] if len(seconds) > 1 else seconds[0]


def rows_of(day: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows of the file: for each hour and operation the percentiles, with what the hit ratio is made of."""
    for hour in day:
        for operation, seconds in hour["seconds"].items():
            for percent in (50, 95, 99) if seconds else ():
                row = {
                    "timestamp": hour["measured"],
                    "operation": operation.upper(),
                    "latency_ms": round(percentile(seconds, percent) * 1000, 4),
                    "percentile": f"p{percent}",
                    "hour": hour["hour"],
                    "calls": len(seconds),
                }
                if operation == "get":
                    row |= {name: hour[name] for name in ("hits", "lease_renewals")}
                    row["hit_ratio"] = round(hour["hits"] / len(seconds), 4)
                yield row


def judge(times: list[dict[str, list[float]]], day: list[dict[str, Any]]) -> dict[str, float]:
    """The figures that have a bar."""

    def ratio(ours: str, bare: str) -> float:
        return statistics.median(statistics.median(r[ours]) / statistics.median(r[bare]) for r in times)

    gets, saves = ([one for hour in day for one in hour["seconds"][name]] for name in ("get", "save"))
    return {
        "get hit / bare GET": ratio("get hit", "bare GET"),
        "save / bare upsert and SET": ratio("save", "bare upsert and SET"),
        "strong get / bare SELECT": ratio("strong get", "bare SELECT"),
        "misses of a day, percent": 100 * (1 - sum(hour["hits"] for hour in day) / len(gets)),
        "p95 of gets of a day, ms": percentile(gets, 95) * 1000,
        "p95 of saves of a day, ms": percentile(saves, 95) * 1000,
    }


def report(times: list[dict[str, list[float]]], ratios: dict[str, float], day: list[dict[str, Any]]) -> None:
    """Print the tables and write the files."""
    print(f"{'call':22}  {'median us':>9}  {'p95 us':>8}")
    figures: dict[str, dict[str, float]] = {}
    for name in times[0]:
        every = [seconds for r in times for seconds in r[name]]
        figures[name] = {f"p{percent}_us": round(percentile(every, percent) * 1e6, 1) for percent in (50, 95)}
        print(f"{name:22}  {figures[name]['p50_us']:>9}  {figures[name]['p95_us']:>8}")
    print(f"\n{'figure':30}  {'measured':>8}  {'bar':>5}")
    for name, value in ratios.items():
        bar = BARS.get(name)
        verdict = "" if bar is None else "ok" if value <= bar else "MISSED"
        print(f"{name:30}  {value:8.2f}  {'' if bar is None else bar:>5}  {verdict}")
    totals = {name: sum(hour[name] for hour in day) for name in COUNTED}
    print(f"\na day: {totals}, hit ratio {totals['hits'] / (totals['hits'] + totals['misses']):.4f}")
    machine = {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}
    whole = {
        "machine": machine,
        "load": os.getloadavg()[0],
        "bars": BARS,
        "ratios": ratios,
        "calls": figures,
        "day": totals,
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(whole, indent=2) + "\n")
    DAY.parent.mkdir(parents=True, exist_ok=True)
    with DAY.open("w", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS)
        rows.writeheader()
        rows.writerows(rows_of(day))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
