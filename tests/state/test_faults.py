"""Clients in processes of their own on real servers, while these are killed, stopped, delayed and cut off."""

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.services import PostgreSQL, Proxy, Redis, available
from tests.state.history import check
from tests.state.state_workers import PROCESSES, open_stores, work

pytestmark = [pytest.mark.service("postgresql"), pytest.mark.service("redis")]

CLIENTS = 6
KEYS = 4


class Servers:
    """A PostgreSQL and a Valkey behind proxies, and all that can go wrong with them.

    There are two ways to the cache, so that some clients can lose it while others have it.
    """

    def __init__(self):
        self.database, self.cache = PostgreSQL(available("postgresql")), Redis(available("redis"))
        self.url = self.database.create_database()
        self.to_database = Proxy(self.database.port)
        self.to_cache = Proxy(self.cache.port), Proxy(self.cache.port)

    def urls(self, client):
        return (
            self.url.replace(f":{self.database.port}/", f":{self.to_database.port}/"),
            self.cache.url_at(self.to_cache[client % 2].port),
        )

    def stop(self):
        for proxy in (self.to_database, *self.to_cache):
            proxy.close()
        for server in (self.database, self.cache):
            server.stop()

    def faults(self):
        """Every fault by its name: what begins it, and what ends it."""
        ways = {"database": (self.to_database,), "cache": self.to_cache, "cache of some": self.to_cache[:1]}
        for name, server in (("database", self.database), ("cache", self.cache)):
            yield f"{name} killed", server.kill, server.restart
            yield f"{name} stopped", partial(stop, server, signal.SIGSTOP), partial(stop, server, signal.SIGCONT)
        for name, proxies in ways.items():
            yield f"{name} 300 ms away", partial(delay, proxies, 0.3), partial(delay, proxies, 0.0)
            yield f"{name} cut", partial(cut, proxies), partial(cut, proxies)
            yield (
                f"{name} unreachable",
                partial(refuse, proxies, refusing=True),
                partial(refuse, proxies, refusing=False),
            )


def stop(server, number):
    """SIGSTOP or SIGCONT to a server and all its processes, each of which may have a group of its own."""
    for process in (server.process.pid, *children(server.process.pid)):
        with suppress(ProcessLookupError):
            os.kill(process, number)


def children(parent):
    """Processes that a process has started."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                    yield int(entry.name)


def delay(proxies, seconds):
    for proxy in proxies:
        proxy.delay_seconds = seconds


def cut(proxies):
    for proxy in proxies:
        proxy.cut()


def refuse(proxies, *, refusing):
    for proxy in proxies:
        proxy.refusing = refusing
        if refusing:
            proxy.cut()


@pytest.fixture
def servers():
    made = Servers()
    yield made
    made.stop()


def run(servers, seed, *, lease_seconds, pause_seconds, fault_seconds, least):
    """The history of all clients, at least that long, with every fault in it at least once; and their counts."""
    open_stores(*servers.urls(0), lease_seconds).close()  # makes the tables
    ready, told, results = PROCESSES.Barrier(CLIENTS + 1), PROCESSES.Event(), PROCESSES.Queue()
    settings = (KEYS, lease_seconds, pause_seconds)
    clients = [
        PROCESSES.Process(target=work, args=(client, seed, servers.urls(client), *settings, ready, told, results))
        for client in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    ready.wait(60)
    begun, rounds = time.monotonic(), 0
    while rounds < least:
        for _, begin, end in random.Random(f"{seed}-{rounds}").sample(order := list(servers.faults()), len(order)):
            time.sleep(fault_seconds)
            begin()
            time.sleep(fault_seconds)
            end()
        rounds += 1
    time.sleep(2.0)
    told.set()
    collected = [results.get(timeout=60) for _ in clients]
    for client in clients:
        client.join(60)
    history = [one for part, _ in collected for one in part]
    counts = sum((Counter({k: v for k, v in stats.items() if isinstance(v, int)}) for _, stats in collected), Counter())
    kinds = Counter(one.kind if one.known or one.kind == "refused" else f"{one.kind}, unanswered" for one in history)
    print(f"\nseed {seed}: {len(history)} operations in {time.monotonic() - begun:.0f} s", dict(kinds), dict(counts))  # noqa: T201 - the report
    return [one for one in history if one.kind != "refused"], counts


def test_the_contracts_hold_while_servers_fail(servers):
    """A short run, about 4,000 operations with a lease of 0.5 s; the soak run has 20,000 and more with 2 s."""
    seed = random.SystemRandom().randrange(2**32)
    history, counts = run(servers, seed, lease_seconds=0.5, pause_seconds=0.02, fault_seconds=0.6, least=1)
    assert check(history, 0.5) == [], f"seed {seed}"
    assert len(history) > 1000
    happened = ("hits", "lease_waits", "cache_failures", "database_failures")
    assert all(counts[name] > 0 for name in happened), counts


@pytest.mark.soak
def test_twenty_thousand_operations_while_servers_fail(servers):
    """20,000 operations with the lease of 2 s while every fault comes several times: not one violation."""
    seed = random.SystemRandom().randrange(2**32)
    history, _ = run(servers, seed, lease_seconds=2.0, pause_seconds=0.02, fault_seconds=2.5, least=3)
    assert len(history) >= 20_000
    assert check(history, 2.0) == [], f"seed {seed}"
