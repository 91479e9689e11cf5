"""Budgets that cannot be overspent: reserve, then settle or refund; every step on the ledger.

Start here: `Budget.open("finops.yaml", "sqlite:///budget.db", ledger).reserve(...)`.
"""

from companyos.finops.budgets.budget import Budget
from companyos.finops.budgets.errors import (
    BudgetConflictError,
    BudgetPolicyError,
    BudgetRefusedError,
    BudgetRequestError,
    BudgetStoreError,
    BudgetStoreLostError,
    BudgetUnknownError,
)
from companyos.finops.budgets.history import History, read_history
from companyos.finops.budgets.interface import (
    BudgetLedger,
    BudgetStore,
    Charge,
    Event,
    Fence,
    Level,
    Mark,
    Outcome,
    Record,
    Snapshot,
)
from companyos.finops.budgets.policy import BudgetPolicy
from companyos.finops.budgets.rebuilding import Rebuilt, differences, rebuild
from companyos.finops.budgets.reservation import Reservation
from companyos.finops.budgets.stores import open_store
from companyos.finops.budgets.verdicts import assess, percent_of
from companyos.finops.budgets.windows import Window, window_at

__all__ = (
    "Budget",
    "BudgetConflictError",
    "BudgetLedger",
    "BudgetPolicy",
    "BudgetPolicyError",
    "BudgetRefusedError",
    "BudgetRequestError",
    "BudgetStore",
    "BudgetStoreError",
    "BudgetStoreLostError",
    "BudgetUnknownError",
    "Charge",
    "Event",
    "Fence",
    "History",
    "Level",
    "Mark",
    "Outcome",
    "Rebuilt",
    "Record",
    "Reservation",
    "Snapshot",
    "Window",
    "assess",
    "differences",
    "open_store",
    "percent_of",
    "read_history",
    "rebuild",
    "window_at",
)
