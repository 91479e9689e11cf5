"""What a whole decision costs: `authorize()` with the playbook's policies, audit included, against a bare regorus call.

The bare call is `set_input_json` and `eval_rule_as_json` on an engine that is prepared with the same policies, for the
same input, in the same thread. Every round runs each case once, in turn, for the same requests.

- *latency* is the median over the calls of a round, one right after the other: what a caller waits. Batches are written
  meanwhile, by another thread of the same interpreter.
- *sustained* is the time of a round from its first call until all of it is on the ledger, divided by the calls: what
  the processor can do, the encryption and the signature of every entry included.

`python -m benchmarks.bench_authorize [--rounds N] [--calls N]`; figures go to `build/bench/authorize.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.interleaved import Bar, measure, report
from companyos.authz import Authorizer, LogEvent, MaskFields, RegoEngine, RequireApproval, RequireMfa, build_request
from companyos.authz.derived import derive
from companyos.authz.engines._regorus import prepare
from companyos.authz.policyset import load_policies
from companyos.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.decision import Decision

USER = {"id": "u-1", "type": "user", "attributes": {"clearance": "low", "region": "eu"}}
READS: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("read", {"id": "d-1", "type": "document"}, {}),
    ("read", {"id": "d-2", "type": "document", "owner": "u-1", "region": "eu-west-1"}, {"auth_strength": "mfa"}),
    ("read", {"id": "d-3", "type": "document", "classification": "internal"}, {"ip": "192.0.2.1"}),
    ("read", {"id": "d-4", "type": "dataset", "org_id": "acme", "sensitivity": "low"}, {}),
)
"""Reads that may be batched; one of them has an origin, and so two entries."""
SUBJECT = {**USER, "org_id": "acme"}
BARE = "bare regorus, the same policies and input"
DECIDE = "engine.decide"
SYNC = "authorize, each on the ledger at once"
BATCHED = "authorize, batched audit: latency"
SUSTAINED = "authorize, batched audit: sustained"


def cases(authorizers: tuple[Authorizer, Authorizer], calls: int) -> dict[str, Callable[[], float]]:
    """Each case as a function that runs once and gives seconds per call."""
    engine, policies = RegoEngine(), load_policies()
    fixed = (Path(__file__).parents[1] / "companyos/authz/engines/decision.rego").read_text(encoding="utf-8")
    bare = prepare({"decision.rego": fixed, **policies.sources}, policies.data)
    requests = [build_request(SUBJECT, *parts) for parts in READS]
    documents = [json.dumps({**request.to_dict(), "derived": derive(request)}) for request in requests]
    sync, batched = authorizers

    def call_bare(number: int) -> object:
        bare.set_input_json(documents[number])
        return bare.eval_rule_as_json("data.companyos.access.decision")

    def ask(authorizer: Authorizer, number: int) -> Decision:
        return authorizer.authorize(SUBJECT, *READS[number])

    def latency() -> float:
        found = median_of(lambda number: ask(batched, number), calls)
        wait_for_all(batched)
        return found

    def sustained() -> float:
        started = time.perf_counter()
        for number in range(calls):
            ask(batched, number % len(READS))
        wait_for_all(batched)
        return (time.perf_counter() - started) / calls

    return {
        BARE: lambda: median_of(call_bare, calls),
        DECIDE: lambda: median_of(lambda number: engine.decide(requests[number]), calls),
        SYNC: lambda: median_of(lambda number: ask(sync, number), calls // 4),
        BATCHED: latency,
        SUSTAINED: sustained,
    }


def median_of(call: Callable[[int], object], calls: int) -> float:
    """The median of the seconds that a call takes."""
    taken = []
    for number in range(calls):
        started = time.perf_counter()
        call(number % len(READS))
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def wait_for_all(authorizer: Authorizer) -> None:
    """Wait until nothing waits to be recorded any more."""
    stream = authorizer._stream  # noqa: SLF001 - nobody else needs to know
    while stream is not None and stream.waiting:
        time.sleep(0.0005)


def main() -> int:
    """Measure, print, and say by the exit status whether the bar holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=400, help="calls of each case in a round")
    arguments = parser.parse_args()
    handlers = (LogEvent(), MaskFields(), RequireApproval(), RequireMfa())
    with tempfile.TemporaryDirectory() as scratch, Ledger.open(f"sqlite:///{scratch}/ledger.db") as ledger:
        sync = Authorizer(RegoEngine(), ledger, handlers=handlers)
        with Authorizer(RegoEngine(), ledger, handlers=handlers, batched_actions=["read"]) as batched:
            seconds = measure(cases((sync, batched), arguments.calls), rounds=arguments.rounds)
        more: dict[str, Any] = {"calls": arguments.calls, "entries": len(ledger)}
        others = (DECIDE, SYNC, SUSTAINED)
        more["multiples"] = {case: Bar(case, BARE, at_most=1.0).ratio(seconds) for case in others}
    missed = report("authorize", seconds, [Bar(BATCHED, BARE, at_most=2.0)], **more)
    for case, multiple in more["multiples"].items():
        print(f"{case:84}  {multiple:8.3f}  x bare, no bar")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
