"""A decision among a thousand policies against one among four, and against other engines; bars are ratios.

Run: `python benchmarks/bench_slicing.py [--rounds N] [--gate]`. Requests are about one service, as they are where the
engine lives in that service's own process; "every service in turn" is the opposite, a thousand policies by turns, which
no cache of the machine likes. The HTTP call is httpx against uvicorn with an application that answers nothing at all.
Writes build/bench/slicing.json; `--gate` exits with 1 where a bar is missed. Casbin and cedarpy are rivals here, not
dependencies: where one is missing its cases are left out, and said so.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import many_policies as many
from benchmarks.interleaved import Bar, measure, report
from companyos.authz import Authorizer, CedarEngine, RegoEngine, build_request
from companyos.authz.engines._loaded import RULE, document
from companyos.authz.engines._regorus import prepare
from companyos.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Call = Callable[[int], object]

FEW, ALL = "4 policies", "1,000 policies"
TURNS = f"{ALL}, every service in turn"
SERVICE = 7
"""The service that requests are about."""
HTTP = "empty loopback HTTP call"
BARS = (
    Bar(f"authorize, {ALL}", f"authorize, {FEW}", at_most=1.5),
    Bar(f"authorize, {TURNS}", f"authorize, {FEW}", at_most=1.5),
    Bar(f"decide, {TURNS}", f"cedarpy, {ALL}", at_most=1 / 8),
    Bar(f"decide, {TURNS}", f"casbin, {ALL}", at_most=1 / 200),
    Bar(f"decide, {FEW}", HTTP, at_most=1 / 6),
    Bar(f"decide, {ALL}", HTTP, at_most=1 / 6),
    Bar(f"decide, {TURNS}", HTTP, at_most=1 / 6),
    Bar("decide by Cedar, the playbook", HTTP, at_most=1 / 6),
)
SHOWN = (
    Bar(f"decide, {FEW}", f"bare regorus, {FEW}"),
    Bar(f"decide, {ALL}", f"decide, {FEW}"),
    Bar(f"decide, {TURNS}", f"decide, {FEW}"),
    Bar(f"authorize, {FEW}", HTTP),
    Bar(f"authorize, {ALL}", HTTP),
    Bar(f"decide, {ALL}", f"cedarpy sliced by its caller, {ALL}"),
    Bar(f"decide, {TURNS}", f"cedarpy sliced by its caller, {TURNS}"),
    Bar(f"decide, {ALL}", f"bare regorus, {ALL}"),
)
"""Ratios that are printed and have no bar."""
APPLICATION = """
async def application(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    import socket
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(application, log_level="critical", lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])
"""


def ours(root: Path, ledger: Ledger, closing: ExitStack) -> dict[str, Call]:
    """Our engine and the bare library, with few policies and with all; what is authorized is logged in batches."""
    engines = ((FEW, RegoEngine()), (ALL, RegoEngine([many.write_rego(root)])))
    calls: dict[str, Call] = {}
    for label, engine in engines:
        loaded = engine.loaded()
        bare = prepare({module.file: module.text for module in loaded.modules}, loaded.data)
        authorizer = closing.enter_context(Authorizer(engine, ledger, batched_actions=["read"]))
        calls |= _of_one(label, engine, authorizer, bare)
    built = [build_request(*many.request(service)) for service in range(many.SERVICES)]
    engine = engines[-1][1]
    calls[f"decide, {TURNS}"] = lambda number: engine.decide(built[number])
    calls[f"authorize, {TURNS}"] = lambda number: authorizer.authorize(*many.request(number, personal=False))
    cedar = CedarEngine()
    calls["decide by Cedar, the playbook"] = lambda _: cedar.decide(built[SERVICE])
    return calls


def _of_one(label: str, engine: RegoEngine, authorizer: Authorizer, bare: Any) -> dict[str, Call]:
    asked = many.request(SERVICE, personal=False)
    request = build_request(*many.request(SERVICE))
    text = document(request)

    def ask_bare(_: int) -> object:
        bare.set_input_json(text)
        return bare.eval_rule_as_json(RULE)

    return {
        f"bare regorus, {label}": ask_bare,
        f"decide, {label}": lambda _: engine.decide(request),
        f"authorize, {label}": lambda _: authorizer.authorize(*asked),
    }


def rivals() -> dict[str, Call]:
    """Other engines with the same policies."""
    calls: dict[str, Call] = {}
    if importlib.util.find_spec("cedarpy"):
        import cedarpy

        everything = cedarpy.PolicySet.from_str(many.cedar_policies(range(many.SERVICES)))
        sliced = [cedarpy.PolicySet.from_str(many.cedar_policies((number,))) for number in range(many.SERVICES)]
        asked = {"principal": 'User::"u-1"', "action": 'Action::"read"', "resource": 'Document::"d-1"', "context": {}}
        entities = [many.cedar_entities(number) for number in range(many.SERVICES)]
        calls[f"cedarpy, {ALL}"] = lambda number: cedarpy.is_authorized(asked, everything, entities[number])
        calls[f"cedarpy sliced by its caller, {ALL}"] = lambda _: cedarpy.is_authorized(
            asked, sliced[SERVICE], entities[SERVICE]
        )
        calls[f"cedarpy sliced by its caller, {TURNS}"] = lambda number: cedarpy.is_authorized(
            asked, sliced[number], entities[number]
        )
    if importlib.util.find_spec("casbin"):
        enforcer = many.casbin_enforcer()
        subject = SimpleNamespace(id="u-1", status="active")
        objects = [SimpleNamespace(**many.request(number)[2], in_eea=True) for number in range(many.SERVICES)]
        calls[f"casbin, {ALL}"] = lambda number: enforcer.enforce(subject, objects[number], "read")
    return calls


@contextmanager
def empty_http() -> Iterator[dict[str, Call]]:
    """A call over a kept-alive connection to a server process that does nothing; none where uvicorn is missing."""
    if not (importlib.util.find_spec("uvicorn") and importlib.util.find_spec("httpx")):
        yield {}
        return
    import httpx

    with subprocess.Popen([sys.executable, "-c", APPLICATION], stdout=subprocess.PIPE, text=True) as server:
        try:
            url = f"http://127.0.0.1:{server.stdout.readline().strip() if server.stdout else 0}/"
            with httpx.Client(timeout=10, trust_env=False, transport=httpx.HTTPTransport(retries=10)) as client:
                yield {HTTP: lambda _: client.post(url, content=b"{}")}
        finally:
            server.kill()


def batch(call: Call, size: int) -> Callable[[], float]:
    """Seconds per call: the median over a batch that goes round the services."""
    turn = iter(range(10**12))

    def run() -> float:
        taken = []
        for _ in range(size):
            number = next(turn) % many.SERVICES
            started = time.perf_counter()
            call(number)
            taken.append(time.perf_counter() - started)
        return statistics.median(taken)

    return run


def main(arguments: list[str]) -> int:
    """Measure, print, write, and judge if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--gate", action="store_true")
    given = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory() as scratch,
        Ledger.open(f"sqlite:///{scratch}/ledger.db") as ledger,
        ExitStack() as closing,
        empty_http() as http,
    ):
        calls = {**ours(Path(scratch) / "policies", ledger, closing), **rivals(), **http}
        for number in range(many.SERVICES):
            calls[f"decide, {TURNS}"](number)
        slow = {f"casbin, {ALL}": 3, f"bare regorus, {ALL}": 20}
        cases = {name: batch(call, slow.get(name, many.SERVICES)) for name, call in calls.items()}
        seconds = measure(cases, rounds=given.rounds)
    absent = [bar for bar in (*BARS, *SHOWN) if bar.base not in seconds]
    for bar in absent:
        print(f"not measured, for its library is not installed: {bar.base}")
    missed = report("slicing", seconds, [bar for bar in BARS if bar not in absent])
    for bar in SHOWN:
        if bar not in absent:
            print(f"{f'{bar.case} / {bar.base}':84}  {bar.ratio(seconds):8.3f}")
    return 1 if given.gate and (missed or absent) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
