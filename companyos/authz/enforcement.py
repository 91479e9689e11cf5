"""`with_obligations`: a call is made only if it is allowed, and its result leaves only when all is discharged."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from companyos.authz.duty import Duty, run, run_async
from companyos.authz.interface import ObligationError
from companyos.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from companyos.authz.interface import AsyncObligationHandler
    from companyos.authz.uses import Uses
    from companyos.decision import Decision
    from companyos.ports import LedgerPort, ObligationHandler

__all__ = ("handlers_by_obligation", "with_obligations", "with_obligations_async")


def handlers_by_obligation(
    handlers: Iterable[ObligationHandler | AsyncObligationHandler],
) -> dict[str, ObligationHandler]:
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
    uses: Uses | None = None,
) -> Any:
    """Make the call `guarded()` if `decision` allows it, and return its result with every obligation discharged.

    Obligations of the phase *before* (step-up, approval, logging) are discharged before the call, so that nothing
    happens if one cannot be; the others work on its result. Where one cannot be carried out, or the decision denies,
    all others still are. `context` is what handlers may look at (for example `auth_strength`); `decision`, `ledger` and
    `notes` are added to it. Each discharge and each refusal is a ledger entry, whose `detail` holds what the handler
    appended to `notes`; so is a call that failed after something had been carried out for it.

    A decision is used once, and while it is young (`uses`; a minute by default). One whose call was not begun, because
    a factor or a ticket was lacking, may be tried again within that time.

    Raises:
        AccessDeniedError: the decision denies.
        AccessUndeterminedError: the decision is undetermined.
        StaleDecisionError: the decision was used before, or is too old.
        ObligationError: the decision is not on record, or an obligation has no handler or could not be discharged.
    """
    if inspect.iscoroutinefunction(guarded):
        raise _asynchronous()
    duty = Duty(decision, handlers_by_obligation(handlers), ledger, context, uses)
    run(duty.begin())
    try:
        result = guarded()
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise _asynchronous()  # noqa: TRY301 - the failure of the call is recorded in one place
    except BaseException as error:
        run(duty.fail(error))
        raise
    return run(duty.finish(result))


async def with_obligations_async(
    guarded: Callable[[], Awaitable[Any]],
    decision: Decision,
    *,
    handlers: Iterable[ObligationHandler | AsyncObligationHandler],
    ledger: LedgerPort,
    context: Mapping[str, Any] | None = None,
    uses: Uses | None = None,
) -> Any:
    """The same as `with_obligations` for a call that is awaited.

    Asynchronous handlers are awaited; all others, and the ledger, work in a thread meanwhile.
    """
    duty = Duty(decision, handlers_by_obligation(handlers), ledger, context, uses)
    await run_async(duty.begin())
    try:
        result = await guarded()
    except Exception as error:
        await run_async(duty.fail(error))
        raise
    except BaseException as error:
        run(duty.fail(error))  # cancelled: nothing may be awaited any more
        raise
    return await run_async(duty.finish(result))


def _asynchronous() -> ObligationError:
    return ObligationError("the guarded call is asynchronous", hint="use with_obligations_async")
