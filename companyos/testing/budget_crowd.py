"""A crowd that spends one budget in many processes and threads, and is killed while it does."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.connection import Connection

    from companyos.finops.budgets import BudgetStore, Charge, Event

__all__ = ("CrowdReport", "crowd", "problems_of_history")

CAPS = {"company": 3000, "team": 2000, "run": 1200}
LEASE_SECONDS = 3.0


@dataclass(slots=True)
class CrowdReport:
    """What became of the budget."""

    grants: int = 0
    """Reservations that were given out."""
    kills: int = 0
    """Processes that were killed."""
    looks: int = 0
    """How often the watcher looked."""
    problems: list[str] = field(default_factory=list)
    """Caps that were passed, sums that differ, reservations that stayed; empty if all is well."""


def crowd(
    make_store: Callable[[str], BudgetStore], url: str, epoch: str, *, processes: int, threads: int, seconds: float
) -> CrowdReport:
    """Let a crowd spend for some seconds, kill its processes at random, and say what is wrong afterwards."""
    from companyos.finops.budgets import Fence

    report, chance = CrowdReport(), random.Random(threads)  # noqa: S311 - the moments of kills
    most: Counter[str] = Counter()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["companyos.finops.budgets", "companyos.testing"])
    store = make_store(url)
    start = time.monotonic()
    running: list[multiprocessing.context.ForkServerProcess] = []
    while time.monotonic() < start + seconds:
        while len(running) < processes:
            ready, tell = context.Pipe(duplex=False)
            start_with, more = (make_store, url, epoch, threads), {"seed": chance.random(), "tell": tell}
            new = context.Process(target=_spend, args=start_with, kwargs=more, daemon=True)
            new.start()
            tell.close()
            ready.recv()  # a kill before the first reservation would show nothing
            running.append(new)
        end = time.monotonic() + chance.uniform(0.2, 0.6)
        while time.monotonic() < end:
            _look(store, most, report)
        report.kills += _kill(running.pop(chance.randrange(processes)))
    for one in running:
        report.kills += _kill(one)
    limit = time.monotonic() + LEASE_SECONDS + 60
    while store.open_records() and time.monotonic() < limit:
        store.expire(fence=Fence(epoch, 0))
        _look(store, most, report)
        time.sleep(0.05)
    events = store.pending(10_000_000)
    report.grants = sum(event.kind == "reserved" for event in events)
    report.problems += _problems(store, events, most)
    store.close()
    return report


def problems_of_history(events: Iterable[Event], caps: dict[str, int]) -> tuple[list[str], Counter[str], Counter[str]]:
    """What is wrong with a history, event by event; what is spent and held at its end; and what was settled late.

    A reservation may never take a level over its cap. What is settled after the lease is spent all the same, and can.
    """
    used: Counter[str] = Counter()
    late: Counter[str] = Counter()
    held: dict[str, dict[str, int]] = {}
    problems: list[str] = []
    for event in events:
        if event.kind == "reserved":
            held[event.id] = {charge[0]: charge[1] for charge in event.body["charges"]}
            used.update(held[event.id])
            problems += [
                f"event {event.seq}: {key} has {used[key]} of {caps[key]}"
                for key in held[event.id]
                if used[key] > caps[key] + late[key]
            ]
            continue
        freed = held.pop(event.id, None)
        used.subtract(freed or {})
        if event.kind == "settled":
            spent = dict(event.body["actual"])
            used.update(spent)
            if freed is None:
                late.update(spent)
    return problems, +used, late


def _problems(store: BudgetStore, events: list[Event], most: Counter[str]) -> list[str]:
    problems, used, late = problems_of_history(events, CAPS)
    problems += [
        f"the watcher saw {most[key]} of {cap} in {key}" for key, cap in CAPS.items() if most[key] > cap + late[key]
    ]
    problems += [f"{one.id} is still open" for one in store.open_records()]
    kept = +Counter({one.key: one.spent + one.reserved for one in store.levels()})
    return problems + ([] if kept == used else [f"the store says {dict(kept)}, its events {dict(used)}"])


def _look(store: BudgetStore, most: Counter[str], report: CrowdReport) -> None:
    report.looks += 1
    for one in store.levels():
        most[one.key] = max(most[one.key], one.spent + one.reserved)
    time.sleep(0.002)


def _kill(process: multiprocessing.context.ForkServerProcess) -> int:
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    return int(process.exitcode == -signal.SIGKILL)


def _spend(
    make_store: Callable[[str], BudgetStore], url: str, epoch: str, threads: int, *, seed: float, tell: Connection
) -> None:
    store = make_store(url)
    tell.send(True)
    for number in range(1, threads):
        threading.Thread(target=_spend_on, args=(store, epoch, f"{seed}-{number}"), daemon=True).start()
    _spend_on(store, epoch, f"{seed}-0")


def _spend_on(store: BudgetStore, epoch: str, name: str) -> None:
    """Reserve, then settle, refund or forget, for ever; small settlements, so that the budget lasts."""
    from companyos.finops.budgets import Charge, Fence

    chance, fence, number = random.Random(name), Fence(epoch, 0), 0  # noqa: S311 - what a caller does

    def charges(units: int) -> tuple[Charge, ...]:
        return tuple(Charge(key, units, cap, "EUR", 0, 4_000_000_000) for key, cap in CAPS.items())

    while True:
        number += 1
        id_, units = f"{name}-{number}", chance.randint(100, 700)
        asked = charges(units)
        body = json.dumps({"charges": [list(one[:6]) for one in asked]})
        granted = store.reserve(id_, asked, body=body, content="", lease_seconds=LEASE_SECONDS, fence=fence)
        if granted.status != "ok":
            time.sleep(chance.uniform(0, 0.01))
            continue
        time.sleep(chance.uniform(0, 0.003))
        what = chance.random()
        if what < 0.3:
            store.settle(id_, charges(chance.randint(0, 1)), body=body, fence=fence)
        elif what < 0.98:
            store.refund(id_, fence=fence)
