"""What observing a request costs: uvicorn (uvloop, httptools) on one core, wrk on another, cases interleaved.

Run `python benchmarks/bench_asgi.py [--rounds N] [--seconds N] [CASE...]`. Needs `wrk`, `taskset` and two cores; the
rivals need `opentelemetry-instrumentation-asgi`. Every case serves the same Starlette application, with one route and
an answer of two bytes, in a process of its own; only the one whose turn it is gets requests. Log lines go to /dev/null,
one write each. What is recorded stays in memory in all cases, as what exporting costs is a matter of the collector.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from benchmarks.interleaved import Bar, measure, report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BARE = "bare Starlette"
SAMPLED = "ours, every request sampled"
HEAD = "ours, 1 % head sampling"
CONTRIB = "opentelemetry-instrumentation-asgi"
CONTRIB_LEAN = "the same without send and receive spans"
CASES = (BARE, SAMPLED, HEAD, CONTRIB, CONTRIB_LEAN)
BARS = (
    Bar(SAMPLED, BARE, at_least=0.25),
    Bar(SAMPLED, CONTRIB, at_least=2),
    Bar(HEAD, BARE, at_least=0.45),
)
CONNECTIONS = 16


def main() -> int:
    """Measure and print; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--serve", help="used by the program itself")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("cases", nargs="*", default=[])
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen.serve, chosen.port)
        return 0
    for program in ("wrk", "taskset"):
        if shutil.which(program) is None:
            print(f"could not measure: {program} is not installed", file=sys.stderr)
            return 3
    names = [name for name in CASES if not chosen.cases or name in chosen.cases]
    with ExitStack() as stack:
        servers = {name: stack.enter_context(Server(name)) for name in names}
        loads = {name: _load(server, chosen.seconds) for name, server in servers.items()}
        seconds = measure(loads, rounds=chosen.rounds)
    bars = [bar for bar in BARS if bar.case in names and bar.base in names]
    worked = {name: server.worked[1:] for name, server in servers.items()}
    missed = report("asgi", seconds, bars, processor_seconds=worked)
    _print_processor_time(worked, bars)
    return 1 if missed else 0


def _print_processor_time(worked: Mapping[str, Sequence[float]], bars: Sequence[Bar]) -> None:
    print(f"\n{'processor time of the server':44}  {'median us':>11}")
    for name, values in worked.items():
        print(f"{name:44}  {statistics.median(values) * 1e6:11.2f}")
    for bar in bars:
        print(f"{f'{bar.case} / {bar.base}':84}  {bar.ratio(worked):8.3f}")


class Server:
    """One case, served on core 0."""

    def __init__(self, case: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        command = ["taskset", "-c", "0", sys.executable, "-m", "benchmarks.bench_asgi", "--serve", case]
        self._process = subprocess.Popen([*command, "--port", str(self.port)], stdout=subprocess.DEVNULL)
        self.worked: list[float] = []
        """Processor time a request, in seconds, of each load."""

    def processor_seconds(self) -> float:
        """What it has used so far (proc(5), `stat`: utime and stime)."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Self:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/orders/7", timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return self
        self.__exit__()
        raise RuntimeError(f"the server on port {self.port} does not answer")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)


def _load(server: Server, seconds: int) -> Callable[[], float]:
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]

    def run() -> float:
        before = server.processor_seconds()
        url = f"http://127.0.0.1:{server.port}/orders/7"
        done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
        rate = re.search(r"Requests/sec:\s+([0-9.]+)", done.stdout)
        count = re.search(r"([0-9]+) requests in", done.stdout)
        if rate is None or count is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
            raise RuntimeError(f"wrk was not answered well:\n{done.stdout}{done.stderr}")
        server.worked.append((server.processor_seconds() - before) / int(count[1]))
        return 1 / float(rate[1])

    return run


def serve(case: str, port: int) -> None:
    """Serve one case until terminated."""
    import uvicorn

    with ExitStack() as stack:
        uvicorn.run(
            _application(case, stack), port=port, loop="uvloop", http="httptools", log_level="error", access_log=False
        )


def _application(case: str, stack: ExitStack) -> Any:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def order(request: Any) -> Any:  # noqa: ARG001 - a handler has it
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/orders/{number}", order)])
    if case in {SAMPLED, HEAD}:
        from companyos import observability

        lines = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - the stack closes it
        stack.callback(lines.close)
        share = 1.0 if case == SAMPLED else 0.01
        stack.enter_context(
            observability.setup(service="bench", env="prod", version="1", stream=lines, sample_ratio=share)
        )
        return observability.ASGIMiddleware(app)
    if case in {CONTRIB, CONTRIB_LEAN}:
        return _contrib(app, spans=case == CONTRIB)
    return app


def _contrib(app: Any, *, spans: bool) -> Any:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:  # noqa: ARG002 - the interface's parameter
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    return OpenTelemetryMiddleware(app, tracer_provider=provider, exclude_spans=None if spans else ["send", "receive"])


if __name__ == "__main__":
    sys.exit(main())
