"""What the processes do that use one pair of stores at once: a module that loads fast."""

import json
import multiprocessing
import os
import random
import signal
import time
from dataclasses import asdict

from companyos.state import (
    PostgresDatabase,
    RedisCache,
    SqliteDatabase,
    StateRepository,
    StateUnavailableError,
    open_cache,
    open_database,
)
from tests.state.history import Operation

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["__main__", "companyos.state", "tests.state.state_workers"])
MIX = (["cached"] * 70) + (["strong"] * 10) + (["save"] * 17) + (["delete"] * 3)


def open_stores(database_url, cache_url, lease_seconds):
    """A repository of this process, impatient enough to notice faults of a second."""
    return StateRepository(
        RedisCache(cache_url, timeout_seconds=0.1),
        PostgresDatabase(database_url, timeout_seconds=2.0),
        lease_seconds=lease_seconds,
    )


def work(client, seed, urls, keys, lease_seconds, pause_seconds, ready, stop, results):
    """Random operations on a few keys until told to stop; every one is recorded, with what came of it."""
    chance, history = random.Random(f"{seed}-{client}"), []
    with open_stores(*urls, lease_seconds) as repository:
        ready.wait(60)
        while not stop.is_set():
            kind, key = chance.choice(MIX), f"k{chance.randrange(keys)}"
            history.append(one(repository, client, kind, key, f"{client}-{len(history)}"))
            time.sleep(chance.random() * pause_seconds)
        results.put((history, repository.stats()))


def one(repository, client, kind, key, value):
    """One operation, as it went."""
    begun = time.monotonic()
    version, shown, degraded, answered = None, None, False, True
    try:
        if kind == "save":
            version, shown = repository.save(key, value).version, value
        elif kind == "delete":
            version = repository.delete(key)
            kind = "strong" if version is None else kind  # there was nothing: that is what the database said
        elif (state := repository.get(key, consistency=kind)) is not None:
            shown, version, degraded = state.payload, state.version, state.degraded
    except StateUnavailableError:
        answered, shown = False, value if kind == "save" else None
        if kind in {"strong", "cached"}:
            kind = "refused"
    ended = time.monotonic() if answered else float("inf")
    return Operation(client, kind, key, begun, ended, shown, version, degraded)


def work_in_a_journal(client, seed, urls, lease_seconds, journal, ready):
    """Random operations until killed; each is written down before it begins and when it has ended."""
    chance, number = random.Random(f"{seed}-{client}"), 0
    repository = StateRepository(open_cache(urls[1]), open_database(urls[0]), lease_seconds=lease_seconds)
    with journal.open("a", buffering=1) as file:
        ready.set()
        while True:
            kind, key, value = chance.choice(MIX), f"k{chance.randrange(3)}", f"{client}-{number}"
            begun = Operation(client, kind, key, time.monotonic(), float("inf"), value if kind == "save" else None)
            file.write(json.dumps(asdict(begun)) + "\n")
            file.write(json.dumps(asdict(one(repository, client, kind, key, value))) + "\n")
            number += 1


def read_journal(journal):
    """The operations in a journal; one that has no end was not answered, and a read without an answer tells nothing."""
    operations = [Operation(**json.loads(line)) for line in journal.read_text().splitlines() if line.endswith("}")]
    begun, ended = operations[::2], operations[1::2]
    return ended + [one for one in begun[len(ended) :] if one.kind in {"save", "delete"}]


class DiesAtPublish(RedisCache):
    """A cache whose user is killed between the commit and the telling."""

    def publish(self, *arguments):
        os.kill(os.getpid(), signal.SIGKILL)


def die_after_commit(path, cache_url, key, payload):
    """Commit, and be killed before the cache hears of it."""
    StateRepository(DiesAtPublish(cache_url), SqliteDatabase(path)).save(key, payload)
