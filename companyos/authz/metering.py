"""Policies metered: evaluated in a child process with a deadline and bounded memory, and killed when they exceed it.

The embedded engine cannot be interrupted and holds the interpreter while it works, so that only another process can
watch it. The child is a fresh interpreter: nothing of the parent is in it but what is passed as JSON.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from companyos.authz.interface import EngineError, PolicyError
from companyos.errors import CompanyOSError, MissingExtraError, RefusedError, UnverifiableError, UserError

__all__ = ("Limits", "MeterExceededError", "MeterFailedError", "MeterTimeoutError", "compute_at_most", "metered")

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Largest answer that is read of a child."""
_BROKEN = {signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGKILL, signal.SIGTRAP}
_KINDS: dict[type[UserError], str] = {PolicyError: "policy", EngineError: "engine", MissingExtraError: "extra"}
"""Errors that come out of a child as what they are."""
_LOOK_FOR_LOOPS = "look for rules that loop over what they loop over, or that grow with the request"
_OUT_OF_MEMORY = 77
"""Exit status of a child that ran out of memory in Python."""


class MeterExceededError(RefusedError):
    """Policies took more time or memory than they may, and their process was ended."""

    code = "authz.metering"


class MeterTimeoutError(MeterExceededError):
    """Policies took more time than they may."""

    code = "authz.metering_timeout"


class MeterFailedError(UnverifiableError):
    """The metered process could not be started, or ended without an answer for a reason of its own."""

    code = "authz.metering_failed"


@dataclass(frozen=True, slots=True)
class Limits:
    """What policies may take."""

    deadline_seconds: float = 30.0
    """Wall-clock time, the start of the process included."""
    memory_bytes: int = 1024 * 1024 * 1024
    """Address space of the process (RLIMIT_AS)."""
    question_seconds: int = 3
    """Processor time for one question of many (RLIMIT_CPU): not the clock's, which a busy machine slows."""


def metered(target: str, argument: Any, limits: Limits | None = None, *, what: str = "the policies") -> Any:
    """What the function `target` (`module:name`) answers to a JSON value, called in a process that can be killed.

    `what` is named in errors. What `target` raises of ours comes out as `PolicyError`, `EngineError` or
    `MeterFailedError`, with the same text.

    Raises:
        MeterExceededError: it took more time or memory than it may.
        PolicyError: it refused the policies.
        EngineError: it could not evaluate them.
        MissingExtraError: what it needs is not installed.
        MeterFailedError: the process could not be made, or broke otherwise.
    """
    bounds = limits or Limits()
    call = {"target": target, "argument": argument, "memory_bytes": bounds.memory_bytes, "path": sys.path}
    program = "import sys, json; call = json.load(sys.stdin); sys.path[:] = call['path']; "
    program += "from companyos.authz import metering; metering.child(call)"
    with tempfile.TemporaryFile() as answer:
        status = _run([sys.executable, "-I", "-c", program], json.dumps(call).encode(), answer, bounds, what)
        _check_status(status, bounds, what)
        answer.seek(0)
        text = answer.read(MAX_ANSWER_BYTES + 1)
    return _answer(text)


def child(call: dict[str, Any]) -> None:
    """Run in the child: bound the process, make the call, write the answer to standard output."""
    import resource  # not on every system, and only needed here

    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed is no answer
    function = _find(call["target"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_ANSWER_BYTES, MAX_ANSWER_BYTES))
    resource.setrlimit(resource.RLIMIT_AS, (call["memory_bytes"], call["memory_bytes"]))
    try:
        answer: dict[str, Any] = {"value": function(call["argument"])}
    except MemoryError:
        os._exit(_OUT_OF_MEMORY)
    except UserError as error:
        answer = {**error.to_dict(), "error": _kind(error)}
    except CompanyOSError as error:
        answer = {"error": "other", "what": str(error)}
    with out:
        out.write(json.dumps(answer).encode())


def compute_at_most(seconds: int) -> None:
    """Have the process ended by the system when it has computed for so many seconds more; for use in a child."""
    import resource  # as above

    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    most = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _find(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _kind(error: UserError) -> str:
    for kind, name in _KINDS.items():
        if isinstance(error, kind):
            return name
    return "other"


def _run(command: list[str], stdin: bytes, answer: Any, bounds: Limits, what: str) -> int:
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=answer, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except OSError as error:
        raise MeterFailedError("the metered process could not be started", got=error) from error
    with process:
        try:
            process.communicate(stdin, timeout=bounds.deadline_seconds)
        except subprocess.TimeoutExpired as error:
            raise MeterTimeoutError(
                f"{what} took too long",
                got="ended by force",
                expected=f"an answer within {bounds.deadline_seconds:g} s",
                hint=_LOOK_FOR_LOOPS,
            ) from error
        finally:
            _end(process)
    return process.returncode


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process with all that it started, whatever state it is in."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.kill()
        process.wait()


def _check_status(status: int, bounds: Limits, what: str) -> None:
    if status == -signal.SIGXCPU:
        raise MeterExceededError(
            f"{what} took too long over one question",
            got="ended by force",
            expected=f"an answer within {bounds.question_seconds} s of processor time",
            hint=_LOOK_FOR_LOOPS,
        )
    if status == _OUT_OF_MEMORY or -status in _BROKEN:
        raise MeterExceededError(
            f"{what} broke the process that evaluated it",
            got="out of memory" if status == _OUT_OF_MEMORY else signal.Signals(-status).name,
            expected=f"at most {bounds.memory_bytes // 1024 // 1024} MiB",
            hint="look for rules that build values much larger than the request",
        )
    if status:
        raise MeterFailedError("the metered process ended without an answer", got=f"exit status {status}")


def _answer(text: bytes) -> Any:
    try:
        answer = json.loads(text)
        if "error" not in answer:
            return answer["value"]
    except (ValueError, KeyError, TypeError) as error:
        raise MeterFailedError("the metered process gave no answer", got=f"{len(text)} bytes") from error
    kinds = {name: kind for kind, name in _KINDS.items()}
    hint, details = answer.get("next"), {key: answer.get(key) for key in ("got", "expected")}
    raise kinds.get(answer["error"], MeterFailedError)(answer["what"], hint=hint, **details)
