"""What can go wrong with a budget, each kind under a stable code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from companyos.errors import ConfigError, RefusedError, UnverifiableError, UserError

if TYPE_CHECKING:
    from companyos.decision import Decision

__all__ = (
    "BudgetConflictError",
    "BudgetPolicyError",
    "BudgetRefusedError",
    "BudgetRequestError",
    "BudgetStoreError",
    "BudgetStoreLostError",
    "BudgetUnknownError",
)


class BudgetPolicyError(ConfigError):
    """A policy file of budgets does not parse or contradicts itself."""

    code = "budget.policy"


class BudgetRequestError(UserError, ValueError):
    """A reservation or settlement does not say what is needed to judge it; nothing was written."""

    code = "budget.request"


class BudgetUnknownError(UserError):
    """There is no reservation of that id."""

    code = "budget.unknown"


class BudgetConflictError(UserError):
    """A reservation's id is taken by another one, or it was settled or refunded otherwise before."""

    code = "budget.conflict"


class BudgetRefusedError(RefusedError):
    """A budget has no room for the reservation, or its rules do not allow it; `decision` says which and why."""

    code = "budget.refused"

    def __init__(self, decision: Decision) -> None:
        super().__init__(
            decision.message,
            got=decision.reason,
            hint="; ".join(found.hint for found in decision.findings[:1] if found.hint) or None,
        )
        self.decision = decision


class BudgetStoreError(UnverifiableError):
    """The store of a budget does not answer, so nothing may be spent from it."""

    code = "budget.store"


class BudgetStoreLostError(UnverifiableError):
    """The store of a budget is not the one the ledger tells of, or has forgotten what it knew: rebuild it."""

    code = "budget.store_lost"
