"""What the router adds to its transport, as ratios: `python benchmarks/bench_llm.py [--rounds N] [--gate]`.

One server of the test kit, in a process of its own, answers every call at once. Each round runs every case once, in an
order that rotates. `transport` is one POST through aiohttp, JSON in and out; `route` is the same call through the
router, with an in-process budget, residency, spans and metrics in force. `durable` adds a budget in SQLite with its
ledger, and is held against one bare durable insert added to `route`. The crowd is 32 at once, against the official
SDK. Judge on a quiet machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import sqlite3
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import aiohttp  # noqa: E402 - after the path
from openai import AsyncOpenAI  # noqa: E402 - the same

from benchmarks.interleaved import Bar, measure, report  # noqa: E402 - the same
from companyos import observability  # noqa: E402 - the same
from companyos.decision import Decision  # noqa: E402 - the same
from companyos.finops import Budget, BudgetPolicy  # noqa: E402 - the same
from companyos.ledger import Ledger  # noqa: E402 - the same
from companyos.llm import LocalBudget, ModelRouter, RoutingPolicy  # noqa: E402 - the same
from companyos.testing.llm import LlmServer  # noqa: E402 - the same

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from multiprocessing.connection import Connection

CALLS = 200
CROWD = 32
PROMPT = "How do I split this module?"
BODY = {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 100}
LEVELS = {"acme": [{"period": "day", "limit": 10_000_000}, {"period": "month", "limit": 10_000_000}]}
BARS = (
    Bar("route", "transport", at_most=1.4),
    Bar("route, 32 at once", "AsyncOpenAI, 32 at once", at_least=5.0),
)
DURABLE_BAR = 3.5


class Anywhere:
    """Residency that looks at each hop and lets it go."""

    def check(self, *, provider: str, endpoint: str, model: str, data_class: str | None) -> Decision:
        """Allowed."""
        del endpoint, model, data_class
        return Decision.allowed("residency.ok", provider)

    def region(self, provider: str) -> str | None:
        """One."""
        del provider
        return "eu-west-1"


def main(arguments: list[str]) -> int:
    """Measure, print, write JSON; 1 if a bar is missed and `--gate` was given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--gate", action="store_true")
    options = parser.parse_args(arguments)
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    url = ours.recv()
    try:
        with tempfile.TemporaryDirectory() as folder, observability.setup(service="bench", version="1", env="prod"):
            missed = run(url, Path(folder), options.rounds)
    finally:
        ours.send(None)
        server.join()
    return 1 if missed and options.gate else 0


def serve(pipe: Connection) -> None:
    """The server, until it is told to stop."""
    with LlmServer() as server:
        pipe.send(server.url("m"))
        pipe.recv()


def run(url: str, folder: Path, rounds: int) -> bool:
    """Measure all cases; whether a bar is missed."""
    policy = RoutingPolicy.parse(
        {
            "providers": {
                "m": {"kind": "openai", "base_url": url, "models": {"t": "m"}, "cost_per_1k_tokens": {"m": 0.001}}
            },
            "task_types": {"t": {"preferred_provider": "m", "max_tokens": 100}},
        }
    )
    ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
    budget = Budget.open(
        BudgetPolicy.parse({"levels": LEVELS, "unlogged_percent": 10}), f"sqlite:///{folder / 'budget.db'}", ledger
    )
    loop = asyncio.new_event_loop()
    quick = ModelRouter(policy, LocalBudget(Decimal(10**9)), residency=Anywhere(), feature="acme")
    durable = ModelRouter(policy, budget, residency=Anywhere(), feature="acme")
    session = loop.run_until_complete(_session())
    sdk = AsyncOpenAI(base_url=url, api_key="k", max_retries=0)

    async def transport() -> str:
        async with session.post(f"{url}/chat/completions", json=BODY) as response:
            return str(json.loads(await response.read())["choices"][0]["message"]["content"])

    async def route() -> str:
        return (await quick.aroute(PROMPT, task="t")).text

    async def route_durably() -> str:
        return (await durable.aroute(PROMPT, task="t")).text

    async def official() -> str:
        made = await sdk.chat.completions.create(**BODY)  # type: ignore[call-overload]
        return str(made.choices[0].message.content)

    assert len({loop.run_until_complete(one()) for one in (transport, route, route_durably, official)}) == 1  # noqa: S101 - equal work
    insert = bare_insert(folder / "bare.db")
    try:
        seconds = measure(
            {
                "transport": lambda: loop.run_until_complete(one_by_one(transport)),
                "route": lambda: loop.run_until_complete(one_by_one(route)),
                "route, durable budget": lambda: loop.run_until_complete(one_by_one(route_durably)),
                "one durable insert": insert,
                "AsyncOpenAI": lambda: loop.run_until_complete(one_by_one(official)),
                "transport, 32 at once": lambda: loop.run_until_complete(at_once(transport)),
                "route, 32 at once": lambda: loop.run_until_complete(at_once(route)),
                "AsyncOpenAI, 32 at once": lambda: loop.run_until_complete(at_once(official)),
            },
            rounds=rounds,
        )
    finally:
        for closing in (session.close(), quick.aclose(), durable.aclose(), sdk.close()):
            loop.run_until_complete(closing)
        loop.close()
        budget.close()
        ledger.close()
    return judge(seconds)


def judge(seconds: dict[str, list[float]]) -> bool:
    """Print how the cases compare; whether a bar is missed."""
    added = [
        (ours - plain) / bare
        for ours, plain, bare in zip(
            seconds["route, durable budget"], seconds["route"], seconds["one durable insert"], strict=True
        )
    ]
    middle = sorted(added)[len(added) // 2]
    missed = report("llm", seconds, BARS, durable_over_one_insert=middle)
    held = middle <= DURABLE_BAR
    print(f"durable budget added, in durable inserts: {middle:.2f}  <= {DURABLE_BAR}  {'ok' if held else 'MISSED'}")
    return bool(missed) or not held


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=256))


async def one_by_one(call: Callable[[], Awaitable[Any]]) -> float:
    """Seconds a call, one after the other."""
    started = time.perf_counter()
    for _ in range(CALLS):
        await call()
    return (time.perf_counter() - started) / CALLS


async def at_once(call: Callable[[], Awaitable[Any]]) -> float:
    """Seconds a call, 32 at once."""

    async def some() -> None:
        for _ in range(CALLS // 8):
            await call()

    started = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(CROWD)))
    return (time.perf_counter() - started) / (CROWD * (CALLS // 8))


def bare_insert(path: Path) -> Callable[[], float]:
    """One row into SQLite, durable, as plain as can be; seconds each."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, data TEXT)")

    def insert() -> float:
        started = time.perf_counter()
        for _ in range(CALLS):
            connection.execute("INSERT INTO t (data) VALUES (?)", ("x" * 300,))
        return (time.perf_counter() - started) / CALLS

    return insert


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
