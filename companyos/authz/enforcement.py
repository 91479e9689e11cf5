"""`with_obligations`: a call is made only if it is allowed, and its result leaves only when all is discharged."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from companyos.authz import audit
from companyos.authz.interface import AccessDeniedError, AccessUndeterminedError, ObligationError, Phase
from companyos.decision import Verdict
from companyos.errors import ConfigError, UserError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from companyos.decision import Decision, Obligation
    from companyos.ports import LedgerPort, ObligationHandler

__all__ = ("handlers_by_obligation", "with_obligations", "with_obligations_async")


def handlers_by_obligation(handlers: Iterable[ObligationHandler]) -> dict[str, ObligationHandler]:
    """The handlers by the obligation they discharge.

    Raises:
        ConfigError: two of them claim the same obligation.
    """
    found: dict[str, ObligationHandler] = {}
    for handler in handlers:
        other = found.setdefault(handler.obligation, handler)
        if other is not handler:
            raise ConfigError(
                f"two handlers claim the obligation {handler.obligation}",
                got=f"{type(other).__name__} and {type(handler).__name__}",
            )
    return found


def with_obligations(
    guarded: Callable[[], Any],
    decision: Decision,
    *,
    handlers: Iterable[ObligationHandler],
    ledger: LedgerPort,
    context: Mapping[str, Any] | None = None,
) -> Any:
    """Make the call `guarded()` if `decision` allows it, and return its result with every obligation discharged.

    Obligations of the phase *before* (step-up, approval, logging) are discharged before the call, so that nothing
    happens if one cannot be; the others work on its result. `context` is what handlers may look at (for example
    `auth_strength`); `decision`, `ledger` and `notes` are added to it. Each discharge and each refusal is a ledger
    entry, whose `detail` holds what the handler appended to `notes`.

    Raises:
        AccessDeniedError: the decision denies.
        AccessUndeterminedError: the decision is undetermined.
        ObligationError: the decision is not on record, or an obligation has no handler or could not be discharged.
    """
    duty = _Duty(decision, handlers, ledger, context)
    duty.before()
    result = guarded()
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise ObligationError("the guarded call is asynchronous", hint="use with_obligations_async")
    return duty.after(result)


async def with_obligations_async(
    guarded: Callable[[], Awaitable[Any]],
    decision: Decision,
    *,
    handlers: Iterable[ObligationHandler],
    ledger: LedgerPort,
    context: Mapping[str, Any] | None = None,
) -> Any:
    """The same as `with_obligations` for a call that is awaited."""
    duty = _Duty(decision, handlers, ledger, context)
    duty.before()
    return duty.after(await guarded())


class _Duty:
    """One guarded call and what has to be carried out around it."""

    def __init__(
        self,
        decision: Decision,
        handlers: Iterable[ObligationHandler],
        ledger: LedgerPort,
        context: Mapping[str, Any] | None,
    ) -> None:
        self._decision = decision
        self._handlers = handlers_by_obligation(handlers)
        self._ledger = ledger
        self._context = {**(context or {}), "decision": decision, "ledger": ledger}

    def before(self) -> None:
        """Check that the call may be made at all, and carry out what comes first."""
        if self._decision.verdict is Verdict.UNDETERMINED:
            raise AccessUndeterminedError(self._decision)
        if not self._decision.allow:
            raise AccessDeniedError(self._decision)
        if not self._decision.audit_id:
            raise ObligationError("the decision is not on record", hint="decide by Authorizer.authorize, which records")
        for obligation in self._decision.obligations:
            if obligation.id not in self._handlers:
                self._note(obligation, "refused", "no handler")
                raise ObligationError(f"nobody can carry out the obligation {obligation.id}", hint="register a handler")
        self._carry_out(Phase.BEFORE, None)

    def after(self, result: Any) -> Any:
        """What may leave of the result."""
        return self._carry_out(Phase.AFTER, result)

    def _carry_out(self, phase: Phase, value: Any) -> Any:
        for obligation in self._decision.obligations:
            handler = self._handlers[obligation.id]
            if getattr(handler, "phase", Phase.AFTER) is phase:
                value = self._discharge(handler, obligation, value)
        return value

    def _discharge(self, handler: ObligationHandler, obligation: Obligation, value: Any) -> Any:
        notes: list[str] = []
        try:
            value = handler.discharge(obligation, value, {**self._context, "notes": notes})
        except Exception as error:
            self._note(obligation, "refused", error.what if isinstance(error, UserError) else type(error).__name__)
            if isinstance(error, ObligationError):
                raise
            raise ObligationError(f"the obligation {obligation.id} could not be carried out") from error
        self._note(obligation, "discharged", "; ".join(notes))
        return value

    def _note(self, obligation: Obligation, outcome: str, detail: str) -> None:
        """Leave the receipt; without one the call is refused, whatever the outcome was."""
        try:
            audit.append_discharge(self._ledger, self._decision, obligation, outcome=outcome, detail=detail)
        except Exception as error:
            raise ObligationError(f"the obligation {obligation.id} could not be recorded") from error
