"""The decision point itself: evaluations in threads, under the policies in force, which can be exchanged meanwhile."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from companyos.authz.authzen import SUPPORTED_OBLIGATIONS, parts_from_authzen, response_to_authzen
from companyos.authz.engines.pool import asking_as
from companyos.authz.interface import ObligationError, RequestError
from companyos.authz.profile import served
from companyos.server.interface import HttpRefusedError, one_line
from companyos.server.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from companyos.authz.authorizer import Authorizer
    from companyos.authz.authzen import Batch, Parts
    from companyos.decision import Decision, Obligation
    from companyos.ports import AccessRequest, DecisionEngine, Opinion

__all__ = ("CarriedOutByCaller", "Generation", "NegotiatedEngine", "Pdp", "parts_or_error", "trace_of")

UNSUPPORTED = "obligation.unsupported"
"""Reason of the deny for a caller that said it cannot carry out an obligation."""
INVALID = "request.invalid"
_T = TypeVar("_T")
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_log = logging.getLogger(__name__)


class NegotiatedEngine:
    """An engine whose caller may say which types of obligation it can carry out; what needs another is denied.

    By the Obligations Profile a caller would have to deny by itself; a decision point that denies has it on record.
    What it obliges to meets the profile (see `served`), in the answer and on the ledger alike.
    """

    def __init__(self, engine: DecisionEngine) -> None:
        self._engine = engine

    @property
    def name(self) -> str:
        """The engine's name."""
        return self._engine.name

    @property
    def version(self) -> str:
        """The engine's version."""
        return self._engine.version

    def decide(self, request: AccessRequest) -> Opinion:
        """The engine's opinion, or a deny with the same obligations."""
        opinion = self._engine.decide(request)
        if opinion.obligations:
            opinion = replace(opinion, obligations=served(opinion.obligations))
        supported = request.environment.get(SUPPORTED_OBLIGATIONS)
        if supported is None or not opinion.allow:
            return opinion
        beyond = sorted({item.type for item in opinion.obligations} - set(supported))
        if not beyond:
            return opinion
        message = f"the caller cannot carry out: {', '.join(beyond)} ({opinion.reason})"
        return replace(opinion, allow=False, reason=UNSUPPORTED, message=message)


class CarriedOutByCaller:
    """Stands for a handler that the callers have: with it an obligation may be issued, and is not carried out here."""

    def __init__(self, obligation: str) -> None:
        self._obligation = obligation

    @property
    def obligation(self) -> str:
        """Id of the obligation."""
        return self._obligation

    def discharge(self, obligation: Obligation, value: Any, context: Mapping[str, Any]) -> Any:  # noqa: ARG002
        """Nothing here can carry it out.

        Raises:
            ObligationError: always.
        """
        raise ObligationError(f"{self._obligation} is for the caller of the decision point to carry out")


class Generation:
    """One set of policies and what decides by it; it is closed when it is retired and nobody uses it any more."""

    def __init__(self, authorizer: Authorizer, close: Callable[[], None]) -> None:
        self.authorizer = authorizer
        self._close = close
        self._lock = threading.Lock()
        self._users = 0
        self._is_retired = False

    def enter(self) -> bool:
        """Use it; False if it is retired, so that the next one has to be taken."""
        with self._lock:
            if self._is_retired:
                return False
            self._users += 1
            return True

    def leave(self) -> None:
        """Use it no longer."""
        with self._lock:
            self._users -= 1
            last = self._is_retired and not self._users
        if last:
            self._close()

    def retire(self) -> None:
        """Let nobody new in, and close it when the last one has left."""
        with self._lock:
            was, self._is_retired = self._is_retired, True
            last = not was and not self._users
        if last:
            self._close()


class Pdp:
    """Answers evaluations by the generation in force. Close it after use."""

    def __init__(self, generation: Generation, *, threads: int = 8) -> None:
        self._current = generation
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="companyos-pdp")
        """Where everything that waits is done."""
        # A quarter of the threads is always left to the other callers.
        self._turns = Turns(max(1, threads - max(1, threads // 4)))

    @property
    def authorizer(self) -> Authorizer:
        """What decides at present."""
        return self._current.authorizer

    def exchange(self, generation: Generation) -> None:
        """Put another generation in force; requests under way finish with the old one."""
        old, self._current = self._current, generation
        old.retire()

    async def evaluate(
        self, parts: Parts | RequestError, trace: tuple[int, int] | None = None, caller: str | None = None
    ) -> dict[str, Any]:
        """The response to one evaluation, or to what could not be read as one.

        Of threads and workers a caller that is named leaves some to the others.

        Raises:
            HttpRefusedError: 400, the request is malformed; that it was refused is on the ledger.
        """
        decision = await self._in_turn(caller, self._one, parts, trace)
        if decision.reason == INVALID:
            raise HttpRefusedError(400, one_line(decision.message))
        return response_to_authzen(decision)

    async def evaluate_batch(
        self, batch: Batch, trace: tuple[int, int] | None = None, caller: str | None = None
    ) -> list[dict[str, Any]]:
        """The responses to a batch, all under the same policies, in its order; as far as its semantic goes."""
        loop = asyncio.get_running_loop()
        generation = self._enter()
        try:
            if batch.semantic == "execute_all":
                tasks = [self._in_turn(caller, _answer, generation, item, trace) for item in batch.evaluations]
                # All of them end before one's error goes on: the policies must not be closed under the others.
                answers = await asyncio.gather(*tasks, return_exceptions=True)
                return [_raised(answer) for answer in answers]
            return await self._in_turn(caller, _until, generation, batch, trace)
        finally:
            await loop.run_in_executor(self.executor, generation.leave)

    def close(self) -> None:
        """Finish what is under way, then end."""
        self.executor.shutdown(wait=True)
        self._current.retire()

    async def _in_turn(self, caller: str | None, do: Callable[..., _T], *arguments: Any) -> _T:
        """The result of a call that waits, made in a thread when it is the caller's turn."""
        async with self._turns.turn(caller):
            return await asyncio.get_running_loop().run_in_executor(self.executor, _as, caller, do, arguments)

    def _one(self, parts: Parts | RequestError, trace: tuple[int, int] | None) -> Decision:
        generation = self._enter()
        try:
            return _decide(generation, parts, trace)
        finally:
            generation.leave()

    def _enter(self) -> Generation:
        while True:
            generation = self._current
            if generation.enter():
                return generation


def _as(caller: str | None, do: Callable[..., _T], arguments: tuple[Any, ...]) -> _T:
    with asking_as(caller):
        return do(*arguments)


def trace_of(traceparent: bytes | None) -> tuple[int, int] | None:
    """Trace and span of a W3C `traceparent`; None if it is not a valid one, as the recommendation says."""
    parsed = _TRACEPARENT.fullmatch((traceparent or b"").decode("latin-1").strip())
    if parsed is None or parsed[1] == "ff" or (parsed[1] == "00" and parsed[5]):
        return None
    trace, span = int(parsed[2], 16), int(parsed[3], 16)
    return (trace, span) if trace and span else None


def _decide(generation: Generation, parts: Parts | RequestError, trace: tuple[int, int] | None) -> Decision:
    with _traced(trace):
        if isinstance(parts, RequestError):
            return generation.authorizer.refuse_malformed(parts)
        return generation.authorizer.authorize(parts.subject, parts.action, parts.resource, parts.environment)


def _answer(generation: Generation, item: Any, trace: tuple[int, int] | None) -> dict[str, Any]:
    """The response to one evaluation of a batch, where a malformed one is a deny that says so."""
    decision = _decide(generation, parts_or_error(item), trace)
    answer = response_to_authzen(decision)
    if decision.reason != INVALID:
        return answer
    kept = {key: answer["context"][key] for key in ("audit_id", "durable") if key in answer["context"]}
    return _malformed(decision.message, kept)


def parts_or_error(value: Any) -> Parts | RequestError:
    """What an evaluation asks, or what is wrong with it: to be answered, and recorded, by the `Pdp` either way."""
    try:
        return parts_from_authzen(value)
    except RequestError as error:
        return error


def _raised(answer: dict[str, Any] | BaseException) -> dict[str, Any]:
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _malformed(message: str, recorded: Mapping[str, Any]) -> dict[str, Any]:
    context: dict[str, Any] = {"reason": INVALID, "error": {"status": 400, "message": one_line(message)}}
    return {"decision": False, "context": {**context, **recorded}}


def _until(generation: Generation, batch: Batch, trace: tuple[int, int] | None) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    for item in batch.evaluations:
        answers.append(_answer(generation, item, trace))
        if batch.ends_with(answers[-1]["decision"]):
            break
    return answers


@contextmanager
def _traced(trace: tuple[int, int] | None) -> Iterator[None]:
    """Make the caller's span the current one, so that the ledger's entry names its trace."""
    if trace is None:
        yield
        return
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

    with use_span(NonRecordingSpan(SpanContext(*trace, is_remote=True, trace_flags=TraceFlags(1)))):
        yield
