"""What the Cedar engine adds to Cedar: `decide` with the playbook's four policies against bare cedarpy with handles.

The bare call has the policies parsed once and the whole request ready as JSON; the engine starts from an
`AccessRequest`, derives its facts, translates what the policies read of it, and turns the answer into an opinion with
reason, message and obligations. The requests are one after another in each round: plain, obliging, refused.
Run: `python benchmarks/bench_authz_cedar.py [--rounds N] [--calls N]`.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

import cedarpy

from benchmarks.interleaved import Bar, measure, report
from companyos.authz import RegoEngine, build_request
from companyos.authz.engines._cedar_policies import load_cedar
from companyos.authz.engines._cedar_request import translate
from companyos.authz.engines.cedar import CedarEngine

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.ports import AccessRequest

USER = {"id": "u-1", "type": "user", "attributes": {"clearance": "low", "region": "eu"}}
REQUESTS: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("read", {"id": "d-1", "type": "document", "region": "eu-west-1", "contains_pii": True}, {}),
    ("read", {"id": "d-1", "type": "document", "required_clearance": "high"}, {"ip": "192.0.2.1"}),
    ("delete", {"id": "d-1", "type": "document", "owner": "u-1"}, {"auth_strength": "mfa"}),
    ("export", {"id": "d-1", "type": "document", "region": "us-east-1", "contains_pii": True}, {}),
)
OURS, PLAIN = "CedarEngine.decide", "CedarEngine.decide, nothing obliged"
BARE, BARE_PLAIN = "bare cedarpy, handles, JSON ready", "bare cedarpy, handles, JSON ready, nothing obliged"
RAW, REGO = "bare cedarpy, handles, from dictionaries", "RegoEngine.decide"
BARS = (Bar(OURS, BARE, at_most=1.5), Bar(PLAIN, BARE_PLAIN, at_most=1.5), Bar(OURS, RAW, at_most=1.5))


def cases(calls: int) -> dict[str, Callable[[], float]]:
    """Each gives the seconds of one decision."""
    requests = [build_request(USER, *parts) for parts in REQUESTS]
    handle = cedarpy.PolicySet.from_str("\n".join(policy.text for policy in load_cedar((), stage="prod").policies))
    ready = [translate(request, {"principal": None, "resource": None, "context": None}) for request in requests]
    raw = [_dictionaries(request) for request in requests]
    engine, rego = CedarEngine(), RegoEngine()

    def bare(number: int) -> object:
        return cedarpy.is_authorized(dict(ready[number].request), handle, ready[number].entities)

    def each(call: Callable[[int], object], numbers: range) -> Callable[[], float]:
        def timed() -> float:
            started = time.perf_counter()
            for _ in range(calls):
                for number in numbers:
                    call(number)
            return (time.perf_counter() - started) / (calls * len(numbers))

        return timed

    every, plain = range(len(REQUESTS)), range(1)
    return {
        BARE: each(bare, every),
        RAW: each(lambda number: cedarpy.is_authorized(raw[number][0], handle, raw[number][1]), every),
        OURS: each(lambda number: engine.decide(requests[number]), every),
        BARE_PLAIN: each(bare, plain),
        PLAIN: each(lambda number: engine.decide(requests[number]), plain),
        REGO: each(lambda number: rego.decide(requests[number]), every),
    }


def _dictionaries(request: AccessRequest) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a caller of cedarpy hands over who does not write JSON himself."""
    import json

    translated = translate(request, {"principal": None, "resource": None, "context": None})
    asked = dict(translated.request)
    return {**asked, "context": json.loads(asked["context"])}, json.loads(translated.entities)


def main() -> int:
    """Measure and print; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--calls", type=int, default=20)
    arguments = parser.parse_args()
    missed = report("authz_cedar", measure(cases(arguments.calls), rounds=arguments.rounds, warm_up=5), BARS)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
