"""What a budget costs over one bare write, as ratios: `python benchmarks/bench_budget.py [--rounds N] [--gate]`.

`reserve` and `settle` together, through the front door with three levels, ledger included, against one durable insert
into SQLite and against one call of a Redis script. Entries come to the ledger together (`unlogged_percent: 10`, the
cap so large that the allowance is never used up): every 128 pairs carry theirs, and that is timed with them. With
`unlogged_percent: 0` each entry is on the ledger before the call returns; that is measured too, without a bar.

Our calls and the bare one take turns, so that a busy minute slows both; each round gives a ratio of means, and the
median of the rounds is held against the bar. `--gate` exits with 1 where a bar is missed; judge on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from companyos.finops import Budget, BudgetPolicy  # noqa: E402 - after the path of tests.services
from companyos.ledger import Ledger  # noqa: E402 - the same
from tests.services import Redis, find, stop_all  # noqa: E402 - the same

if TYPE_CHECKING:
    from collections.abc import Callable

OUTPUT = ROOT / "build" / "bench" / "budget.json"
BARS = {"sqlite": 2.5, "redis": 2.5}
PAIRS = 256
TASK = "acme/search/rank/run"
LEVELS = {
    "acme": [{"period": "day", "limit": 10_000_000}, {"period": "month", "limit": 10_000_000}],
    "acme/search": [{"period": "month", "limit": 10_000_000}],
}
# What a script at least does for a budget: looks at a counter and raises it.
LUA = "if tonumber(redis.call('GET', KEYS[1]) or 0) < 1e15 then return redis.call('INCRBY', KEYS[1], ARGV[1]) end"


def main(arguments: list[str]) -> int:
    """Measure, print, write JSON; 1 if a bar is missed and `--gate` was given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--gate", action="store_true")
    options = parser.parse_args(arguments)
    found: dict[str, dict[str, float]] = {}
    try:
        server = Redis(find("redis"))
        for percent, suffix in ((10, ""), (0, ", each entry first")):
            with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder, ExitStack() as stack:
                place = Path(folder)
                found[f"sqlite{suffix}"] = measure(stack, place, f"sqlite:///{place / 'b.db'}", percent, options.rounds)
            with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder, ExitStack() as stack:
                found[f"redis{suffix}"] = measure(
                    stack, Path(folder), server.create_database(), percent, options.rounds
                )
    finally:
        stop_all()
    report(found)
    return 1 if options.gate and any(found[name]["ratio"] > bar for name, bar in BARS.items()) else 0


def measure(stack: ExitStack, place: Path, url: str, percent: int, rounds: int) -> dict[str, float]:
    """The median ratio of a pair of calls to a bare one, and both in microseconds."""
    ledger = stack.enter_context(Ledger.open(f"sqlite:///{place / 'ledger.db'}"))
    policy = BudgetPolicy.parse({"levels": LEVELS, "unlogged_percent": percent})
    budget = stack.enter_context(Budget.open(policy, url, ledger))
    bare = bare_redis(stack, url) if url.startswith("redis") else bare_sqlite(stack, place)
    amount = Decimal("0.01")

    def pair() -> None:
        budget.reserve(amount, task=TASK).settle(amount)

    measured = [one_round(pair, bare) for _ in range(rounds + 1)][1:]
    return {
        "ratio": statistics.median(ours / theirs for ours, theirs in measured),
        "pair_us": statistics.median(ours for ours, _ in measured) * 1e6,
        "bare_us": statistics.median(theirs for _, theirs in measured) * 1e6,
    }


def one_round(ours: Callable[[], object], bare: Callable[[], object]) -> tuple[float, float]:
    """Mean seconds of each, in turns."""
    seconds = [0.0, 0.0]
    for _ in range(PAIRS):
        for number, call in enumerate((ours, bare)):
            started = time.perf_counter()
            call()
            seconds[number] += time.perf_counter() - started
    return seconds[0] / PAIRS, seconds[1] / PAIRS


def bare_sqlite(stack: ExitStack, place: Path) -> Callable[[], object]:
    """One durable insert."""
    database = sqlite3.connect(place / "bare.db", isolation_level=None)
    stack.callback(database.close)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE spent (id INTEGER PRIMARY KEY, task TEXT, amount INTEGER, at REAL)")
    return lambda: database.execute("INSERT INTO spent (task, amount, at) VALUES (?, ?, ?)", (TASK, 1, time.time()))


def bare_redis(stack: ExitStack, url: str) -> Callable[[], object]:
    """One call of a script, as redis-py has it."""
    import redis

    client = stack.enter_context(redis.Redis.from_url(url))
    script = client.register_script(LUA)
    return lambda: script(keys=["bare"], args=[1])


def report(found: dict[str, dict[str, float]]) -> None:
    """Print a table and write the figures."""
    machine: dict[str, Any] = {"python": platform.python_version(), "cpus": os.cpu_count()}
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps({"machine": machine, "bars": BARS, "found": found}, indent=2) + "\n")
    for name, values in found.items():
        bar = f"bar {BARS[name]}" if name in BARS else ""
        figures = f"pair {values['pair_us']:8.0f} us  bare {values['bare_us']:8.0f} us"
        print(f"{name:28} {values['ratio']:6.2f} x  {figures}  {bar}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
