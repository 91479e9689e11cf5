"""Money: FOCUS bills in, exact totals, a forecast with an upper bound, and a gate that refuses overspending.

Start here: `open_store(directory).ingest(path)`, then `judge(budgets, store, as_of=...)`; and for spending that
must not happen, `Budget.open(policy, url, ledger).reserve(...)`.
"""

from companyos.finops.anomalies import Anomalies, Anomaly, find_anomalies, judge_anomalies
from companyos.finops.budgets import (
    Budget,
    BudgetConflictError,
    BudgetPolicy,
    BudgetPolicyError,
    BudgetRefusedError,
    BudgetRequestError,
    BudgetStoreError,
    BudgetStoreLostError,
    BudgetUnknownError,
    Reservation,
)
from companyos.finops.engines.sqlite import SqliteCostStore
from companyos.finops.errors import (
    AllocationError,
    AmbiguousNumbersError,
    CostFileError,
    MissingColumnsError,
    MixedCurrencyError,
    OverlapError,
    PlanError,
    RateError,
    RuleModelError,
    StoreError,
)
from companyos.finops.focus import FocusFile
from companyos.finops.forecast import Forecast, Period, forecast_ahead, forecast_costs, forecast_period, period_at
from companyos.finops.forecasting import Backtest, backtest
from companyos.finops.gate import gate, judge
from companyos.finops.interface import CostLine, CostStore, Coverage, DayCost, IngestReport, Mend, Rejection
from companyos.finops.money import exact_sum, single_currency
from companyos.finops.notes import CostNote, cost_note
from companyos.finops.opening import open_store
from companyos.finops.plan import RemediationPlan
from companyos.finops.rates import Rates

__all__ = (
    "AllocationError",
    "AmbiguousNumbersError",
    "Anomalies",
    "Anomaly",
    "Backtest",
    "Budget",
    "BudgetConflictError",
    "BudgetPolicy",
    "BudgetPolicyError",
    "BudgetRefusedError",
    "BudgetRequestError",
    "BudgetStoreError",
    "BudgetStoreLostError",
    "BudgetUnknownError",
    "CostFileError",
    "CostLine",
    "CostNote",
    "CostStore",
    "Coverage",
    "DayCost",
    "FocusFile",
    "Forecast",
    "IngestReport",
    "Mend",
    "MissingColumnsError",
    "MixedCurrencyError",
    "OverlapError",
    "Period",
    "PlanError",
    "RateError",
    "Rates",
    "Rejection",
    "RemediationPlan",
    "Reservation",
    "RuleModelError",
    "SqliteCostStore",
    "StoreError",
    "backtest",
    "cost_note",
    "exact_sum",
    "find_anomalies",
    "forecast_ahead",
    "forecast_costs",
    "forecast_period",
    "gate",
    "judge",
    "judge_anomalies",
    "open_store",
    "period_at",
    "single_currency",
)
