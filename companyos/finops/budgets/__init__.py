"""Budgets that cannot be overspent: reserve, then settle or refund; every step on the ledger.

Start here: `Budget.open("finops.yaml", "sqlite:///budget.db", ledger).reserve(...)`.
"""

from companyos.finops.budgets.alerting import Publisher, Route, Told
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
    Purged,
    Record,
    Snapshot,
)
from companyos.finops.budgets.journal import SOURCE
from companyos.finops.budgets.policy import BudgetPolicy
from companyos.finops.budgets.rebuilding import Rebuilt, differences, rebuild
from companyos.finops.budgets.reservation import Reservation
from companyos.finops.budgets.spending import Settlement, settlements
from companyos.finops.budgets.stores import open_store
from companyos.finops.budgets.variance import DayVariance, assess_variance, report_csv, runs_csv, variances
from companyos.finops.budgets.verdicts import assess, percent_of
from companyos.finops.budgets.windows import Window, window_at

__all__ = (
    "SOURCE",
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
    "DayVariance",
    "Event",
    "Fence",
    "History",
    "Level",
    "Mark",
    "Outcome",
    "Publisher",
    "Purged",
    "Rebuilt",
    "Record",
    "Reservation",
    "Route",
    "Settlement",
    "Snapshot",
    "Told",
    "Window",
    "assess",
    "assess_variance",
    "differences",
    "open_store",
    "percent_of",
    "read_history",
    "rebuild",
    "report_csv",
    "runs_csv",
    "settlements",
    "variances",
    "window_at",
)
