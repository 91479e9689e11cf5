"""The budget gate: may this change or release go on, given what the period will cost?

Reasons, all stable: `budget.within`; `budget.over_target` (the point forecast is over the target by more than the
tolerance: refused without a remediation plan, allowed with one); `budget.over_ceiling` (what is spent, the point
forecast or its upper bound is over the ceiling: refused whatever the plan); `budget.no_data` (undetermined: nothing
that could be judged, or reason to think that costs are missing).

Costs are judged twice, as billed and before credits; the stricter answer holds.
"""

from __future__ import annotations

import decimal
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from companyos.decision import Decision, Finding, Obligation, Severity, combine
from companyos.finops.forecast import SETTING, forecast_period
from companyos.finops.money import plain
from companyos.finops.plan import HORIZON_DAYS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from companyos.config import Budget, ForecastSetting
    from companyos.finops.forecast import Forecast
    from companyos.finops.interface import CostStore
    from companyos.finops.plan import RemediationPlan
    from companyos.ports import LedgerPort

__all__ = ("MAX_AGE", "RULES", "gate", "judge")

MAX_AGE = timedelta(hours=72)
"""Data that reach less far than this before `as_of` are stale; providers deliver bills a day or two late."""

_ROUNDING = decimal.Context(prec=120)

RULES = {
    "FINOPS-GATE.point-over-ceiling": "What is spent or expected in the period is over the budget's ceiling.",
    "FINOPS-GATE.bound-over-ceiling": "The upper bound of the forecast is over the budget's ceiling.",
    "FINOPS-GATE.over-target": "The forecast is over the target by more than the tolerance, without a plan in force.",
}
"""What the gate can find."""


def gate(
    budget: Budget,
    forecast: Forecast,
    *,
    remediation_plan: RemediationPlan | None = None,
    max_age: timedelta = MAX_AGE,
) -> Decision:
    """Judge one budget by one forecast; the facts hold every figure, the method and the extract's digest."""
    facts = forecast.facts() | {
        "budget": budget.name,
        "target": plain(budget.target),
        "ceiling": plain(budget.ceiling),
        "tolerance_percent": str(budget.tolerance_percent),
        "plan": None if remediation_plan is None else remediation_plan.to_dict(),
    }
    if (forecast.currency, forecast.period.kind) != (budget.currency, budget.period):
        return _no_data(budget, facts, ["the forecast is for another currency or period than the budget"])
    over = _over_ceiling(budget, forecast)
    if over:
        return Decision.denied(
            "budget.over_ceiling",
            f"{budget.name}: {over[0].message}",
            obligations=[_scope_change(budget, forecast)],
            findings=over,
            facts=facts,
        )
    gaps = _gaps(forecast, max_age)
    if gaps:
        return _no_data(budget, facts, gaps)
    return _against_target(budget, forecast, remediation_plan, facts)


def judge(
    budgets: Sequence[Budget],
    store: CostStore,
    *,
    as_of: datetime,
    remediation_plan: RemediationPlan | None = None,
    max_age: timedelta = MAX_AGE,
    setting: ForecastSetting = SETTING,
    ledger: LedgerPort | None = None,
) -> Decision:
    """Judge every budget by what the store holds; all must pass, and no budget at all is undetermined.

    The decision is left in `ledger`, if one is given, and then carries the id of that entry.
    """
    parts = [
        gate(
            budget,
            forecast_period(store, budget.period, budget.currency, as_of, setting=setting),
            remediation_plan=remediation_plan,
            max_age=max_age,
        )
        for budget in budgets
    ]
    # A pass that rests on a plan must not read like one that needs none.
    reason = next((part.reason for part in parts if part.reason != "budget.within"), "budget.within")
    decision = combine(parts, reason=reason)
    if ledger is None:
        return decision
    data = decision.to_dict()
    del data["audit_id"], data["durable"]
    receipt = ledger.append("companyos.finops.gate", data, source="companyos/finops", stream="finops.gate")
    return decision.recorded(receipt.id)


def _over_ceiling(budget: Budget, forecast: Forecast) -> list[Finding]:
    likely = max(
        ((amount, note) for one, note in _views(forecast) for amount in (one.spent, one.point) if amount is not None),
        key=_amount,
    )
    upper = max(
        ((one.upper, note) for one, note in _views(forecast) if one.upper is not None), key=_amount, default=None
    )
    figures = (("point-over-ceiling", "forecast", likely), ("bound-over-ceiling", "upper bound", upper))
    return [
        Finding(
            f"FINOPS-GATE.{rule}",
            f"{name} {_money(figure[0], budget)}{figure[1]} is over the ceiling of {_money(budget.ceiling, budget)}",
            Severity.CRITICAL,
            hint="cut scope or capacity, or have the ceiling changed by whoever owns the budget",
        )
        for rule, name, figure in figures
        if figure is not None and figure[0] > budget.ceiling
    ]


def _views(forecast: Forecast) -> list[tuple[Forecast, str]]:
    """The forecast as billed and, if it was worked out, before credits, each with what to say of it."""
    before = forecast.before_credits
    return [(forecast, ""), *([(before, " before credits")] if before is not None else [])]


def _amount(figure: tuple[Decimal, str]) -> Decimal:
    return figure[0]


def _scope_change(budget: Budget, forecast: Forecast) -> Obligation:
    figures = [
        amount for one, _ in _views(forecast) for amount in (one.spent, one.point, one.upper) if amount is not None
    ]
    return Obligation(
        "scope_or_capacity_change",
        properties={
            "budget": budget.name,
            "currency": budget.currency,
            "over_by": plain(max(figures) - budget.ceiling),
            "until": forecast.period.end.isoformat(),
        },
    )


def _gaps(forecast: Forecast, max_age: timedelta) -> list[str]:
    """Why these data must not be judged, in sentences."""
    gaps = []
    if forecast.extract is None:
        gaps.append("no cost data have been ingested")
    elif forecast.data_through is None:
        gaps.append("no charge is short enough to tell up to when usage has been reported")
    elif forecast.as_of - forecast.data_through > max_age:
        hours = int(max_age.total_seconds() // 3600)
        gaps.append(f"the data end at {forecast.data_through:%Y-%m-%d %H:%M} UTC, more than {hours} hours before")
    if forecast.other_currencies:
        gaps.append(f"there are also charges in {', '.join(forecast.other_currencies)}, and no rate to convert them")
    if forecast.silent_sources:
        gaps.append(f"charges of {'; '.join(forecast.silent_sources)} have stopped arriving")
    if forecast.rows_rejected:
        gaps.append(f"{forecast.rows_rejected} rows could not be ingested and may carry costs")
    if forecast.extract is not None and any(one.point is None for one, _ in _views(forecast)):
        gaps.append(f"{forecast.history_days} reported days are too little history for a forecast")
    return gaps


def _no_data(budget: Budget, facts: dict[str, Any], gaps: list[str]) -> Decision:
    return Decision.undetermined(
        "budget.no_data", f"{budget.name} cannot be judged: {'; '.join(gaps)}", facts=facts | {"gaps": gaps}
    )


def _against_target(
    budget: Budget, forecast: Forecast, plan: RemediationPlan | None, facts: dict[str, Any]
) -> Decision:
    points = ((one.point, note) for one, note in _views(forecast) if one.point is not None)
    point, note = max(points, key=_amount)
    limit = budget.target * (1 + budget.tolerance_percent / 100)
    told = f"{budget.name}: forecast {_money(point, budget)}{note}, target {_money(budget.target, budget)}"
    if point <= limit:
        return Decision.allowed("budget.within", told, facts=facts)
    told += f" plus {budget.tolerance_percent} % tolerance"
    if plan is not None and plan.covers(budget.name, forecast.as_of.date()):
        return Decision.allowed("budget.over_target", f"{told}; accepted with a remediation plan", facts=facts)
    why = (
        "no remediation plan"
        if plan is None
        else f"the remediation plan is for another budget, past due, or due in more than {HORIZON_DAYS} days"
    )
    finding = Finding(
        "FINOPS-GATE.over-target",
        f"{told}; {why}",
        Severity.HIGH,
        hint="add a remediation plan (owner, actions, due) with --plan, or reduce costs",
    )
    return Decision.denied("budget.over_target", f"{told}; {why}", findings=[finding], facts=facts)


def _money(amount: Decimal, budget: Budget) -> str:
    return f"{budget.currency} {amount.quantize(Decimal('0.01'), context=_ROUNDING):,f}"
