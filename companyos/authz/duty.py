"""What has to be carried out around one guarded call, step by step, whoever makes the steps.

The steps are the same for plain and for asynchronous calls: a generator yields what may block (handlers, the ledger)
and is given what came of it. `run` makes the steps here and now; `run_async` awaits handlers that are asynchronous and
makes all other steps in a thread, so that the event loop never waits.

The order is that of the AuthZEN Obligations Profile: every obligation that can be carried out is, also where another
one cannot be and where the decision denies; the call is made, and its result leaves, only if all of them were.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import uuid
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from companyos.authz import audit
from companyos.authz.interface import (
    AccessDeniedError,
    AccessUndeterminedError,
    ObligationError,
    Phase,
    StepUpRequiredError,
)
from companyos.authz.profile import CUSTOM, OBLIGATION_TYPES
from companyos.authz.uses import ONCE
from companyos.decision import Verdict
from companyos.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from companyos.authz.uses import Uses
    from companyos.decision import Decision, Obligation
    from companyos.ports import LedgerPort, ObligationHandler

__all__ = ("CALL", "Duty", "find_handler", "run", "run_async", "unhandled")

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

Steps = Generator[Callable[[], Any], Any, _T]

CALL = "companyos.authz.call"
"""Type of the entry that records that a guarded call failed after obligations were carried out for it."""


def find_handler(handlers: Mapping[str, ObligationHandler], obligation: Obligation) -> ObligationHandler | None:
    """Who carries an obligation out: the handler of its id, else that of its type.

    A policy here names what is to be done by the obligation's id (`mask_fields`). A decision point that follows the
    profile gives ids of its own (`obl-1`), and says by the type what is to be done. A handler that does not take the
    type is nobody.
    """
    found = handlers.get(obligation.id)
    if found is None and obligation.type != CUSTOM:
        found = handlers.get(obligation.type)
    is_taken = obligation.type in OBLIGATION_TYPES and obligation.type in getattr(found, "types", OBLIGATION_TYPES)
    return found if is_taken else None


def unhandled(handlers: Mapping[str, ObligationHandler], obligations: Iterable[Obligation]) -> list[str]:
    """The ids of the obligations that nobody carries out, sorted."""
    return sorted({item.id for item in obligations if find_handler(handlers, item) is None})


class Duty:
    """One guarded call: `begin` before it, then `finish` with its result or `fail` with its error."""

    def __init__(
        self,
        decision: Decision,
        handlers: Mapping[str, ObligationHandler],
        ledger: LedgerPort,
        context: Mapping[str, Any] | None = None,
        uses: Uses | None = None,
    ) -> None:
        self._decision = decision
        self._handlers = handlers
        self._ledger = ledger
        self._uses = uses or ONCE
        self._settled = False
        self.failures: list[ObligationError] = []
        """What could not be carried out before the call."""
        self._context = {**(context or {}), "decision": decision, "ledger": ledger}

    @property
    def audit_id(self) -> str | None:
        """Id of the ledger entry of the decision."""
        return self._decision.audit_id

    def obligations(self, phase: Phase) -> list[tuple[Obligation, ObligationHandler | None]]:
        """The obligations of a phase, each with who carries it out; nobody's come before the call."""
        pairs = [(item, find_handler(self._handlers, item)) for item in self._decision.obligations]
        return [(item, handler) for item, handler in pairs if _phase(handler) is phase]

    def begin(self) -> Steps[None]:
        """Check that the call may be made, carry out what comes before it, and use the decision.

        Raises:
            AccessDeniedError: the decision denies.
            AccessUndeterminedError: it is undetermined.
            StaleDecisionError: it was used before, or is too old.
            ObligationError: it is not on record, or something could not be carried out.
        """
        if not self._decision.allow:
            if self._decision.audit_id:
                both = (*self.obligations(Phase.BEFORE), *self.obligations(Phase.AFTER))
                self.failures = yield from self._refused(both)
            undetermined = self._decision.verdict is Verdict.UNDETERMINED
            raise AccessUndeterminedError(self._decision) if undetermined else AccessDeniedError(self._decision)
        if not self._decision.audit_id:
            raise ObligationError("the decision is not on record", hint="decide by Authorizer.authorize, which records")
        self._uses.check(self._decision)
        self.failures = yield from self._refused(self.obligations(Phase.BEFORE))
        if self.failures:
            yield from self._refused(self.obligations(Phase.AFTER))
            raise _worst(self.failures)
        self._uses.claim(self._decision)

    def finish(self, result: Any) -> Steps[Any]:
        """What may leave of the result.

        Raises:
            ObligationError: something could not be carried out; nothing leaves.
        """
        self._settled = True
        value, pending = result, self.obligations(Phase.AFTER)
        while pending:
            obligation, handler = pending.pop(0)
            try:
                value = yield from self._attempt(obligation, handler, value)
            except ObligationError:
                yield from self._refused(pending)
                raise
        return value

    def fail(self, error: BaseException) -> Steps[None]:
        """Record that the call failed after all that was done for it, and do what is left to do without a result.

        Nothing is left to do after `finish` or a first `fail`.
        """
        if self._settled or not self._decision.obligations:
            return
        self._settled = True
        yield from self._refused(self.obligations(Phase.AFTER))
        data = {"decision_id": self._decision.audit_id, "reason": self._decision.reason, "outcome": "failed"}
        entry = {**data, "detail": type(error).__name__, "trace_id": audit.active_trace()}
        try:
            yield functools.partial(self._ledger.append, CALL, entry, id=str(uuid.uuid4()), source=audit.SOURCE)
        except Exception:  # noqa: BLE001 - the error of the call itself goes on, whatever the ledger says
            _log.exception("a failed call could not be recorded")

    def complain(self, obligation: Obligation, error: ObligationError) -> Steps[None]:
        """Record that an obligation failed on a result that was leaving already, line by line.

        Raises:
            ObligationError: it could not be recorded.
        """
        yield from self._note(obligation, "refused", error.what)

    def _refused(self, pairs: Iterable[tuple[Obligation, ObligationHandler | None]]) -> Steps[list[ObligationError]]:
        """Carry out what can be, without a result; what could not be."""
        failures: list[ObligationError] = []
        for obligation, handler in pairs:
            try:
                if getattr(handler, "needs_result", False):
                    yield from self._note(obligation, "moot", "there is no result")
                else:
                    yield from self._attempt(obligation, handler, None)
            except ObligationError as error:
                failures.append(error)
        return failures

    def _attempt(self, obligation: Obligation, handler: ObligationHandler | None, value: Any) -> Steps[Any]:
        if handler is None:
            mistyped = obligation.id in self._handlers
            yield from self._note(obligation, "refused", "wrong type" if mistyped else "no handler")
            raise ObligationError(
                f"nobody can carry out the obligation {obligation.id}",
                got=f"type {obligation.type}",
                hint="correct the policy's type" if mistyped else "register a handler",
            )
        notes: list[str] = []
        try:
            value = yield functools.partial(handler.discharge, obligation, value, {**self._context, "notes": notes})
        except Exception as error:
            detail = error.what if isinstance(error, UserError) else type(error).__name__
            yield from self._note(obligation, "refused", detail)
            if isinstance(error, ObligationError):
                raise
            raise ObligationError(f"the obligation {obligation.id} could not be carried out") from error
        yield from self._note(obligation, "discharged", "; ".join(notes))
        return value

    def _note(self, obligation: Obligation, outcome: str, detail: str) -> Steps[None]:
        """Leave the receipt; without one the call is refused, whatever the outcome was."""
        try:
            yield functools.partial(
                audit.append_discharge, self._ledger, self._decision, obligation, outcome=outcome, detail=detail
            )
        except Exception as error:
            raise ObligationError(f"the obligation {obligation.id} could not be recorded") from error


def run(steps: Steps[_T]) -> _T:
    """Make the steps here and now; one that would have to be awaited is refused."""
    try:
        step = next(steps)
        while True:
            try:
                outcome = _settled(step)
            except Exception as error:  # noqa: BLE001 - the steps say what becomes of it
                step = steps.throw(error)
            else:
                step = steps.send(outcome)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


async def run_async(steps: Steps[_T]) -> _T:
    """Make the steps without holding up the event loop."""
    try:
        step = next(steps)
        while True:
            try:
                outcome = await _awaited(step)
            except Exception as error:  # noqa: BLE001 - the steps say what becomes of it
                step = steps.throw(error)
            else:
                step = steps.send(outcome)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


def _settled(step: Callable[[], Any]) -> Any:
    outcome = step()
    if inspect.isawaitable(outcome):
        if inspect.iscoroutine(outcome):
            outcome.close()
        raise ObligationError("a handler is asynchronous", hint="use with_obligations_async")
    return outcome


async def _awaited(step: Callable[[], Any]) -> Any:
    outcome = step() if inspect.iscoroutinefunction(step) else await asyncio.to_thread(step)
    return await outcome if inspect.isawaitable(outcome) else outcome


def _phase(handler: ObligationHandler | None) -> Phase:
    return Phase.BEFORE if handler is None else getattr(handler, "phase", Phase.AFTER)


def _worst(failures: list[ObligationError]) -> ObligationError:
    """The first failure that no further factor would mend, else the first."""
    return next((error for error in failures if not isinstance(error, StepUpRequiredError)), failures[0])
