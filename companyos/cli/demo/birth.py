"""Steps 1 and 2: a service is born, passes its own tests, and answers one request that can be followed everywhere."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from xml.etree import ElementTree as ET

from companyos.cli.demo.stage import clean_environment, require_that

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from companyos.cli.demo.stage import Stage

__all__ = ("follow_one_request", "install", "run_tests", "scaffold")

START_SECONDS = 30


def scaffold(stage: Stage) -> str:
    """Render the api template as `orders`, with git and a pinned companyos."""
    from companyos.scaffold import new

    created = new("api", stage.service, {}, progress=lambda line: stage.say(f"   {line}"))
    require_that(created.commit, "the repository has no first commit")
    stage.look_at["the service"] = stage.service
    return f"{len(created.files)} files from template {created.template.tag}, commit {str(created.commit)[:10]}"


def install(stage: Stage) -> str:
    """Install the service with the local companyos, every package by its hash."""
    stage.run("make-setup", "make", "setup")
    version = stage.run("version", str(stage.service / ".venv" / "bin" / "companyos"), "--version").strip()
    return f"{version} and the locked dependencies, each by its hash"


def run_tests(stage: Stage) -> str:
    """Run unit, contract and smoke tests; the smoke tests start the real server on a free port."""
    suites = {"make-test": "test", "make-smoke": "smoke"}
    with ThreadPoolExecutor(len(suites)) as pool:
        list(pool.map(lambda name: stage.run(name, "make", suites[name], "REPORT=1"), suites))
    counts = {name: _passed(stage.reports / f"{name}.xml") for name in ("tests", "smoke")}
    return f"{counts['tests']} unit and contract tests, {counts['smoke']} smoke tests on the running service"


def follow_one_request(stage: Stage) -> str:
    """Make one request under a trace id of our choosing, and find that id in log, span and ledger."""
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    with _running(stage) as (url, secrets):
        login = {"email": secrets["DEMO_EMAIL"], "password": secrets["DEMO_PASSWORD"]}
        token = _post(f"{url}/login", login, {})["access_token"]
        document = json.loads((stage.service / "fixtures" / "documents" / "lifecycle.json").read_text())["document"]
        headers = {"authorization": f"Bearer {token}", "traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
        _post(f"{url}/documents", document, headers)
    output = (stage.root / "logs" / "service.log").read_text(encoding="utf-8")
    records = list(_json_values(output))
    logged = [record for record in records if record.get("trace_id") == trace_id and "action" in record]
    spans = [record for record in records if record.get("context", {}).get("trace_id") == f"0x{trace_id}"]
    require_that(logged, "the trace id is in no log line", got=output[-600:])
    require_that(spans, "the trace id is in no span")
    lines = stage.companyos("ledger-tail", "ledger", "tail", "-n", "50", "--json").splitlines()
    entries = [json.loads(line) for line in lines if trace_id in line]
    require_that(entries, "the trace id is in no ledger entry")
    stage.look_at["the service's log and spans"] = stage.root / "logs" / "service.log"
    return f"trace {trace_id}: log line, span {spans[0]['name']!r}, ledger entry {entries[0]['index']}"


@contextmanager
def _running(stage: Stage) -> Iterator[tuple[str, dict[str, str]]]:
    """The service as a process on a free port, its spans printed; stopped as an orchestrator stops it."""
    secrets = _env_file(stage.service / ".env.local")
    port = _free_port()
    environ = (
        clean_environment()
        | secrets
        | {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "PYTHONPATH": str(stage.service / "src"),
            "COMPANYOS__OBSERVABILITY__EXPORTER": "console",
        }
    )
    python = str(stage.service / ".venv" / "bin" / "python")
    with (stage.root / "logs" / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-m", "orders"], cwd=stage.service, env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            _wait(f"http://127.0.0.1:{port}/health", process)
            yield f"http://127.0.0.1:{port}", secrets
            process.send_signal(signal.SIGTERM)
            process.wait(START_SECONDS)
        finally:
            process.kill()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own server on the loopback
                if answer.status == 200:
                    return
        except (URLError, ConnectionError):
            time.sleep(0.05)
    require_that(False, "the service did not start", got=f"exit status {process.poll()}")


def _post(url: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **headers})  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own server on the loopback
            value: dict[str, Any] = json.load(answer)
            return value
    except URLError as error:
        body_text = error.read().decode() if hasattr(error, "read") else ""
        require_that(False, f"{url} did not answer well", got=f"{error} {body_text}")
        raise


def _json_values(text: str) -> Iterator[dict[str, Any]]:
    """Every JSON object in mixed output: log lines are one line each, spans several."""
    decoder = json.JSONDecoder()
    position = text.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(text, position)
        except ValueError:
            end = position + 1
        else:
            if isinstance(value, dict):
                yield value
        position = text.find("{", end)


def _env_file(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value.strip("'\"") for name, _, value in pairs}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _passed(report: Path) -> int:
    root = ET.parse(report).getroot()  # noqa: S314 - written a moment ago by our own test run
    suites = list(root.iter("testsuite"))
    bad = sum(int(suite.get(kind, "0")) for suite in suites for kind in ("failures", "errors"))
    total = sum(int(suite.get("tests", "0")) - int(suite.get("skipped", "0")) for suite in suites)
    require_that(total and not bad, "tests failed or none ran", got=f"{bad} bad of {total}")
    return total
