from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from companyos.authz import EngineError, PolicyError
from companyos.authz.metering import Limits, MeterExceededError, MeterFailedError, metered
from companyos.errors import MissingExtraError, UserError

HERE = f"{__name__}:"
PLENTY = Limits(deadline_seconds=60)


def is_running(process):
    """Whether a process does anything still; one that nobody has buried yet does not. Its end takes a moment."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state in {"Z", "X"}:
            return False
        time.sleep(0.05)
    return True


def answer(argument):
    return {"got": argument, "process": os.getpid()}


def sleep(_):
    time.sleep(3600)


def fork_and_sleep(path):
    started = os.fork()
    if started:
        Path(path).write_text(str(started))
    time.sleep(3600)


def spin(_):
    while True:
        pass


def grow(_):
    return len("x" * (1 << 34))


def grow_and_die(_):
    os.abort()


def leave(_):
    os._exit(5)


def chatter(argument):
    print("noise on standard output")  # noqa: T201 - what is tested
    os.write(1, b"more noise\n")
    return argument


def refuse(kind):
    errors = {"policy": PolicyError, "engine": EngineError, "extra": MissingExtraError, "other": UserError}
    raise errors[kind]("refused", got="this", expected="that", hint="mend it")


def unanswerable(_):
    return object()


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The child finds this module under the name it has here."""
    folder = str(Path(__file__).parent)
    monkeypatch.setattr(sys, "path", [folder, *sys.path])
    monkeypatch.setattr(sys.modules[__name__], "HERE", "test_metering:")


def call(name, argument=None, limits=PLENTY):
    return metered(f"{HERE}{name}", argument, limits, what="it")


def test_the_answer_comes_from_another_process():
    """A JSON value goes in and one comes out, of a process that is not this one."""
    found = call("answer", {"a": [1, "é", None]})

    assert found["got"] == {"a": [1, "é", None]}
    assert found["process"] != os.getpid()


@pytest.mark.parametrize("name", ["sleep", "spin"])
def test_a_call_that_does_not_end_is_ended(name):
    """Whether it waits or works, a call is ended after its deadline."""
    with pytest.raises(MeterExceededError, match="it took too long"):
        call(name, limits=Limits(deadline_seconds=1.5))


def test_what_a_call_started_is_ended_with_it(tmp_path):
    """Processes that the call started do not outlive it."""
    with pytest.raises(MeterExceededError):
        call("fork_and_sleep", str(tmp_path / "pid"), Limits(deadline_seconds=4))
    started = (tmp_path / "pid").read_text()

    assert not is_running(started)


@pytest.mark.parametrize("name", ["grow", "grow_and_die"])
def test_a_call_that_takes_too_much_is_ended(name):
    """Too much memory is refused by that name, whether Python or the engine notices it."""
    with pytest.raises(MeterExceededError, match="it broke the process"):
        call(name)


@pytest.mark.parametrize(
    ("kind", "error"),
    [("policy", PolicyError), ("engine", EngineError), ("extra", MissingExtraError), ("other", MeterFailedError)],
)
def test_errors_come_out_as_what_they_are(kind, error):
    """What the call refuses is raised here with the same text."""
    with pytest.raises(error) as caught:
        call("refuse", kind)

    assert caught.value.to_dict() | {"error": ""} == {
        "error": "",
        "what": "refused",
        "got": "this",
        "expected": "that",
        "next": "mend it",
    }


@pytest.mark.parametrize("name", ["leave", "unanswerable"])
def test_no_answer_is_no_pass(name):
    """A process that ends without an answer has not been checked."""
    with pytest.raises(MeterFailedError):
        call(name)


def test_what_is_printed_is_no_answer():
    """Standard output of the call does not get into its answer."""
    assert call("chatter", 7) == 7
