"""What a decision costs: `authorize()` with the four playbook policies against a bare regorus call.

Every variant meets the same requests, one after another in turn, so that a slow phase of the machine meets all alike.
Run: `python benchmarks/bench_authz.py [--rounds N] [--json]`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companyos.authz import Authorizer, LogEvent, MaskFields, RegoEngine, RequireApproval, RequireMfa, build_request
from companyos.authz.derived import derive
from companyos.authz.engines._regorus import prepare
from companyos.authz.policyset import load_policies
from companyos.ledger import Ledger
from companyos.ports import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from companyos.ledger import Draft

USER = {"id": "u-1", "type": "user", "attributes": {"clearance": "low", "region": "eu"}}
REQUESTS: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("read", {"id": "d-1", "type": "document", "region": "eu-west-1", "contains_pii": True}, {}),
    ("read", {"id": "d-1", "type": "document", "required_clearance": "high"}, {"ip": "192.0.2.1"}),
    ("delete", {"id": "d-1", "type": "document", "owner": "u-1"}, {"auth_strength": "mfa"}),
    ("export", {"id": "d-1", "type": "document", "region": "us-east-1", "contains_pii": True}, {}),
)


class NoLedger:
    """Takes entries and forgets them, to show what all but the log costs."""

    def append(self, *_: object, **given: Any) -> Receipt:
        """A receipt for nothing."""
        return Receipt(given["id"], 0, b"", 1)

    def append_many(self, drafts: Iterable[Draft]) -> list[Receipt]:
        """Receipts for nothing."""
        return [Receipt(str(draft.id), 0, b"", 1) for draft in drafts]


def variants(directory: Path) -> dict[str, Callable[[int], object]]:
    """The calls to compare, each given the number of the request."""
    engine, policies = RegoEngine(), load_policies()
    handlers = (LogEvent(), MaskFields(), RequireApproval(), RequireMfa())
    fixed = (Path(__file__).parents[1] / "companyos/authz/engines/decision.rego").read_text(encoding="utf-8")
    bare = prepare({"decision.rego": fixed, **policies.sources}, policies.data)
    requests = [build_request(USER, *parts) for parts in REQUESTS]
    documents = [json.dumps({**request.to_dict(), "derived": derive(request)}) for request in requests]
    forgetful = Authorizer(engine, NoLedger(), handlers=handlers)
    complete = Authorizer(engine, Ledger.open(f"sqlite:///{directory / 'ledger.db'}"), handlers=handlers)

    def call_bare(number: int) -> object:
        bare.set_input_json(documents[number])
        return bare.eval_rule_as_json("data.companyos.access.decision")

    return {
        "bare regorus, the same policies": call_bare,
        "engine.decide": lambda number: engine.decide(requests[number]),
        "authorize, nothing recorded": lambda number: forgetful.authorize(USER, *REQUESTS[number]),
        "authorize, on the SQLite ledger": lambda number: complete.authorize(USER, *REQUESTS[number]),
    }


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds per call of each variant: median and 99th percentile over all rounds and requests."""
    with tempfile.TemporaryDirectory() as scratch:
        calls = variants(Path(scratch))
        times: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(rounds):
            for name, call in calls.items():
                for number in range(len(REQUESTS)):
                    started = time.perf_counter_ns()
                    call(number)
                    if turn >= rounds // 10:
                        times[name].append((time.perf_counter_ns() - started) / 1000)
    return {
        name: {"p50": statistics.median(taken), "p99": statistics.quantiles(taken, n=100)[98]}
        for name, taken in times.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = measure(arguments.rounds)
    base = next(iter(results.values()))["p50"]
    if arguments.json:
        print(json.dumps({name: {**taken, "ratio": taken["p50"] / base} for name, taken in results.items()}, indent=2))
        return
    print(f"{'':34} {'p50 µs':>9} {'p99 µs':>9} {'ratio':>7}")
    for name, taken in results.items():
        print(f"{name:34} {taken['p50']:9.1f} {taken['p99']:9.1f} {taken['p50'] / base:7.2f}")


if __name__ == "__main__":
    main()
