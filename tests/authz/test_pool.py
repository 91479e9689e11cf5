"""The engine in processes of its own: the contract of all engines, and policies that do not end."""

from __future__ import annotations

import contextvars
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest

from companyos.authz import build_request
from companyos.authz.engines.pool import EngineBusyError, WorkerEngine, asking_as
from companyos.authz.interface import EngineError, EngineTimeoutError, PolicyError
from companyos.ports import Opinion
from companyos.testing import EngineContract
from tests.authz.requests import READ, UNKNOWN
from tests.authz.test_engines import IN_REGO

REGO = "companyos.authz.engines.rego:RegoEngine"
EXPLODING = """package companyos.access

import rego.v1

allow contains {"id": "policy.read"} if input.action == "read"

deny contains {"id": "policy.never"} if {
	input.action == "explode"
	some a in numbers.range(1, 100000)
	some b in numbers.range(1, 100000)
	a * b == -1
}
"""
HUNGRY = """package companyos.access

import rego.v1

allow contains {"id": "policy.hungry"} if {
	input.action == "hungry"
	count([x | some a in numbers.range(1, 10000000); x := sprintf("%d%d", [a, a])]) > 0
}
"""
EXPLODE = build_request({"id": "u-1", "type": "user"}, "explode", {"id": "d-1", "type": "document"})


class Odd:
    """An engine of the tests: what it does is the action."""

    name = "odd"
    version = "sha256:odd"

    def decide(self, request):
        if request.action == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if request.action == "sleep":
            time.sleep(60)
        if request.action == "break":
            raise ValueError("a secret")
        if request.action == "late":
            raise EngineTimeoutError("not in time")
        return Opinion(True, "odd.yes", str(os.getpid()))


class Slow(Odd):
    """One that does not start as long as there is a file."""

    def __init__(self, unless):
        while Path(unless).exists():
            time.sleep(0.01)


def ask(action):
    return build_request({"id": "u-1", "type": "user"}, action, {"id": "d-1", "type": "document"})


@pytest.fixture
def make():
    """Pools that are closed with the test."""
    made = []

    def begin(factory=REGO, arguments=None, **options):
        arguments = {"directories": []} if arguments is None else arguments
        made.append(WorkerEngine(factory, arguments, **{"workers": 1, **options}))
        return made[-1]

    yield begin
    for engine in made:
        engine.close()


class TestContract(EngineContract):
    """The Rego engine in a child keeps the contract that it keeps in this process."""

    allowed: ClassVar = READ
    denied: ClassVar = UNKNOWN

    @pytest.fixture(autouse=True)
    def _pools(self, make):
        self._make = make

    def make_engine(self):
        return self._make()

    def make_engine_with(self, case, folder):
        directory = folder / "policies"
        directory.mkdir()
        (directory / "metadata.yaml").write_text("owner: team\nversion: 1.0.0\n", encoding="utf-8")
        (directory / "contract.rego").write_text(IN_REGO[case], encoding="utf-8")
        return self._make(arguments={"directories": [str(directory)]})


def test_a_policy_that_does_not_end_is_ended(make, policies):
    """An evaluation that would take hours is refused within the deadline, and the next request is answered."""
    engine = make(arguments={"directories": [str(policies(explode__rego=EXPLODING))]}, deadline_seconds=0.5)

    with pytest.raises(EngineTimeoutError) as caught:
        engine.decide(EXPLODE)

    assert caught.value.reason == "policy.timeout"
    assert retried(engine, READ).allow is True
    assert engine.replaced == 1


def test_a_worker_that_dies_is_replaced(make):
    """A process that ends during an evaluation refuses that one, and another one takes its place."""
    engine = make(f"{__name__}:Odd", {})
    before = engine.decide(ask("read")).message

    with pytest.raises(EngineError, match="the process of the policy engine ended"):
        engine.decide(ask("die"))

    assert retried(engine, ask("read")).message != before


def test_errors_of_the_engine_come_through(make):
    """What an engine raises is raised here, by its kind; the text of what is not for people stays behind."""
    engine = make(f"{__name__}:Odd", {})

    with pytest.raises(EngineTimeoutError, match="not in time"):
        engine.decide(ask("late"))
    with pytest.raises(EngineError, match="the policy engine failed") as caught:
        engine.decide(ask("break"))
    assert "secret" not in caught.value.message
    assert engine.replaced == 0


def test_a_caller_leaves_a_worker_to_the_others(make, tmp_path):
    """Who has its share waits for it, also while a process that it ended is replaced; others are answered meanwhile."""
    flag = tmp_path / "wait"
    engine = make(f"{__name__}:Slow", {"unless": str(flag)}, workers=2, deadline_seconds=5)
    flag.touch()
    with asking_as("looping"):
        with pytest.raises(EngineError, match="process of the policy engine ended"):
            engine.decide(ask("die"))
        with ThreadPoolExecutor(1) as threads:
            context = contextvars.copy_context()
            waiting = threads.submit(context.run, engine.decide, ask("read"))
            with asking_as("innocent"):
                assert [engine.decide(ask("read")).allow for _ in range(5)] == [True] * 5
            with pytest.raises(EngineBusyError, match="that it may have"):
                waiting.result()
        flag.unlink()
        assert retried(engine, ask("read")).allow is True
    assert len(engine._shares) == 0


def test_who_finds_no_free_worker_is_refused(make):
    """While the only worker hangs, others are refused as busy instead of waiting for ever."""
    engine = make(f"{__name__}:Odd", {}, deadline_seconds=1.0, memory_bytes=0)
    with ThreadPoolExecutor(4) as threads:
        outcomes = [threads.submit(engine.decide, ask("sleep")) for _ in range(4)]
        kinds = {type(outcome.exception()) for outcome in outcomes}

    assert kinds <= {EngineTimeoutError, EngineBusyError}
    assert EngineTimeoutError in kinds


def test_many_threads_share_the_workers(make):
    """Requests from many threads are each answered, by every worker."""
    engine = make(f"{__name__}:Odd", {}, workers=2)
    with ThreadPoolExecutor(8) as threads:
        opinions = list(threads.map(engine.decide, [ask("read")] * 200))

    assert {opinion.reason for opinion in opinions} == {"odd.yes"}
    assert len({opinion.message for opinion in opinions}) == 2


def test_a_large_request_and_answer_go_through(make):
    """What is larger than the buffers of a socket arrives whole."""
    engine = make(arguments={"directories": []})
    large = build_request(
        {"id": "u-1", "type": "user", "attributes": {"text": "ü" * 60_000}}, "read", {"id": "d-1", "type": "document"}
    )

    assert engine.decide(large).allow is True


@pytest.mark.parametrize(
    ("factory", "arguments"),
    [
        ("companyos.nowhere:Engine", {}),
        ("companyos.authz.engines.rego:Nothing", {}),
        (REGO, {"directories": ["/nowhere"]}),
        ("os:abort", {}),
    ],
)
def test_an_engine_that_cannot_be_made_is_an_error_at_once(factory, arguments):
    """A pool whose workers cannot start does not come about."""
    with pytest.raises(PolicyError):
        WorkerEngine(factory, arguments, workers=1)


def test_a_worker_may_not_use_more_memory_than_it_has(make, policies):
    """A policy that would fill the memory ends its own process, not the machine."""
    engine = make(
        arguments={"directories": [str(policies(hungry__rego=HUNGRY))]}, deadline_seconds=60.0, memory_bytes=300 * 2**20
    )

    with pytest.raises(EngineError):
        engine.decide(ask("hungry"))
    assert retried(engine, READ).reason == "policy.default_deny"


def test_a_closed_pool_refuses():
    """After closing nothing is decided, and no child is left."""
    engine = WorkerEngine(f"{__name__}:Odd", {}, workers=2)
    children = {int(engine.decide(ask("read")).message) for _ in range(10)}
    engine.close()
    engine.close()

    with pytest.raises(EngineError, match="closed"):
        engine.decide(ask("read"))
    assert not [child for child in children if os.path.exists(f"/proc/{child}/stat")]  # noqa: PTH110 - a process


def retried(engine, request, seconds=30):
    """The opinion, once a worker is there again."""
    until = time.monotonic() + seconds
    while True:
        try:
            return engine.decide(request)
        except EngineBusyError:
            if time.monotonic() > until:
                raise
