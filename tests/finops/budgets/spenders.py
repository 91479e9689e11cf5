"""Processes that spend through the front door, ledger and all, until they are killed; and what must hold then."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from decimal import Decimal

from companyos.errors import UnverifiableError
from companyos.finops.budgets import Budget, BudgetPolicy, BudgetRefusedError, differences, read_history
from companyos.finops.budgets.interface import Event
from companyos.ledger import Ledger

POLICY = BudgetPolicy.parse(
    {
        "timezone": "Europe/Berlin",
        "levels": {
            "acme": [{"period": "month", "limit": 3000}],
            "acme/*": [{"period": "month", "limit": 2000}],
            "acme/*/*/*": [{"period": "total", "limit": 400}],
        },
        "lease_seconds": 3,
    }
)
SOURCE = "companyos/finops/budgets/company"


def budget_at(url, ledger_url, skew=0.0):
    """The budget, for a caller whose clock is wrong by that many seconds."""
    ledger = Ledger.open(ledger_url)
    return Budget.open(POLICY, url, ledger, clock=lambda: time.time() + skew), ledger


def spend(url, ledger_url, threads, seed, tell):
    """Spend for ever, in so many threads, by a clock that is hours off."""
    budget, _ = budget_at(url, ledger_url, skew=random.Random(seed).uniform(-40, 40) * 86_400)
    tell.send(True)
    workers = [threading.Thread(target=spend_on, args=(budget, f"{seed}-{n}"), daemon=True) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def spend_on(budget, name):
    """Reserve, then settle a little, refund or forget."""
    chance, number = random.Random(name), 0
    while True:
        number += 1
        task = f"acme/team-{chance.randrange(3)}/feature/run-{chance.randrange(20)}"
        try:
            held = budget.reserve(Decimal(chance.randint(50, 400)), task=task, id=f"{name}-{number}")
        except BudgetRefusedError:
            time.sleep(chance.uniform(0.05, 0.2))
            continue
        what = chance.random()
        if what < 0.3:
            held.settle(Decimal(chance.randint(0, 200)) / 100)
        elif what < 0.95:
            held.refund()


def hammer(url, ledger_url, *, processes, threads, seconds):
    """Let them spend, kill them at random; what is wrong afterwards, and how much was done."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["companyos.finops.budgets", "companyos.ledger"])
    chance, running, kills, most, looks = random.Random(1), [], 0, Counter(), 0
    budget, ledger = budget_at(url, ledger_url)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        while len(running) < processes:
            ready, tell = context.Pipe(duplex=False)
            new = context.Process(target=spend, args=(url, ledger_url, threads, chance.random(), tell), daemon=True)
            new.start()
            tell.close()
            ready.recv()
            running.append(new)
        until = time.monotonic() + chance.uniform(0.3, 1.5)
        while time.monotonic() < until:
            looks += 1
            for one in budget._store.levels():  # the watcher only looks: it neither expires nor logs
                most[one.key] = max(most[one.key], one.spent + one.reserved)
            time.sleep(0.005)
        victim = running.pop(chance.randrange(processes))
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        kills += 1
    for one in running:
        os.kill(one.pid, signal.SIGKILL)
        one.join()
    return check(budget, ledger, most) | {"kills": kills + len(running), "looks": looks}


def check(budget, ledger, most):
    """What is wrong: caps passed, reservations left over, sums that differ from the ledger's."""
    limit = time.monotonic() + 120
    while budget.open_reservations() and time.monotonic() < limit:
        budget.levels()
        time.sleep(0.1)
    problems = [f"{one.id} is open after its lease" for one in budget.open_reservations()]
    levels = {one.key: one for one in budget.levels()}
    entries = [entry for entry in ledger.read() if entry.source.startswith(f"{SOURCE}/")]
    events = [entry for entry in entries if "reservation" in entry.data]
    events.sort(key=lambda entry: entry.data["seq"])
    used, late, held = Counter(), Counter(), {}
    for entry in events:
        event = Event(entry.data["seq"], entry.type.rsplit(".", 1)[1], entry.data["reservation"], 0.0, entry.data)
        if event.kind == "reserved":
            held[event.id] = dict(event.weights)
            used.update(held[event.id])
            problems += [f"{event.seq}: {key}" for key in held[event.id] if used[key] > levels[key].limit + late[key]]
            continue
        freed = held.pop(event.id, None)
        used.subtract(freed or {})
        if event.kind == "settled":
            used.update(dict(event.weights))
            late.update(dict(event.weights) if freed is None else {})
    problems += [f"seen {most[key]} in {key}" for key in most if most[key] > levels[key].limit + late[key]]
    problems += differences(list(levels.values()), read_history(ledger.read(), SOURCE))
    problems += [f"{key} differs" for key, one in levels.items() if one.spent + one.reserved != used[key]]
    ledger.verify()
    budget.close()
    ledger.close()
    grants = sum(entry.type.endswith("reserved") for entry in events)
    return {"problems": problems, "grants": grants, "events": len(events)}


def reserve_until_lost(url, ledger_url, tell):
    """Spend until the store is lost, and say every reservation that was given out."""
    budget, _ = budget_at(url, ledger_url)
    number = 0
    while True:
        number += 1
        name = f"{os.getpid()}-{number}"
        try:
            held = budget.reserve(Decimal(1), task="acme", id=name, lease_seconds=600)
        except UnverifiableError as error:
            tell.send(("lost", error.code))
            return
        except BudgetRefusedError:
            time.sleep(0.01)
            continue
        tell.send(("reserved", name))
        if number % 2:
            held.settle()
            tell.send(("settled", name))
