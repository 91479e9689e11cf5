"""What every test may use: real servers by fixture, and an honest account of what was not run."""

from __future__ import annotations

import json
import multiprocessing
import signal
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.services import OpaServer, PostgreSQL, Redis, available, stop_all
from tests.services.registry import NOT_RUN, OUTSIDE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.terminal import TerminalReporter

ROOT = Path(__file__).resolve().parent.parent
LOADED_BEFORE_FORKS = (
    "__main__",
    "companyos.authz.identity.store",
    "companyos.finops.budgets",
    "companyos.testing",
    "tests.authz.identity.identity_workers",
    "tests.ledger.ledger_workers",
    "tests.ledger.people_workers",
    "tests.ledger.replay_workers",
    "tests.state.state_workers",
)
SERVICE_OF_FIXTURE = {
    "opa_server": "opa_engine",
    "postgresql": "postgresql",
    "postgresql_url": "postgresql",
    "redis_server": "redis",
    "redis_url": "redis",
}


def pytest_configure() -> None:
    """Processes that tests start can be interrupted, even where whoever started the tests ignores interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart(session: pytest.Session) -> None:
    """One server of forks for all tests of a long-lived worker, with what any of them needs loaded beforehand.

    It is started once in a process, with the modules that the first test to come asks for: the children of all others
    would load theirs one by one, which takes longer than what they are killed at.
    """
    if hasattr(session.config, "workerinput"):
        multiprocessing.get_context("forkserver").set_forkserver_preload(list(LOADED_BEFORE_FORKS))
        forkserver.ensure_running()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that uses a server's fixture carries its marker, so that `-m service` finds it."""
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in SERVICE_OF_FIXTURE:
                item.add_marker(pytest.mark.service(SERVICE_OF_FIXTURE[fixture]))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before a test: is what it needs there?"""
    for marker in item.iter_markers("service"):
        available(marker.args[0])
    if item.get_closest_marker("outside") and not (ROOT.parent / "shared").is_dir():
        pytest.skip(f"{OUTSIDE}there is no ../shared beside this clone")


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say what was not run, and why."""
    skipped = [(report.nodeid, reason(report)) for report in terminalreporter.stats.get("skipped", [])]
    failed = [(r.nodeid, reason(r)) for kind in ("failed", "error") for r in terminalreporter.stats.get(kind, [])]
    gaps = [(name, text) for name, text in (*skipped, *failed) if text.startswith(NOT_RUN)]
    outside = [(name, text) for name, text in skipped if text.startswith(OUTSIDE)]
    for title, rows in (("not run, and why", gaps), ("outside this clone", outside)):
        if rows:
            terminalreporter.section(f"{title}: {len(rows)}")
            for name, text in rows:
                terminalreporter.write_line(f"{name}: {text.partition(': ')[2]}")


def reason(report: pytest.TestReport) -> str:
    """Why a test was skipped or failed, as one text."""
    longrepr = report.longrepr
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr or "")
    return text.removeprefix("Skipped: ").removeprefix("Failed: ")


def pytest_unconfigure() -> None:
    """No server outlives the tests."""
    stop_all()


@pytest.fixture(scope="session", autouse=True)
def every_log_line_has_the_same_shape() -> Iterator[None]:
    """Whatever test writes a log line: the line satisfies the schema that is published with the package."""
    from jsonschema import Draft202012Validator

    from companyos.observability import line_schema
    from companyos.observability.sink import Sink

    schema = Draft202012Validator(line_schema())
    wrong: list[str] = []
    write = Sink.write

    def checked(self: Sink, line: bytes) -> None:
        if not schema.is_valid(json.loads(line)):
            wrong.append(line.decode("ascii"))
        write(self, line)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sink, "write", checked)
        yield
    assert wrong == []


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A real PostgreSQL with its durable defaults, shared by the tests of this process."""
    server = PostgreSQL(available("postgresql"))
    yield server
    server.stop()


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL) -> Iterator[str]:
    """URL of an empty database of the test's own."""
    url = postgresql.create_database()
    yield url
    postgresql.drop_database(url)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A real Valkey or Redis that keeps nothing on the disk, shared by the tests of this process."""
    server = Redis(available("redis"))
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """URL of an empty database of the test's own."""
    return redis_server.create_database()


@pytest.fixture(scope="session")
def opa_server() -> Iterator[OpaServer]:
    """A server that speaks OPA's wire format and evaluates with the real OPA engine, shared by this process's tests."""
    available("opa_engine")
    server = OpaServer()
    yield server
    server.stop()
