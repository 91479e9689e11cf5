"""The child process of a `WorkerEngine`: makes one engine, then answers one request at a time until its pipe ends.

A frame is its length in four bytes and a msgpack value. Policies may hold the interpreter lock for as long as they
like, so that nothing in this process can stop them: the parent kills it, and where the parent is gone a timer of the
kernel does.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import socket
import struct
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import msgspec

from companyos.authz.interface import EngineError
from companyos.errors import UserError
from companyos.ports import AccessRequest

if TYPE_CHECKING:
    from io import BufferedReader

    from companyos.ports import DecisionEngine, Opinion

__all__ = ("HEADER", "Start", "main", "make_engine")

HEADER = struct.Struct(">I")
"""Length of the frame that follows."""


class Start(msgspec.Struct, array_like=True, frozen=True):
    """What a child is told first."""

    factory: str
    """`package.module:callable` that makes the engine."""
    arguments: dict[str, Any]
    """Its keyword arguments."""
    seconds: float
    """After how long an evaluation ends this process."""
    memory_bytes: int
    """How much address space it may use; 0 for no limit."""
    start_seconds: float = 0
    """After how long making the engine ends this process; 0 for no limit."""


def make_engine(factory: str, arguments: dict[str, Any]) -> DecisionEngine:
    """The engine that `factory`, a `package.module:callable`, makes of keyword arguments.

    Raises:
        EngineError: there is no such callable.
    """
    module, _, name = factory.partition(":")
    try:
        make = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise EngineError("an engine cannot be made", got=factory, expected="package.module:callable") from error
    engine: DecisionEngine = make(**arguments)
    return engine


def main(descriptor: int) -> None:
    """Serve the socket until the parent closes it."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with socket.socket(fileno=descriptor) as connection, _incoming(connection) as incoming:
        start = msgspec.msgpack.decode(_read(incoming), type=Start)
        _limit(start.memory_bytes)
        engine = _started(connection, start)
        if engine is not None:
            _serve(connection, incoming, engine, start.seconds)


def _incoming(connection: socket.socket) -> BufferedReader:
    return cast("BufferedReader", connection.makefile("rb", 1 << 16))


def _limit(memory_bytes: int) -> None:
    if memory_bytes:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _started(connection: socket.socket, start: Start) -> DecisionEngine | None:
    """The engine, its policies read and checked; None if the parent was told that there is none."""
    try:
        signal.setitimer(signal.ITIMER_REAL, start.start_seconds)
        engine = make_engine(start.factory, start.arguments)
        hello: tuple[Any, ...] = (True, engine.name, engine.version)
    except Exception as error:  # noqa: BLE001 - whatever keeps it from starting is for the parent to say
        _send(connection, (False, *_told(error)))
        return None
    signal.setitimer(signal.ITIMER_REAL, 0)
    _send(connection, hello)
    gc.collect()
    gc.freeze()
    return engine


def _serve(connection: socket.socket, incoming: BufferedReader, engine: DecisionEngine, seconds: float) -> None:
    while frame := _read(incoming):
        subject, action, resource, environment = msgspec.msgpack.decode(frame)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            answer = _answer(engine.decide(AccessRequest(subject, action, resource, environment)))
        except Exception as error:  # noqa: BLE001 - whatever an engine raises, it has not decided
            answer = (False, *_told(error))
        signal.setitimer(signal.ITIMER_REAL, 0)
        with contextlib.suppress(BrokenPipeError):
            _send(connection, answer)


def _answer(opinion: Opinion) -> tuple[Any, ...]:
    obligations = [(item.id, item.type, dict(item.properties)) for item in opinion.obligations]
    return True, opinion.allow is True, opinion.reason, opinion.message, obligations, opinion.version


def _told(error: Exception) -> tuple[str | None, ...]:
    """What the parent is told: the parts of the text, the reason for the refused caller, the error's code."""
    reason = error.reason if isinstance(error, EngineError) else EngineError.reason
    if isinstance(error, UserError):
        return error.what, error.got, error.expected, error.hint, reason, error.code
    return "the policy engine failed", type(error).__name__, None, None, reason, EngineError.code


def _read(incoming: BufferedReader) -> bytes:
    """The next frame; empty at the end."""
    header = incoming.read(HEADER.size)
    return incoming.read(HEADER.unpack(header)[0]) if len(header) == HEADER.size else b""


def _send(connection: socket.socket, value: Any) -> None:
    frame = msgspec.msgpack.encode(value)
    connection.sendall(HEADER.pack(len(frame)) + frame)
