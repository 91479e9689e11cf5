"""What the parts of this room promise each other: the kinds of refusal, and when an obligation is discharged."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from companyos.errors import ConfigError, RefusedError, UnverifiableError, UserError
from companyos.ports import AccessRequest, DecisionEngine, ObligationHandler, Opinion

if TYPE_CHECKING:
    from companyos.decision import Decision

__all__ = (
    "AccessDeniedError",
    "AccessRequest",
    "AccessUndeterminedError",
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
    "PolicyError",
    "RequestError",
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


class ObligationError(RefusedError):
    """An obligation could not be carried out, so that the guarded call is refused."""

    code = "authz.obligation"


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
