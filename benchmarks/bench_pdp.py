"""What a decision costs over HTTP: the server with the Rego engine against the same server with a constant answer.

One server process at a time, keep-alive, loaded by `wrk`. Authentication by API key, parsing, the authorizer, the
response and the ledger are the same in every case of a pair; only what is asked for an opinion differs.
Run: `python benchmarks/bench_pdp.py [--seconds N] [--rounds N] [--connections N]`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.interleaved import Bar, measure, report
from companyos.authz import Authorizer, LogEvent, MaskFields, RequireApproval, RequireMfa
from companyos.ledger import Ledger
from companyos.ports import Opinion, Receipt
from companyos.server import ApiKeys, Authenticator, Generation, Limits, NegotiatedEngine, Pdp, Status, build_app
from companyos.server import new_key as make_key
from companyos.server.protocol import bounded_protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from companyos.ports import AccessRequest

BODY = {
    "subject": {"type": "user", "id": "u-1", "properties": {"clearance": "low", "region": "eu"}},
    "action": {"name": "read"},
    "resource": {"type": "document", "id": "d-1", "properties": {"region": "eu-west-1", "contains_pii": True}},
    "context": {"ip": "192.0.2.1"},
}
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-API-Key"] = os.getenv("PDP_KEY")
wrk.body = os.getenv("PDP_BODY")
done = function(summary, latency, requests)
  local bad = summary.errors.connect + summary.errors.read + summary.errors.write
            + summary.errors.status + summary.errors.timeout
  io.write(string.format('RESULT {"requests": %d, "us": %d, "bad": %d, "p50": %d, "p99": %d}\\n',
    summary.requests, summary.duration, bad, latency:percentile(50), latency:percentile(99)))
end
"""
CASES = (
    "constant, no ledger",
    "rego in workers, no ledger",
    "constant, SQLite ledger",
    "rego in workers, SQLite ledger",
)


class Constant:
    """An engine that answers the same to everything."""

    name = "constant"
    version = "sha256:constant"

    def decide(self, request: AccessRequest) -> Opinion:  # noqa: ARG002 - it does not look
        """Yes."""
        return Opinion(True, "policy.constant", "always")


class NoLedger:
    """Takes entries and forgets them."""

    def append(self, *_: object, **given: Any) -> Receipt:
        """A receipt for nothing."""
        return Receipt(given["id"], 0, b"", 1)


def serve(case: str, directory: Path, key_record: str) -> None:
    """Be the server of one case until a signal comes."""
    import uvicorn

    from companyos.authz.engines.pool import WorkerEngine
    from companyos.server.apikeys import ApiKeyRecord

    engine: Any = Constant()
    if case.startswith("rego"):
        engine = WorkerEngine("companyos.authz.engines.rego:RegoEngine", {"directories": []})
    ledger: Any = NoLedger() if case.endswith("no ledger") else Ledger.open(f"sqlite:///{directory / 'ledger.db'}")
    authorizer = Authorizer(
        NegotiatedEngine(engine), ledger, handlers=(LogEvent(), MaskFields(), RequireApproval(), RequireMfa())
    )
    pdp = Pdp(Generation(authorizer, lambda: None), threads=int(os.environ.get("PDP_THREADS", "8")))
    keys = Authenticator(ApiKeys([ApiKeyRecord.model_validate_json(key_record)]))
    limits = Limits(rate_per_second=1e9, burst=10**9)
    app = build_app(pdp, lambda: keys, url="http://127.0.0.1", status=lambda: Status("", 1, 1, None), limits=limits)
    config = uvicorn.Config(app, http=bounded_protocol(), log_config=None, access_log=False, ws="none")
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(listener.getsockname()[1], flush=True)
        uvicorn.Server(config).run(sockets=[listener])
    pdp.close()
    for part in (engine, ledger):
        getattr(part, "close", lambda: None)()


def cpu_seconds(pid: int) -> float:
    """What a process has used, its workers not included: a figure that a busy machine spoils less than a rate."""
    ticks = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def load(case: str, scratch: Path, seconds: int, connections: int, latencies: dict[str, list[Any]]) -> float:
    """Seconds per request of one case."""
    key, record = make_key("bench")
    directory = Path(tempfile.mkdtemp(dir=scratch))
    command = [
        sys.executable,
        __file__,
        "--serve",
        case,
        "--directory",
        str(directory),
        "--record",
        record.model_dump_json(),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL) as server:
        try:
            port = (server.stdout or sys.stdin).readline().strip()
            script = directory / "load.lua"
            script.write_text(SCRIPT)
            result: dict[str, Any] = {}
            for length in (1, seconds):
                before = cpu_seconds(server.pid)
                done = subprocess.run(
                    [
                        shutil.which("wrk") or "wrk",
                        "-t1",
                        f"-c{connections}",
                        f"-d{length}s",
                        "-s",
                        str(script),
                        f"http://127.0.0.1:{port}/access/v1/evaluation",
                    ],
                    env={**os.environ, "PDP_KEY": key, "PDP_BODY": json.dumps(BODY)},
                    capture_output=True,
                    text=True,
                    check=True,
                    timeout=seconds + 60,
                )
                result = json.loads(done.stdout.partition("RESULT ")[2])
            used = (cpu_seconds(server.pid) - before) / max(1, result["requests"])
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
    if result["bad"] or not result["requests"]:
        raise SystemExit(f"{case}: {result}")
    latencies.setdefault(case, []).append((result["p50"], result["p99"], round(used * 1e6)))
    return float(result["us"]) / 1e6 / float(result["requests"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    for hidden in ("--serve", "--directory", "--record"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, Path(given.directory), given.record)
        return
    if shutil.which("wrk") is None:
        raise SystemExit("not measured: wrk is not installed (Debian package `wrk`)")
    latencies: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:

        def caller(case: str) -> Callable[[], float]:
            return lambda: load(case, Path(scratch), given.seconds, given.connections, latencies)

        seconds = measure({case: caller(case) for case in CASES}, rounds=given.rounds, warm_up=0)
    bars = [Bar(CASES[1], CASES[0], at_least=0.6), Bar(CASES[3], CASES[2], at_least=0.6)]
    missed = report("pdp", seconds, bars, latencies_us=latencies, connections=given.connections)
    for case, taken in latencies.items():
        middle = sorted(taken)[len(taken) // 2]
        cpu = statistics.median(figures[2] for figures in taken)
        print(f"{case:44}  p50 {middle[0]:,} us, p99 {middle[1]:,} us; {cpu:,.0f} us of CPU in the server's process")
    raise SystemExit(1 if missed else 0)


if __name__ == "__main__":
    main()
