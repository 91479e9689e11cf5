"""What the parts of this room promise each other: the kinds of refusal, and when an obligation is discharged."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from companyos.errors import ConfigError, RefusedError, UnverifiableError, UserError
from companyos.ports import AccessRequest, DecisionEngine, ObligationHandler, Opinion

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from companyos.decision import Decision, Obligation

__all__ = (
    "AccessDeniedError",
    "AccessRequest",
    "AccessUndeterminedError",
    "AsyncObligationHandler",
    "AuditError",
    "DecisionEngine",
    "DecisionListener",
    "DecisionValidator",
    "EngineError",
    "EngineTimeoutError",
    "EngineUnreachableError",
    "ObligationError",
    "ObligationHandler",
    "Opinion",
    "Phase",
    "PhasedHandler",
    "PoliciesExpiredError",
    "PoliciesWithdrawnError",
    "PolicyError",
    "RequestError",
    "ResultHandler",
    "StaleDecisionError",
    "StepUpRequiredError",
    "TypedHandler",
)


class RequestError(UserError, ValueError):
    """An access request is malformed: a field is missing, of the wrong type, or too large."""

    code = "authz.request"


class PolicyError(ConfigError):
    """A policy directory cannot be used: it does not parse, or asks for something that policies may not do."""

    code = "authz.policy"


class EngineError(UnverifiableError):
    """The engine could not evaluate its policies; the caller must refuse."""

    code = "authz.engine"
    reason: str = "policy.unavailable"
    """Stable id of the reason that the refused caller is given."""


class EngineUnreachableError(EngineError):
    """A remote engine did not answer, or is not asked for a while because it did not."""

    code = "authz.unreachable"
    reason = "policy.unreachable"


class EngineTimeoutError(EngineError):
    """The engine did not decide in the time it has."""

    code = "authz.timeout"
    reason = "policy.timeout"


class PoliciesExpiredError(EngineError):
    """The policies do not count any more: their bundle, its signature or its key has expired."""

    code = "authz.policies_expired"
    reason = "policy.expired"


class PoliciesWithdrawnError(EngineError):
    """The policies do not count any more: their bundle does not verify by the keys that count now."""

    code = "authz.policies_withdrawn"
    reason = "policy.withdrawn"


class ObligationError(RefusedError):
    """An obligation could not be carried out, so that the guarded call is refused."""

    code = "authz.obligation"


class AuditError(UnverifiableError):
    """Decisions that wait to be recorded cannot be, so that no more are taken."""

    code = "authz.audit"


class StepUpRequiredError(ObligationError):
    """The subject has to authenticate again, in a stronger way, before the guarded call is made."""

    code = "authz.step_up"

    def __init__(self, what: str, *, got: object = None, acr_values: tuple[str, ...] = ()) -> None:
        self.acr_values = acr_values
        """What would do, in the vocabulary of the authentication service; empty where any second factor does."""
        super().__init__(
            what, got=got, expected=" or ".join(acr_values) or "mfa", hint="step up, and pass the new auth_strength"
        )


class StaleDecisionError(ObligationError):
    """An allow was used before, or is too old: whoever wants to do it again asks again."""

    code = "authz.stale"


class AccessDeniedError(RefusedError):
    """The guarded call was not made, because the decision does not allow it."""

    code = "authz.denied"

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        super().__init__(
            f"access denied: {decision.reason}",
            got=decision.message or None,
            hint=f"audit id {decision.audit_id}" if decision.audit_id else None,
        )


class AccessUndeterminedError(UnverifiableError):
    """The guarded call was not made, because it could not be decided whether it is allowed."""

    code = "authz.undetermined"

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        super().__init__(f"access could not be decided: {decision.reason}", got=decision.message or None)


class Phase(enum.Enum):
    """When an obligation is discharged."""

    BEFORE = "before"
    """Before the guarded call, with no result yet: what must be true or on record first."""
    AFTER = "after"
    """On the result of the guarded call, before it leaves."""


@runtime_checkable
class PhasedHandler(Protocol):
    """What a handler adds to `ObligationHandler` to choose its phase; without it the phase is `AFTER`."""

    @property
    def phase(self) -> Phase:
        """When to discharge."""
        ...


@runtime_checkable
class TypedHandler(Protocol):
    """What a handler adds to accept its obligation only with some of the profile's types; without it, with any."""

    @property
    def types(self) -> Collection[str]:
        """Which of `step-up`, `notification`, `session_termination` and `custom`."""
        ...


@runtime_checkable
class ResultHandler(Protocol):
    """What a handler adds that has nothing to do where no result leaves: it is not called then."""

    @property
    def needs_result(self) -> bool:
        """Whether it works on the result alone."""
        ...


class AsyncObligationHandler(Protocol):
    """An `ObligationHandler` whose `discharge` is awaited; `with_obligations_async` and the middleware take it."""

    @property
    def obligation(self) -> str:
        """Id of the obligation it discharges."""
        ...

    async def discharge(self, obligation: Obligation, value: Any, context: Mapping[str, Any]) -> Any:
        """Carry it out on the result `value` of the guarded call, and return what may leave.

        Raises:
            RefusedError: it could not be carried out, so the call is refused.
        """
        ...


class DecisionListener(Protocol):
    """Told of every final decision, refusals of malformed requests (`request.invalid`) included.

    Of a malformed request nothing is passed on: action and ids are empty texts. It is the signature of the hook
    `companyos_on_decision`.
    """

    def __call__(self, *, request: AccessRequest, decision: Decision) -> object:
        """Take note; what is returned is ignored, what is raised is logged and counted."""
        ...


class DecisionValidator(Protocol):
    """Asked before a request is allowed; the signature of the hook `companyos_validate_decision`."""

    def __call__(self, *, request: AccessRequest, opinion_reason: str) -> str | None:
        """None to let it pass, or a sentence to refuse it."""
        ...
